// SPDX-License-Identifier: Apache-2.0
// List, watch, difference.
#include "ironcore/control/informer.hpp"

#include <algorithm>

namespace ironcore::control {

namespace {

constexpr std::size_t page_size = 2000;
constexpr std::size_t changes_per_round = 1000;
constexpr auto longest_pause = std::chrono::seconds(10);

Duration pause_after(std::uint32_t failures) {
  Duration pause = std::chrono::milliseconds(20);
  for (std::uint32_t i = 1; i < failures && pause < longest_pause; ++i) pause *= 2;
  return std::min<Duration>(pause, longest_pause);
}

}  // namespace

std::string cache_key(const std::string& namespace_, const std::string& name) {
  return namespace_.empty() ? name : namespace_ + "/" + name;
}

std::string cache_key(const store::Object& object) {
  const auto& metadata = object.metadata();
  return cache_key(metadata.namespace_, metadata.name);
}

std::pair<std::string, std::string> split_cache_key(const std::string& key) {
  const auto slash = key.find('/');
  if (slash == std::string::npos) return {"", key};
  return {key.substr(0, slash), key.substr(slash + 1)};
}

ObjectInformer::ObjectInformer(store::Store& store, store::Query query, Clock& clock, Log& log)
    : store_(store), query_(std::move(query)), clock_(clock), log_(log) {}

void ObjectInformer::add_index(std::string name, IndexFunction words) {
  indexes_.emplace(std::move(name), Index{std::move(words), {}});
}

void ObjectInformer::on_change(Handler handler) {
  handlers_.push_back(std::move(handler));
}

// ---- reading ------------------------------------------------------------------------------------------------------

bool ObjectInformer::has_synced() const {
  const std::lock_guard lock(mutex_);
  return has_synced_;
}

bool ObjectInformer::wait_until_synced(std::stop_token stop, Instant deadline) const {
  std::unique_lock lock(mutex_);
  return clock_.wait(lock, changed_, std::move(stop), deadline, [&] { return has_synced_; });
}

std::uint64_t ObjectInformer::request_refresh() {
  const std::lock_guard lock(mutex_);
  interrupt_.request_stop();
  return ++refresh_wanted_;
}

bool ObjectInformer::is_refreshed(std::uint64_t token) const {
  const std::lock_guard lock(mutex_);
  return refresh_done_ >= token;
}

bool ObjectInformer::wait_until_refreshed(std::uint64_t token, std::stop_token stop) const {
  std::unique_lock lock(mutex_);
  return clock_.wait(lock, changed_, std::move(stop), Instant::max(), [&] { return refresh_done_ >= token; });
}

std::optional<store::Object> ObjectInformer::get(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) return std::nullopt;
  return found->second;
}

std::vector<store::Object> ObjectInformer::list() const {
  std::vector<store::Object> result;
  const std::lock_guard lock(mutex_);
  result.reserve(objects_.size());
  for (const auto& [key, object] : objects_) result.push_back(object);
  return result;
}

std::vector<store::Object> ObjectInformer::by_index(const std::string& index, const std::string& word) const {
  std::vector<store::Object> result;
  const std::lock_guard lock(mutex_);
  const auto& keys = indexes_.at(index).keys;
  const auto found = keys.find(word);
  if (found == keys.end()) return result;
  result.reserve(found->second.size());
  for (const auto& key : found->second) result.push_back(objects_.at(key));
  return result;
}

std::size_t ObjectInformer::count(const std::string& index, const std::string& word) const {
  const std::lock_guard lock(mutex_);
  const auto& keys = indexes_.at(index).keys;
  const auto found = keys.find(word);
  return found == keys.end() ? 0 : found->second.size();
}

std::size_t ObjectInformer::size() const {
  const std::lock_guard lock(mutex_);
  return objects_.size();
}

// ---- changing the cache -------------------------------------------------------------------------------------------

void ObjectInformer::tell(CacheChange change) {
  for (const auto& handler : handlers_) handler(change);
}

void ObjectInformer::unindex(const std::string& key, const store::Object& object) {
  for (auto& [name, index] : indexes_) {
    for (const auto& word : index.words(object)) {
      const auto found = index.keys.find(word);
      if (found == index.keys.end()) continue;
      found->second.erase(key);
      if (found->second.empty()) index.keys.erase(found);
    }
  }
}

void ObjectInformer::put(store::Object object, Source source) {
  const auto key = cache_key(object);
  if (transform_) object = transform_(object);
  std::optional<store::Object> before;
  {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found != objects_.end()) {
      const auto cached = found->second.metadata().resource_version;
      const auto offered = object.metadata().resource_version;
      // A list is younger than all that was seen before it, whatever the numbers say (the store may have been restored). A watch that starts at
      // the first page of a list repeats what the later pages knew already.
      if (source == Source::list ? cached == offered : cached >= offered) return;
      before = found->second;
      unindex(key, found->second);
      found->second = object;
    } else {
      objects_.emplace(key, object);
    }
    for (auto& [name, index] : indexes_)
      for (auto& word : index.words(object)) index.keys[std::move(word)].insert(key);
  }
  if (before && before->metadata().uid != object.metadata().uid) {
    tell({.before = std::exchange(before, std::nullopt), .after = std::nullopt});
  }
  tell({.before = std::move(before), .after = std::move(object)});
}

void ObjectInformer::erase(const std::string& key) {
  std::optional<store::Object> before;
  {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return;
    unindex(key, found->second);
    before = std::move(found->second);
    objects_.erase(found);
  }
  tell({.before = std::move(before), .after = std::nullopt});
}

void ObjectInformer::apply(const store::Change& change) {
  switch (change.type) {
    case store::Change::Type::added:
    case store::Change::Type::modified:
      put(*change.object, Source::watch);
      break;
    case store::Change::Type::deleted: {
      const auto key = cache_key(*change.object);
      const auto cached = get(key);
      // A removal that the list already knew about, followed by a new object of that name.
      if (cached && cached->metadata().resource_version > change.revision) break;
      erase(key);
      break;
    }
    case store::Change::Type::bookmark:
      break;
  }
  seen_ = std::max(seen_, change.revision);
}

// ---- following the store ------------------------------------------------------------------------------------------

bool ObjectInformer::needs_list() const {
  if (is_list_needed_) return true;
  const std::lock_guard lock(mutex_);
  return refresh_done_ < refresh_wanted_;
}

auto ObjectInformer::list_all() -> Result<Progress> {
  std::uint64_t wanted = 0;
  {
    const std::lock_guard lock(mutex_);
    wanted = refresh_wanted_;
  }
  std::vector<store::Object> fresh;
  store::ListOptions options{.limit = page_size};
  std::optional<store::Revision> from;
  do {
    IRONCORE_TRY(auto page, store_.list(query_, options));
    if (!from) from = page.revision;
    for (auto& object : page.objects) fresh.push_back(std::move(object));
    options.continue_at = std::move(page.continue_at);
  } while (!options.continue_at.empty());
  // The watch starts at the first page: what changed while the later ones were read is told again, and `put` ignores what it knows.
  IRONCORE_TRY(auto watch, store_.watch(query_, *from));
  watch_ = std::move(watch);
  is_list_needed_ = false;

  bool is_restored = false;  // a store that went back in time: its revisions do not compare with ours
  if (has_listed_ && *from < seen_) is_restored = true;
  seen_ = *from;

  std::unordered_set<std::string> present;
  present.reserve(fresh.size());
  for (const auto& object : fresh) present.insert(cache_key(object));
  std::vector<std::string> lost;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, object] : objects_)
      if (is_restored || !present.contains(key)) lost.push_back(key);
  }
  std::sort(lost.begin(), lost.end());
  for (const auto& key : lost) erase(key);
  for (auto& object : fresh) put(std::move(object), Source::list);
  has_listed_ = true;
  {
    const std::lock_guard lock(mutex_);
    has_synced_ = true;
    refresh_done_ = std::max(refresh_done_, wanted);
    changed_.notify_all();
  }
  return Progress::changed;
}

auto ObjectInformer::follow(Instant deadline, std::stop_token stop) -> Result<Progress> {
  IRONCORE_TRY(const auto changes, watch_->next(deadline, std::move(stop), changes_per_round));
  bool is_changed = false;
  for (const auto& change : changes) {
    apply(change);
    is_changed = is_changed || change.type != store::Change::Type::bookmark;
  }
  return is_changed ? Progress::changed : Progress::quiet;
}

auto ObjectInformer::advance(Instant deadline, std::stop_token stop) -> Progress {
  const auto progress = [&]() -> Result<Progress> {
    if (needs_list()) return list_all();
    if (!watch_) {
      IRONCORE_TRY(watch_, store_.watch(query_, seen_));
    }
    return follow(deadline, stop);
  }();
  if (progress) {
    failures_ = 0;
    return *progress;
  }
  watch_.reset();
  if (progress.error().code() == ErrorCode::gone) {
    is_list_needed_ = true;
    if (failures_++ == 0) return Progress::changed;  // list again at once, but not in a tight circle
  } else {
    ++failures_;
  }
  const auto pause = pause_after(failures_);
  retry_at_ = clock_.now() + pause;
  if (!stop.stop_requested())
    log_.warning("cannot follow the store, will go on later",
                 {{"kind", query_.kind->resource()}, {"error", progress.error().message()}, {"pause", to_text(pause)}});
  return Progress::failed;
}

bool ObjectInformer::step() {
  if (failures_ > 0 && clock_.now() < retry_at_) return false;
  return advance(clock_.now(), {}) == Progress::changed;
}

void ObjectInformer::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    std::stop_token interrupted;
    {
      const std::lock_guard lock(mutex_);
      interrupt_ = std::stop_source();
      interrupted = interrupt_.get_token();
    }
    const std::stop_callback forward(stop, [this] {
      const std::lock_guard lock(mutex_);
      interrupt_.request_stop();
    });
    if (advance(Instant::max(), interrupted) == Progress::failed) sleep_until(clock_, retry_at_, stop);
  }
}

}  // namespace ironcore::control
