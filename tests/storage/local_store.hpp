// SPDX-License-Identifier: Apache-2.0
// A store of local files in a directory that is gone when the test is.
#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../compute/temporary_directory.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/storage/local.hpp"

namespace ironcore::storage::testing {

/// Runs jobs on two threads; finishes those that it has before it is gone.
class Pool {
 public:
  Pool() {
    for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { run(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      is_closed_ = true;
    }
    changed_.notify_all();
  }
  void submit(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return is_closed_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool is_closed_ = false;
  std::vector<std::jthread> threads_;
};

inline StoreMark new_mark(const std::string& pool = "here") {
  return {.store = Uid::random(), .pool = Uid::random(), .pool_name = pool};
}

class LocalPlace {
 public:
  LocalPlace() : pool_(std::make_shared<Pool>()) {}

  std::filesystem::path root() const { return directory_.path() / "store"; }
  const std::filesystem::path& outside() const { return directory_.path(); }

  /// As it is, perhaps without a mark.
  std::unique_ptr<BlockStore> look(Duration patience = std::chrono::seconds(10)) {
    return LocalStore::open({.directory = root(),
                             .executor = [pool = pool_](std::function<void()> job) { pool->submit(std::move(job)); },
                             .patience = patience},
                            clock_)
        .value();
  }
  std::unique_ptr<BlockStore> open(Duration patience = std::chrono::seconds(10)) {
    auto store = look(patience);
    if (!store->mark().value()) REQUIRE(store->set_mark(std::nullopt, new_mark()));
    return store;
  }

  /// Whether files here can share their extents.
  bool shares_extents() const {
    const auto one = directory_.path() / "one", other = directory_.path() / "other";
    const UniqueFd from(::open(one.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    const UniqueFd to(::open(other.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    const bool is_shared = ::ioctl(to.get(), FICLONE, from.get()) == 0;
    std::filesystem::remove(one);
    std::filesystem::remove(other);
    return is_shared;
  }

 private:
  tests::TemporaryDirectory directory_;
  SystemClock clock_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace ironcore::storage::testing
