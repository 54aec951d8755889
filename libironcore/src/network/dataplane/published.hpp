// SPDX-License-Identifier: Apache-2.0
// A value that one thread replaces while others read it and never wait.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

namespace ironcore::network::dataplane {

/// Hazard pointers (Michael, IEEE TPDS 2004), one for each reader: what a reader looks at lives until it looks again or leaves. Values are
/// destroyed by the writer only, so they need not care for threads.
template <class T>
class Published {
 public:
  Published(std::size_t readers, std::unique_ptr<const T> first)
      : readers_(std::make_unique<Reader[]>(readers)), reader_count_(readers), newest_(first.get()) {
    kept_.push_back(std::move(first));
  }

  // ---- the writer ----

  /// Readers see the new one from their next `enter` on. Destroys the older ones that nobody looks at any more.
  void publish(std::unique_ptr<const T> next) {
    kept_.push_back(std::move(next));
    newest_.store(kept_.back().get());
    collect();
  }
  const T& newest() const noexcept { return *kept_.back(); }
  void collect() {
    // Each reader is asked once: it may go on from one value to the next while they are looked through.
    std::vector<const T*> looked_at;
    for (std::size_t i = 0; i < reader_count_; ++i) looked_at.push_back(readers_[i].looks_at.load());
    std::erase_if(kept_, [&](const auto& value) {
      return value != kept_.back() && std::find(looked_at.begin(), looked_at.end(), value.get()) == looked_at.end();
    });
  }
  /// The newest, and those that somebody still looks at: at most one more for each reader, after `collect`.
  std::size_t kept() const noexcept { return kept_.size(); }

  // ---- each reader, on one thread at a time ----

  /// The newest; it may be used until the reader enters again or leaves.
  const T& enter(std::size_t reader) noexcept {
    auto& mine = readers_[reader].looks_at;
    const T* value = newest_.load(std::memory_order_acquire);
    if (mine.load(std::memory_order_relaxed) == value) return *value;
    for (;;) {
      mine.store(value);
      // Only now is it sure that the writer sees it before it looks for readers: unless it has replaced it meanwhile.
      const T* again = newest_.load();
      if (again == value) return *value;
      value = again;
    }
  }
  void leave(std::size_t reader) noexcept { readers_[reader].looks_at.store(nullptr, std::memory_order_release); }

 private:
  struct alignas(64) Reader {
    std::atomic<const T*> looks_at = nullptr;
  };

  std::unique_ptr<Reader[]> readers_;
  std::size_t reader_count_;
  std::atomic<const T*> newest_;
  std::vector<std::unique_ptr<const T>> kept_;
};

}  // namespace ironcore::network::dataplane
