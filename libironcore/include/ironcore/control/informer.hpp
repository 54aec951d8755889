// SPDX-License-Identifier: Apache-2.0
// Informer: a local copy of what one query selects, kept current, indexed, and told to handlers.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/store/store.hpp"
#include "ironcore/store/typed.hpp"

namespace ironcore::control {

/// `default/web-1`, or `host-1` for cluster-scoped kinds: the key of caches and work queues.
std::string cache_key(const std::string& namespace_, const std::string& name);
std::string cache_key(const store::Object& object);
/// Back into namespace and name.
std::pair<std::string, std::string> split_cache_key(const std::string& key);

/// One difference between the cache before and after. added: no `before`. deleted: no `after`. An object that was deleted and made again under
/// the same name is told as deleted, then added.
struct CacheChange {
  std::optional<store::Object> before;
  std::optional<store::Object> after;
  const store::Object& object() const { return after ? *after : *before; }
};

/// Untyped body of `Informer<T>`. Lists, then watches. When the watch is `gone` it lists again and tells the differences, as if nothing had
/// happened; when the store cannot be reached it goes on later and the cache stays as it was. Thread: any; handlers are called
/// on the thread of `run` (or `step`), one at a time, after the cache has changed, without a lock held.
class ObjectInformer {
 public:
  using Handler = std::function<void(const CacheChange&)>;
  using IndexFunction = std::function<std::vector<std::string>(const store::Object&)>;
  using Transform = std::function<store::Object(const store::Object&)>;

  /// `store`, `clock` and `log` must outlive it.
  ObjectInformer(store::Store& store, store::Query query, Clock& clock, Log& log);
  ObjectInformer(const ObjectInformer&) = delete;
  ObjectInformer& operator=(const ObjectInformer&) = delete;

  /// Groups the cached objects by the words that `words` finds in each. Before the first `run` or `step` only.
  void add_index(std::string name, IndexFunction words);
  /// Before the first `run` or `step` only.
  void on_change(Handler handler);
  /// What is kept of each object, and is indexed and told: for those that are secret, or large. Names, uid and resourceVersion stay. Before the first `run` or `step`
  /// only.
  void set_transform(Transform transform) { transform_ = std::move(transform); }

  /// Follows the store until a stop is requested. Makes no thread.
  void run(std::stop_token stop);
  /// Takes what is there without waiting for more; false if nothing changed.
  bool step();

  /// True once the first list is in the cache and every handler has seen it; stays true.
  bool has_synced() const;
  /// False if the stop or the deadline came first.
  bool wait_until_synced(std::stop_token stop, Instant deadline = Instant::max()) const;

  /// Asks for a fresh list; `is_refreshed(token)` is true when a list that began after this call is in the cache and told to the handlers.
  std::uint64_t request_refresh();
  bool is_refreshed(std::uint64_t token) const;
  bool wait_until_refreshed(std::uint64_t token, std::stop_token stop) const;

  std::optional<store::Object> get(const std::string& key) const;
  std::vector<store::Object> list() const;
  std::vector<store::Object> by_index(const std::string& index, const std::string& word) const;
  std::size_t count(const std::string& index, const std::string& word) const;
  std::size_t size() const;

 private:
  struct Index {
    IndexFunction words;
    std::unordered_map<std::string, std::unordered_set<std::string>> keys;
  };

  /// What one round did.
  enum class Progress { changed, quiet, failed };
  Progress advance(Instant deadline, std::stop_token stop);
  Result<Progress> list_all();
  Result<Progress> follow(Instant deadline, std::stop_token stop);
  void apply(const store::Change& change);
  enum class Source { list, watch };
  void put(store::Object object, Source source);
  void erase(const std::string& key);
  void unindex(const std::string& key, const store::Object& object);
  void tell(CacheChange change);
  bool needs_list() const;

  store::Store& store_;
  store::Query query_;
  Clock& clock_;
  Log& log_;
  std::vector<Handler> handlers_;
  Transform transform_;

  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::unordered_map<std::string, store::Object> objects_;
  std::map<std::string, Index> indexes_;
  bool has_synced_ = false;
  std::uint64_t refresh_wanted_ = 0;
  std::uint64_t refresh_done_ = 0;
  std::stop_source interrupt_{std::nostopstate};  // ends the wait of the watch: a refresh is wanted

  // Only the thread of run or step touches these.
  std::unique_ptr<store::Watch> watch_;
  store::Revision seen_;
  bool has_listed_ = false;
  bool is_list_needed_ = true;
  std::uint32_t failures_ = 0;
  Instant retry_at_{};
};

/// The same for one declared kind.
template <class T>
class Informer {
 public:
  /// `before` is null for added, `after` is null for deleted.
  using Handler = std::function<void(const store::Shared<T>& before, const store::Shared<T>& after)>;

  Informer(store::Store& store, Clock& clock, Log& log, store::Query query = {})
      : body_(store, with_kind(std::move(query)), clock, log) {}

  void add_index(std::string name, std::function<std::vector<std::string>(const T&)> words) {
    body_.add_index(std::move(name),
                    [words = std::move(words)](const store::Object& o) { return words(o.template as<T>()); });
  }
  void on_change(Handler handler) {
    body_.on_change([handler = std::move(handler)](const CacheChange& change) {
      handler(change.before ? change.before->template share<T>() : nullptr,
              change.after ? change.after->template share<T>() : nullptr);
    });
  }
  void set_transform(std::function<T(const T&)> transform) {
    body_.set_transform([transform = std::move(transform)](const store::Object& o) {
      return store::Object::of(transform(o.template as<T>()));
    });
  }

  void run(std::stop_token stop) { body_.run(std::move(stop)); }
  bool step() { return body_.step(); }
  bool has_synced() const { return body_.has_synced(); }
  bool wait_until_synced(std::stop_token stop, Instant deadline = Instant::max()) const {
    return body_.wait_until_synced(std::move(stop), deadline);
  }
  std::uint64_t request_refresh() { return body_.request_refresh(); }
  bool is_refreshed(std::uint64_t token) const { return body_.is_refreshed(token); }
  bool wait_until_refreshed(std::uint64_t token, std::stop_token stop) const {
    return body_.wait_until_refreshed(token, std::move(stop));
  }

  /// Null if it is not there.
  store::Shared<T> get(const std::string& key) const {
    const auto object = body_.get(key);
    return object ? object->template share<T>() : nullptr;
  }
  std::vector<store::Shared<T>> list() const { return shared(body_.list()); }
  std::vector<store::Shared<T>> by_index(const std::string& index, const std::string& word) const {
    return shared(body_.by_index(index, word));
  }
  std::size_t count(const std::string& index, const std::string& word) const { return body_.count(index, word); }
  std::size_t size() const { return body_.size(); }

 private:
  static store::Query with_kind(store::Query query) {
    query.kind = &api::kind_of<T>();
    return query;
  }
  static std::vector<store::Shared<T>> shared(const std::vector<store::Object>& objects) {
    std::vector<store::Shared<T>> result;
    result.reserve(objects.size());
    for (const auto& object : objects) result.push_back(object.template share<T>());
    return result;
  }
  ObjectInformer body_;
};

}  // namespace ironcore::control
