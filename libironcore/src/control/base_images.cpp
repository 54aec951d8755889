// SPDX-License-Identifier: Apache-2.0
// One call at a time for each image and store; the others are woken instead of waiting, so that no worker stands still.
#include "base_images.hpp"

#include <algorithm>

#include "ironcore/image/disk_file.hpp"
#include "ironcore/image/reference.hpp"

namespace ironcore::control {

namespace {

// Many volumes of one image that come at once ask for it once; a tag that was moved is noticed after this.
constexpr Duration fresh_for = std::chrono::seconds(5);
constexpr Duration first_pause = std::chrono::seconds(1);
constexpr Duration longest_pause = std::chrono::minutes(5);

}  // namespace

BaseImages::Name BaseImages::name_of(const storage::BlockStore& store, const api::OsImage& image) {
  return {&store, image.architecture + " " + image.image};
}

Result<storage::BaseImage> BaseImages::bring(storage::BlockStore& store, const api::OsImage& image,
                                             const storage::BlockStore::Progress& copying, std::stop_token stop) {
  if (cache_ == nullptr)
    return Error(ErrorCode::unsupported, "this pool makes no volumes from OS images: its provider has no image cache");
  IRONCORE_TRY(const auto reference, image::Reference::parse(image.image));
  auto platform = image::Platform::this_machine();
  if (!image.architecture.empty()) platform.architecture = image.architecture;
  IRONCORE_TRY(const auto cached, cache_->ensure(reference, platform, copying, stop));
  if (!cached.rootfs)
    return Error(ErrorCode::invalid, "image " + image.image + " has no rootfs layer; a volume needs one");
  IRONCORE_TRY(const bool is_qcow2, image::looks_like_qcow2(cached.rootfs->path));
  if (is_qcow2)
    return Error(ErrorCode::unsupported, "the root disk of image " + image.image +
                                             " is a qcow2 file: make the image anew from what `qemu-img convert -O "
                                             "raw` makes of it");
  return within(
      store.import_base(
          {.path = cached.rootfs->path, .digest = cached.rootfs->digest, .size_bytes = cached.rootfs->size_bytes},
          copying, std::move(stop)),
      "import image " + image.image);
}

Result<std::optional<storage::BaseImage>> BaseImages::ensure(storage::BlockStore& store, const api::OsImage& image,
                                                             const std::string& key,
                                                             const storage::BlockStore::Progress& copying,
                                                             std::stop_token stop) {
  const auto name = name_of(store, image);
  {
    const std::lock_guard lock(mutex_);
    auto& entry = entries_[name];
    if (entry.is_busy) {
      entry.waiting.insert(key);
      return std::optional<storage::BaseImage>();
    }
    if (entry.last && clock_.now() < entry.until) {
      if (!*entry.last) return entry.last->error();
      used_[{&store, (*entry.last)->digest}] = clock_.now();
      return std::optional(**entry.last);
    }
    entry.is_busy = true;
  }
  const auto brought = bring(store, image, copying, stop);
  std::set<std::string> waiting;
  {
    const std::lock_guard lock(mutex_);
    auto& entry = entries_[name];
    entry.is_busy = false;
    waiting.swap(entry.waiting);
    if (brought) {
      entry.failures = 0;
      entry.until = clock_.now() + fresh_for;
      entry.last = brought;
      used_[{&store, brought->digest}] = clock_.now();
    } else if (stop.stop_requested()) {
      entry.last.reset();
    } else {
      entry.until = clock_.now() + std::min(longest_pause, first_pause * (1 << std::min(entry.failures, 10U)));
      ++entry.failures;
      entry.last = brought;
    }
  }
  for (const auto& other : waiting) wake_(other);
  if (!brought) return brought.error();
  return std::optional(*brought);
}

void BaseImages::forget(storage::BlockStore& store, const api::OsImage& image) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(name_of(store, image));
  if (entry != entries_.end() && !entry->second.is_busy) entries_.erase(entry);
}

bool BaseImages::is_busy(const storage::BlockStore& store) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const auto& entry) { return entry.first.first == &store && entry.second.is_busy; });
}

void BaseImages::collect(std::span<storage::BlockStore* const> stores) {
  for (auto* store : stores) {
    const auto bases = store->bases();
    if (!bases) {
      log_.warning("unused base images are not looked for", {{"error", bases.error().message()}});
      continue;
    }
    for (const auto& base : *bases) {
      {
        const std::lock_guard lock(mutex_);
        const auto now = clock_.now();
        auto& used = used_.try_emplace({store, base.digest}, now).first->second;
        if (base.children > 0) used = now;
        if (now - used < grace_) continue;
        used_.erase({store, base.digest});
      }
      // Who asks for it in this moment finds it missing, and brings it again.
      const auto removed = store->remove_base(base.digest);
      if (removed)
        log_.info("a base image that no volume needs was removed", {{"image", base.digest.to_text()}});
      else if (removed.error().code() != ErrorCode::wrong_state)
        log_.warning("an unused base image is not removed", {{"error", removed.error().message()}});
    }
  }
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const auto& entry) {
      return !entry.second.is_busy && entry.second.until + longest_pause < clock_.now();
    });
    if (std::any_of(entries_.begin(), entries_.end(), [](const auto& entry) { return entry.second.is_busy; })) return;
  }
  if (cache_ == nullptr) return;
  if (const auto freed = cache_->remove_unused({}); !freed)
    log_.warning("unused images are not removed", {{"error", freed.error().message()}});
}

}  // namespace ironcore::control
