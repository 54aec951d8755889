// SPDX-License-Identifier: Apache-2.0
// The store at a path.
#include "ironcore/storage/local.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <mutex>

#include "ironcore/base/file.hpp"
#include "ironcore/storage/passing_block_store.hpp"
#include "store.hpp"

namespace ironcore::storage {

namespace {

using namespace local;

/// The store at a path, where its file system may come later, or go: then nothing answers, and nothing is made at another place.
class AtPath final : public PassingBlockStore {
 public:
  AtPath(LocalOptions options, Clock& clock) : options_(std::move(options)), clock_(clock) {}

  Result<std::optional<StoreMark>> mark() override {
    const auto root = Directory::open(options_.directory);
    if (!root && root.error().code() == ErrorCode::not_found) return std::optional<StoreMark>();
    IRONCORE_CHECK(root);
    return read_mark(*root);
  }

  /// Comes last, so that what has a mark is whole.
  Result<void> set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) override {
    const std::lock_guard lock(mutex_);
    if (!before) IRONCORE_CHECK(make_directory());
    if (!body_ || !body_->is_at_its_path()) {
      IRONCORE_TRY(body_, open_body());
    }
    IRONCORE_CHECK(body_->set_mark(before, mark));
    id_ = mark.store;
    return {};
  }

 private:
  Result<std::shared_ptr<BlockStore>> target() override {
    const std::lock_guard lock(mutex_);
    if (id_ && body_->is_at_its_path()) return std::shared_ptr<BlockStore>(body_);
    IRONCORE_TRY(const auto found, mark());
    const auto& path = options_.directory.string();
    if (!found) return Error(ErrorCode::unavailable, "there is no store in " + path + ": is its file system mounted?");
    if (id_ && found->store != *id_)
      return Error(ErrorCode::unavailable, "in " + path + " is store " + found->store.to_text() + ", and store " +
                                               id_->to_text() + " was: is the right file system mounted?");
    IRONCORE_TRY(body_, open_body());
    id_ = found->store;
    return std::shared_ptr<BlockStore>(body_);
  }

  Result<void> make_directory() const {
    const auto& path = options_.directory;
    if (::mkdir(path.c_str(), 0711) == 0) {
      if (::chmod(path.c_str(), 0711) != 0) return system_error(errno, "set the mode of " + path.string());
      return sync_directory(path.parent_path());
    }
    if (errno != EEXIST) return system_error(errno, "create directory " + path.string());
    return {};
  }
  Result<std::shared_ptr<Store>> open_body() const {
    IRONCORE_TRY(Tree tree, Tree::open(options_.directory));
    return std::make_shared<Store>(options_, clock_, std::move(tree));
  }

  const LocalOptions options_;
  Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<Store> body_;
  std::optional<Uid> id_;  ///< of the store in `body_`, once it has a mark
};

}  // namespace

Result<std::unique_ptr<BlockStore>> LocalStore::open(LocalOptions options, Clock& clock) {
  const auto& path = options.directory;
  if (!path.is_absolute() || path.native().find(',') != std::string::npos) {
    return Error(ErrorCode::invalid,
                 "the directory of volumes must be an absolute path without a comma, not \"" + path.string() + "\"");
  }
  if (!options.executor) return Error(ErrorCode::invalid, "a store of local files needs an executor");
  return std::unique_ptr<BlockStore>(std::make_unique<AtPath>(std::move(options), clock));
}

}  // namespace ironcore::storage
