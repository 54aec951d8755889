// SPDX-License-Identifier: Apache-2.0
// The suite of BlockStore on a real Ceph cluster.
#include <rbd/librbd.h>

#include "ceph_fixture.hpp"
#include "storage/block_store_suite.hpp"

namespace ironcore::storage::testing {

namespace {

class CephFixture final : public BlockStoreFixture {
 public:
  ~CephFixture() override {
    const auto volumes = store_->volumes();
    const auto snapshots = store_->snapshots();
    if (volumes.has_value()) {
      for (const Volume& one : *volumes) (void)store_->remove(one.id);
    }
    if (snapshots.has_value()) {
      for (const Snapshot& one : *snapshots) (void)store_->remove_snapshot(one.id);
    }
    (void)store_->maintain({});
  }

  BlockStore& store() override { return *store_; }
  std::unique_ptr<BlockStore> another() override { return ceph::testing::store_on(*cluster_); }
  std::filesystem::path directory() override { return directory_.path(); }
  BlockStoreQuirks quirks() const override {
    return {.encrypts = !ceph::testing::is_coded(), .cheap_bytes = 4 * mib, .generations = 5, .max_depth = 2};
  }

  Elsewhere open_elsewhere(const BlockId& id, const std::optional<EncryptionKey>& key) override {
    struct Keeper {
      std::unique_ptr<ceph::Cluster> cluster;
      std::unique_ptr<BlockStore> store;
    };
    auto keeper = std::make_shared<Keeper>();
    keeper->cluster = ceph::testing::provider();
    keeper->store = ceph::testing::store_on(*keeper->cluster);
    auto data = keeper->store->open(id, key);
    REQUIRE_MESSAGE(data.has_value(), data.error().message());
    return {keeper, std::move(*data)};
  }

  std::optional<Bytes> raw(const BlockId& id) override {
    const ceph::testing::Stranger admin;
    const rados_ioctx_t io = admin.space(id.tenant);
    rbd_image_t image = nullptr;
    REQUIRE(rbd_open_read_only(io, ("img_" + id.uid.to_text()).c_str(), &image, nullptr) == 0);
    std::uint64_t size = 0;
    rbd_get_size(image, &size);
    Bytes bytes(size);
    CHECK(rbd_read(image, 0, size, reinterpret_cast<char*>(bytes.data())) == static_cast<ssize_t>(size));
    rbd_close(image);
    rados_ioctx_destroy(io);
    return bytes;
  }

  bool exchange_headers(const BlockId& one, const BlockId& other) override {
    const Bytes first = front(one), second = front(other);
    write_front(one, second);
    write_front(other, first);
    return true;
  }

  std::optional<bool> reaches(const Access& access) override {
    const ceph::testing::Stranger user(access.secrets.at("userID"), access.secrets.at("userKey"));
    if (!user.is_connected()) return false;
    const std::string place = access.attributes.at("image");
    const std::size_t space = place.find('/'), name = place.rfind('/');
    const rados_ioctx_t io = user.space(place.substr(space + 1, name - space - 1));
    rbd_image_t image = nullptr;
    const bool is_open = rbd_open(io, place.substr(name + 1).c_str(), &image, nullptr) == 0;
    char byte = 0;
    const bool is_read = is_open && rbd_read(image, 0, 1, &byte) == 1;
    if (is_open) rbd_close(image);
    rados_ioctx_destroy(io);
    return is_read;
  }

 private:
  static constexpr std::size_t kHeader = 16 * mib;

  static Bytes front(const BlockId& id) {
    const ceph::testing::Stranger admin;
    const ceph::testing::OpenImage image(admin, id.tenant, "img_" + id.uid.to_text(),
                                         ceph::testing::OpenImage::Mode::read_only);
    REQUIRE(image.code() == 0);
    Bytes bytes(kHeader);
    REQUIRE(rbd_read(image.get(), 0, kHeader, reinterpret_cast<char*>(bytes.data())) == ssize_t{kHeader});
    return bytes;
  }
  static void write_front(const BlockId& id, const Bytes& bytes) {
    const ceph::testing::Stranger admin;
    const ceph::testing::OpenImage image(admin, id.tenant, "img_" + id.uid.to_text());
    REQUIRE(image.code() == 0);
    REQUIRE(rbd_write(image.get(), 0, kHeader, reinterpret_cast<const char*>(bytes.data())) == ssize_t{kHeader});
    REQUIRE(rbd_flush(image.get()) == 0);
  }

  std::unique_ptr<ceph::Cluster> cluster_ = ceph::testing::provider();
  std::unique_ptr<BlockStore> store_ = ceph::testing::store_on(*cluster_);
  ceph::testing::Directory directory_;
};

}  // namespace

IRONCORE_BLOCK_STORE_CONFORMANCE(CephFixture);

}  // namespace ironcore::storage::testing
