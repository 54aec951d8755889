// SPDX-License-Identifier: Apache-2.0
// Stores on the Ceph cluster of this program, and librados beside them, as another client has it.
#pragma once

#include <doctest/doctest.h>
#include <rados/librados.h>
#include <rbd/librbd.h>

#include <array>
#include <filesystem>
#include <memory>
#include <string>

#include "ironcore/storage/ceph.hpp"
#include "support/ceph_cluster.hpp"

#define REQUIRE_OK(...)                                                  \
  do {                                                                   \
    const auto& ok_result = (__VA_ARGS__);                               \
    REQUIRE_MESSAGE(ok_result.has_value(), ok_result.error().message()); \
  } while (false)

namespace ironcore::storage::ceph::testing {

/// The program's cluster; started by `main`.
tests::CephCluster& test_cluster();

/// Whether data goes to an erasure-coded pool (`--ec`).
bool is_coded();

/// A connection as the provider has it: a user with no more rights than docs/storage-ceph.md asks for.
std::unique_ptr<Cluster> provider(std::chrono::seconds patience = std::chrono::seconds(30));

/// In the pool of the cluster, with a `max_depth` of 2. The provider may use a data pool called `spare` too, if a test makes it.
std::unique_ptr<BlockStore> store_on(Cluster& cluster, const std::string& data_pool = "");

/// librados itself, as any user. Thread: one.
class Stranger {
 public:
  Stranger(const std::string& user, const std::string& key);
  /// The cluster's administrator.
  Stranger();
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;
  ~Stranger();
  bool is_connected() const { return code_ == 0; }
  int code() const { return code_; }
  rados_t get() const { return rados_; }
  /// In the cluster's pool. To be destroyed by the caller.
  rados_ioctx_t space(const std::string& name) const;

 private:
  rados_t rados_ = nullptr;
  int code_ = 0;
};

/// As a call of the store leaves it that was killed while it made the image.
void say_begun(const Stranger& admin, const std::string& tenant, const std::string& image);

/// An image that is open beside the store.
class OpenImage {
 public:
  enum class Mode { read_write, read_only };
  OpenImage(const Stranger& who, const std::string& space, const std::string& name, Mode mode = Mode::read_write)
      : io_(who.space(space)) {
    code_ = (mode == Mode::read_only ? rbd_open_read_only : rbd_open)(io_, name.c_str(), &image_, nullptr);
  }
  OpenImage(const OpenImage&) = delete;
  OpenImage& operator=(const OpenImage&) = delete;
  ~OpenImage() {
    if (code_ == 0) rbd_close(image_);
    rados_ioctx_destroy(io_);
  }
  int code() const { return code_; }
  rbd_image_t get() const { return image_; }
  std::string metadata(const std::string& key) const {
    std::array<char, 256> value{};
    std::size_t size = value.size();
    return rbd_metadata_get(image_, key.c_str(), value.data(), &size) == 0 ? value.data() : "";
  }

 private:
  rados_ioctx_t io_;
  rbd_image_t image_ = nullptr;
  int code_ = 0;
};

/// Removes itself.
class Directory {
 public:
  Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace ironcore::storage::ceph::testing
