// SPDX-License-Identifier: Apache-2.0
// The suite of the seam on local files.
#include <sys/stat.h>

#include "block_store_suite.hpp"
#include "local_store.hpp"

namespace ironcore::storage::testing {

namespace {

class LocalFixture final : public BlockStoreFixture {
 public:
  LocalFixture() : store_(place_.open()) {}
  BlockStore& store() override { return *store_; }
  std::unique_ptr<BlockStore> another() override { return place_.open(); }
  std::filesystem::path directory() override { return place_.outside(); }
  BlockStoreQuirks quirks() const override {
    return {.encrypts = false,
            .snapshots_in_use = place_.shares_extents(),
            .has_credentials = false,
            .fences = false,
            .max_depth = 8};
  }
  std::optional<std::uint64_t> occupied() override {
    if (place_.shares_extents()) return {};  // the same blocks are counted in several files
    std::uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(place_.root())) {
      struct stat status {};
      if (!entry.is_regular_file() || ::lstat(entry.path().c_str(), &status) != 0) continue;
      bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
    return bytes;
  }

 private:
  LocalPlace place_;
  std::unique_ptr<BlockStore> store_;
};

}  // namespace

IRONCORE_BLOCK_STORE_CONFORMANCE(LocalFixture);

}  // namespace ironcore::storage::testing
