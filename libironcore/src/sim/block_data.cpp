// SPDX-License-Identifier: Apache-2.0
// Reading, writing and flushing one image.
#include "block_data.hpp"

#include <algorithm>
#include <cstring>

namespace ironcore::sim {

namespace {
constexpr std::size_t cache_operations = 1024;
}  // namespace

BlockStore::Data::Data(std::shared_ptr<State> state, ImagePtr image, std::optional<std::uint64_t> seed,
                       std::shared_ptr<Client> client)
    : state_(std::move(state)), image_(std::move(image)), seed_(seed), client_(std::move(client)) {
  state_->open.insert(this);
}

BlockStore::Data::~Data() {
  std::unique_lock lock(state_->mutex);
  state_->release(lock, this);
  state_->ended.wait(lock, [this] { return under_way_ == 0; });
  if (!is_cut_off_ && state_->is_connected) (void)apply();
  state_->open.erase(this);
}

std::uint64_t BlockStore::Data::size() const {
  std::lock_guard guard(state_->mutex);
  return image_->size;
}

void BlockStore::Data::read(std::uint64_t offset, std::span<std::byte> into, Done done) {
  start("read", std::move(done), [this, offset, into] { return do_read(offset, into); });
}

void BlockStore::Data::write(std::uint64_t offset, BytesView bytes, Done done) {
  start("write", std::move(done), [this, offset, bytes]() -> Result<void> {
    IRONCORE_CHECK(check_change(offset, bytes.size()));
    return cache({offset, bytes.size(), Bytes(bytes.begin(), bytes.end())});
  });
}

void BlockStore::Data::discard(std::uint64_t offset, std::uint64_t size, Done done) {
  start("discard", std::move(done), [this, offset, size]() -> Result<void> {
    IRONCORE_CHECK(check_change(offset, size));
    return cache({offset, size, {}});
  });
}

void BlockStore::Data::flush(Done done) {
  start("flush", std::move(done), [this] { return apply(); });
}

void BlockStore::Data::cut_off() {
  is_cut_off_ = true;
  cached_.clear();
  cached_bytes_ = 0;
}

void BlockStore::Data::start(std::string_view name, Done done, Operation operation) {
  std::unique_lock lock(state_->mutex);
  Operation whole = [this, name, operation = std::move(operation)]() -> Result<void> {
    if (is_cut_off_) return Error(ErrorCode::unavailable, "this client was shut out: open the volume again");
    State::Steps steps(*state_, name, image_->id);
    IRONCORE_CHECK(steps.begin());
    IRONCORE_CHECK(operation());
    return steps.end();
  };
  if (state_->is_held) {
    state_->held.push_back({this, std::move(whole), std::move(done)});
    return;
  }
  const auto result = whole();
  lock.unlock();
  done(result);
}

Result<void> BlockStore::Data::check(std::uint64_t offset, std::uint64_t size) const {
  if (offset > image_->size || size > image_->size - offset) {
    return Error(ErrorCode::invalid, std::to_string(size) + " bytes at " + std::to_string(offset) +
                                         " are not within the " + std::to_string(image_->size) + " bytes of " +
                                         blocks::text(image_->id));
  }
  return {};
}

Result<void> BlockStore::Data::check_change(std::uint64_t offset, std::uint64_t size) const {
  if (image_->kind != Kind::volume) return Error(ErrorCode::invalid, "a snapshot cannot be changed");
  return check(offset, size);
}

Result<void> BlockStore::Data::do_read(std::uint64_t offset, std::span<std::byte> into) const {
  IRONCORE_CHECK(check(offset, into.size()));
  blocks::read(*image_, seed_, offset, into);
  for (const auto& change : cached_) {
    const std::uint64_t begin = std::max(offset, change.offset);
    const std::uint64_t end = std::min(offset + into.size(), change.offset + change.size);
    if (begin >= end) continue;
    const auto place = into.subspan(static_cast<std::size_t>(begin - offset), static_cast<std::size_t>(end - begin));
    if (change.bytes.empty()) {
      std::ranges::fill(place, std::byte{0});
    } else {
      std::memcpy(place.data(), change.bytes.data() + (begin - change.offset), place.size());
    }
  }
  return {};
}

Result<void> BlockStore::Data::cache(Change change) {
  if (change.size == 0) return {};
  cached_bytes_ += change.bytes.size();
  cached_.push_back(std::move(change));
  while (cached_bytes_ > state_->options.cache_bytes || cached_.size() > cache_operations ||
         state_->options.cache_bytes == 0) {
    if (cached_.empty()) break;
    IRONCORE_CHECK(apply_first());
  }
  return {};
}

Result<void> BlockStore::Data::apply_first() {
  const auto& change = cached_.front();
  if (change.bytes.empty()) {
    IRONCORE_CHECK(state_->discard(*image_, seed_, change.offset, change.size));
  } else {
    IRONCORE_CHECK(state_->write(*image_, seed_, change.offset, change.bytes));
  }
  cached_bytes_ -= change.bytes.size();
  cached_.pop_front();
  return {};
}

Result<void> BlockStore::Data::apply() {
  while (!cached_.empty()) IRONCORE_CHECK(apply_first());
  return {};
}

}  // namespace ironcore::sim
