// SPDX-License-Identifier: Apache-2.0
// The cluster of the program, its main function, and who asks it.
#define DOCTEST_CONFIG_IMPLEMENT
#include "ceph_fixture.hpp"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstdio>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace ironcore::storage::ceph::testing {

namespace {

std::unique_ptr<tests::CephCluster> the_cluster;
std::string provider_key;
std::string usual_data_pool;  ///< of stores for which a test wants no other

NullLog no_log;
SystemClock the_clock;

/// Makes the provider's user, as docs/storage-ceph.md says.
std::string make_provider() {
  const Stranger admin;
  const std::string command =
      R"({"prefix": "auth get-or-create-key", "entity": "client.provider", "caps": [)"
      R"("mon", "profile rbd, allow command \"auth get-or-create\", allow command \"auth rm\"",)"
      R"("osd", "profile rbd pool=rbd, profile rbd pool=spare, profile rbd pool=rbd-data", "mgr", "profile rbd"], "format": "plain"})";
  const char* line = command.c_str();
  char* out = nullptr;
  std::size_t size = 0;
  if (rados_mon_command(admin.get(), &line, 1, nullptr, 0, &out, &size, nullptr, nullptr) < 0) {
    throw std::runtime_error("cannot make the provider's user");
  }
  std::string key(out, size);
  rados_buffer_free(out);
  while (!key.empty() && key.back() == '\n') key.pop_back();
  return key;
}

}  // namespace

void say_begun(const Stranger& admin, const std::string& tenant, const std::string& image) {
  const rados_ioctx_t io = admin.space(".ironcore");
  const std::string object = "claim." + tenant + "." + image;
  REQUIRE(rados_setxattr(io, object.c_str(), "begun", "1", 1) == 0);
  rados_ioctx_destroy(io);
}

tests::CephCluster& test_cluster() {
  return *the_cluster;
}

bool is_coded() {
  return !usual_data_pool.empty();
}

std::unique_ptr<Cluster> provider(std::chrono::seconds patience) {
  auto cluster = Cluster::connect({.monitors = {the_cluster->env("CEPH_MONITOR")},
                                   .user = "provider",
                                   .key = provider_key,
                                   .connect_patience = patience,
                                   .monitor_patience = patience,
                                   .osd_patience = patience});
  REQUIRE_MESSAGE(cluster.has_value(), cluster.error().message());
  return std::move(*cluster);
}

std::unique_ptr<BlockStore> store_on(Cluster& cluster, const std::string& data_pool) {
  auto store = open(cluster,
                    {.pool = the_cluster->env("CEPH_POOL"),
                     .data_pool = data_pool.empty() ? usual_data_pool : data_pool,
                     .max_depth = 2},
                    the_clock, no_log);
  REQUIRE_MESSAGE(store.has_value(), store.error().message());
  return std::move(*store);
}

Stranger::Stranger(const std::string& user, const std::string& key) {
  if (rados_create2(&rados_, "ceph", ("client." + user).c_str(), 0) < 0) throw std::runtime_error("no librados");
  const std::vector<std::pair<const char*, std::string>> settings{{"mon_host", the_cluster->env("CEPH_MONITOR")},
                                                                  {"keyring", ""},
                                                                  {"key", key},
                                                                  {"client_mount_timeout", "30"},
                                                                  {"rados_osd_op_timeout", "30"},
                                                                  {"log_to_stderr", "false"},
                                                                  {"err_to_stderr", "false"}};
  for (const auto& [name, value] : settings) rados_conf_set(rados_, name, value.c_str());
  code_ = rados_connect(rados_);
}

Stranger::Stranger() : Stranger(the_cluster->env("CEPH_USER"), the_cluster->env("CEPH_KEY")) {}

Stranger::~Stranger() {
  rados_shutdown(rados_);
}

rados_ioctx_t Stranger::space(const std::string& name) const {
  rados_ioctx_t io = nullptr;
  if (rados_ioctx_create(rados_, the_cluster->env("CEPH_POOL").c_str(), &io) < 0) throw std::runtime_error("no pool");
  rados_ioctx_set_namespace(io, name.c_str());
  return io;
}

Directory::Directory() {
  std::string name = (std::filesystem::temp_directory_path() / "ceph-store-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create " + name);
  path_ = name;
}

Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace ironcore::storage::ceph::testing

/// Arguments: tests/support/ceph-cluster, `--ec` for data in an erasure-coded pool, then doctest's own.
int main(int argc, char** argv) {
  using namespace ironcore::storage::ceph::testing;
  if (argc < 2) {
    std::fputs("usage: test_storage_ceph CEPH-CLUSTER-SCRIPT [--ec] [doctest options]\n", stderr);
    return 2;
  }
  const bool wants_coded = argc > 2 && std::string_view(argv[2]) == "--ec";
  std::vector<std::string> options{"--no-rgw"};
  if (wants_coded) options.push_back("--ec");
  the_cluster = ironcore::tests::CephCluster::start(argv[1], options);
  if (!the_cluster) return 77;
  if (wants_coded) usual_data_pool = the_cluster->env("CEPH_DATA_POOL");
  provider_key = make_provider();
  std::vector<char*> arguments{argv[0]};
  arguments.insert(arguments.end(), argv + (wants_coded ? 3 : 2), argv + argc);
  doctest::Context context(static_cast<int>(arguments.size()), arguments.data());
  const int code = context.run();
  the_cluster.reset();
  return code;
}
