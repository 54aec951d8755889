// SPDX-License-Identifier: Apache-2.0
// How fast the store of blocks on Ceph is, beside Ceph's own tools and bare librbd on the same cluster, in turns.
#include <rados/librados.h>
#include <rbd/librbd.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "figures.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/storage/ceph.hpp"
#include "names.hpp"
#include "support/ceph_cluster.hpp"

using namespace ironcore;
using namespace ironcore::bench;
using namespace ironcore::storage;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t MiB = std::uint64_t{1} << 20, GiB = std::uint64_t{1} << 30;
constexpr std::size_t block = 4096, depth = 16;
const std::string tenant = "bench";

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void must_code(int code, const char* doing) {
  if (code < 0) fail(std::string(doing) + ": error " + std::to_string(-code));
}

std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) fail("cannot run " + command);
  std::string out;
  std::array<char, 4096> part{};
  while (const std::size_t size = std::fread(part.data(), 1, part.size(), pipe)) out.append(part.data(), size);
  if (const int status = ::pclose(pipe); !WIFEXITED(status) || WEXITSTATUS(status) != 0) fail(command + ": " + out);
  return out;
}

/// Of ours and of the peer, by turns; who is first changes, because what runs second finds caches filled.
struct Turns {
  std::vector<double> ours, peer;
  void take(int rounds, const std::function<double(int)>& our_turn, const std::function<double(int)>& peer_turn) {
    for (int round = 0; round < rounds; ++round) {
      if (round % 2 == 0) ours.push_back(our_turn(round));
      peer.push_back(peer_turn(round));
      if (round % 2 == 1) ours.push_back(our_turn(round));
    }
  }
};

/// What the figures are taken on: a cluster, our store on it, and librbd beside it as another client of the same user has it.
class Bench {
 public:
  Bench(const tests::CephCluster& cluster, bool is_quick) : cluster_(cluster), is_quick_(is_quick) {
    ours_ = must(ceph::Cluster::connect(
        {.monitors = {cluster.env("CEPH_MONITOR")}, .user = cluster.env("CEPH_USER"), .key = cluster.env("CEPH_KEY")}));
    store_ = must(ceph::open(*ours_, {.pool = pool(), .data_pool = {}}, clock_, log_));
    must_code(rados_create(&rados_, cluster.env("CEPH_USER").c_str()), "make a client");
    for (const auto& [name, value] : std::map<const char*, std::string>{{"mon_host", cluster.env("CEPH_MONITOR")},
                                                                        {"keyring", ""},
                                                                        {"key", cluster.env("CEPH_KEY")},
                                                                        {"log_to_stderr", "false"},
                                                                        {"err_to_stderr", "false"},
                                                                        {"rbd_default_clone_format", "2"}}) {
      must_code(rados_conf_set(rados_, name, value.c_str()), name);
    }
    must_code(rados_connect(rados_), "connect");
    must_code(rados_ioctx_create(rados_, pool().c_str(), &io_), "open the pool");
    must_code(rados_ioctx_create(rados_, pool().c_str(), &tenant_io_), "open the pool");
    rados_ioctx_set_namespace(tenant_io_, tenant.c_str());
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    rados_ioctx_destroy(tenant_io_);
    rados_ioctx_destroy(io_);
    rados_shutdown(rados_);
  }

  void populate();
  void clone();
  void snapshot();
  void list();
  void aio();

 private:
  std::string pool() const { return cluster_.env("CEPH_POOL"); }
  std::string rbd(const std::string& arguments) const {
    return output_of("rbd -c " + cluster_.env("CEPH_CONF") + " --id " + cluster_.env("CEPH_USER") + " " + arguments);
  }
  int rounds(int full) const { return is_quick_ ? std::min(full, 2) : full; }
  /// A file of that size, of which a quarter is data, 16 MiB of every 64, and the rest holes.
  BaseSource image_file(std::uint64_t size, unsigned seed) const;
  Volume make_volume(std::uint64_t size, const VolumeSource& source) {
    return must(store_->create({tenant, Uid::random()}, {.size_bytes = size, .source = source, .key = {}, .limits = {}},
                               {}, {}),
                "create a volume");
  }
  /// Lets maintenance give back the room of what was removed.
  void maintain() {
    while (must(store_->maintain({})).waiting > 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  rbd_image_options_t options();

  const tests::CephCluster& cluster_;
  const bool is_quick_;
  SystemClock clock_;
  NullLog log_;
  std::unique_ptr<ceph::Cluster> ours_;
  std::unique_ptr<BlockStore> store_;
  rados_t rados_ = nullptr;
  rados_ioctx_t io_ = nullptr, tenant_io_ = nullptr;
};

BaseSource Bench::image_file(std::uint64_t size, unsigned seed) const {
  const fs::path path = cluster_.directory() / ("image-" + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::vector<std::uint64_t> piece(MiB / sizeof(std::uint64_t));
  const auto bytes = std::as_bytes(std::span(piece));
  crypto::Hasher hasher;
  std::ofstream file(path, std::ios::binary);
  for (std::uint64_t at = 0; at < size; at += MiB) {
    const bool is_data = at % (64 * MiB) < 16 * MiB;
    std::generate(piece.begin(), piece.end(), [&]() -> std::uint64_t { return is_data ? random() : 0; });
    hasher.update(bytes);
    if (!is_data) continue;
    file.seekp(static_cast<std::streamoff>(at));
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  file.close();
  if (!file) fail("cannot write " + path.string());
  fs::resize_file(path, size);
  return {.path = path, .digest = hasher.finish(), .size_bytes = size};
}

// ---- a base image from a file ----

void Bench::populate() {
  const std::uint64_t size = is_quick_ ? GiB / 4 : 2 * GiB;
  const BaseSource source = image_file(size, 1);
  const std::string hex = source.digest.to_text().substr(source.digest.to_text().find(':') + 1);
  Turns turns;
  const auto ours = [&](int) {
    const double time = seconds_of([&] { must(store_->import_base(source, {}, {}), "import"); });
    must(store_->remove_base(source.digest), "remove the image");
    maintain();
    return time;
  };
  const auto peer = [&](int) {
    const double time = seconds_of([&] {
      if (!output_of("sha256sum " + source.path.string()).starts_with(hex)) fail("sha256sum says otherwise");
      rbd("import --no-progress " + source.path.string() + " " + pool() + "/imported");
    });
    must_code(rbd_remove(io_, "imported"), "remove the peer's image");
    return time;
  };
  turns.take(rounds(5), ours, peer);
  fs::remove(source.path);
  const std::string params = R"("bytes":)" + std::to_string(size) + R"(,"data":0.25)";
  print("storage.populate.s", median(turns.ours), "s", params);
  print("storage.populate.peer.s", median(turns.peer), "s", params + R"(,"is":"sha256sum and rbd import")");
  print("storage.populate.ratio", median(turns.ours) / median(turns.peer), "x", params + R"(,"to_reach":0.7)");
}

// ---- volumes from a base image ----

rbd_image_options_t Bench::options() {
  rbd_image_options_t out = nullptr;
  rbd_image_options_create(&out);
  // Those that the store's images have.
  rbd_image_options_set_uint64(out, RBD_IMAGE_OPTION_FEATURES,
                               RBD_FEATURE_LAYERING | RBD_FEATURE_EXCLUSIVE_LOCK | RBD_FEATURE_OBJECT_MAP |
                                   RBD_FEATURE_FAST_DIFF | RBD_FEATURE_DEEP_FLATTEN);
  return out;
}

void Bench::clone() {
  const BaseSource source = image_file(64 * MiB, 2);
  must(store_->import_base(source, {}, {}), "import");
  fs::remove(source.path);
  const std::string parent = ceph::base_image(source.digest);
  make_volume(source.size_bytes, FromBase{source.digest});  // the tenant's namespace is there
  const int count = is_quick_ ? 5 : 20;
  Turns turns;
  const auto ours = [&](int) {
    return seconds_of([&] {
      for (int i = 0; i < count; ++i) make_volume(source.size_bytes, FromBase{source.digest});
    });
  };
  const auto peer = [&](int round) {
    const rbd_image_options_t with = options();
    const double time = seconds_of([&] {
      for (int i = 0; i < count; ++i) {
        const std::string name = "clone-" + std::to_string(round) + "-" + std::to_string(i);
        must_code(rbd_clone3(io_, parent.c_str(), ceph::clone_snapshot, tenant_io_, name.c_str(), with), "clone");
      }
    });
    rbd_image_options_destroy(with);
    return time;
  };
  turns.take(rounds(5), ours, peer);
  const std::string params = R"("volumes":)" + std::to_string(count * rounds(5)) + R"(,"is":"median of the turns")";
  print("storage.clone.ms", median(turns.ours) / count * 1e3, "ms", params);
  print("storage.clone.peer.ms", median(turns.peer) / count * 1e3, "ms", params);
  print("storage.clone.100.ratio", median(turns.ours) / median(turns.peer), "x", params + R"(,"to_reach":1.3)");
}

// ---- reading and writing ----

/// Operations on random blocks, `depth` of them under way at any time, until so many were begun or somebody says stop.
class Load {
 public:
  enum class Kind { read, write };
  Load(BlockData& data, Kind kind, std::size_t block_size, std::size_t width, unsigned seed)
      : data_(data),
        kind_(kind),
        size_(block_size),
        blocks_(data.size() / block_size),
        random_(seed),
        buffers_(width, Bytes(block_size, std::byte{0x5a})) {}

  void run(std::uint64_t operations) {
    left_ = operations;
    for (std::size_t slot = 0; slot < buffers_.size(); ++slot) next(slot);
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return under_way_ == 0; });
    if (!error_.empty()) fail(error_);
    lock.unlock();
    if (kind_ == Kind::write) flush(data_);
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    left_ = 0;
  }

  static void flush(BlockData& data) {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<void>> out;
    data.flush([&](Result<void> result) {
      const std::lock_guard lock(mutex);
      out = std::move(result);
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return out.has_value(); });
    must(std::move(*out), "flush");
  }

 private:
  void next(std::size_t slot) {
    std::uint64_t offset = 0;
    {
      const std::lock_guard lock(mutex_);
      if (left_ == 0) return;
      --left_;
      ++under_way_;
      offset = random_() % blocks_ * size_;
    }
    const auto done = [this, slot](const Result<void>& result) {
      if (result.has_error()) {
        const std::lock_guard lock(mutex_);
        error_ = result.error().message();
        left_ = 0;
      }
      next(slot);
      const std::lock_guard lock(mutex_);
      if (--under_way_ == 0) idle_.notify_all();
    };
    if (kind_ == Kind::read) {
      data_.read(offset, buffers_[slot], done);
    } else {
      data_.write(offset, buffers_[slot], done);
    }
  }

  BlockData& data_;
  const Kind kind_;
  const std::size_t size_;
  const std::uint64_t blocks_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::mt19937_64 random_;
  std::vector<Bytes> buffers_;
  std::uint64_t left_ = 0;
  std::size_t under_way_ = 0;
  std::string error_;
};

void write_whole(BlockData& data) {
  const Bytes bytes(4 * MiB, std::byte{0xa5});
  for (std::uint64_t at = 0; at < data.size(); at += bytes.size()) {
    data.write(at, bytes, [](const Result<void>& result) {
      if (result.has_error()) fail("fill the volume: " + result.error().message());
    });
    Load::flush(data);
  }
}

void Bench::aio() {
  const std::uint64_t size = 256 * MiB, operations = is_quick_ ? 2'000 : 20'000;
  const Volume volume = make_volume(size, Empty{});
  write_whole(*must(store_->open(volume.id, {}), "open"));
  const std::string image = pool() + "/" + tenant + "/" + ceph::volume_image(volume.id.uid);
  for (const auto kind : {Load::Kind::write, Load::Kind::read}) {
    const std::string word = kind == Load::Kind::write ? "write" : "read";
    Turns turns;
    const auto ours = [&](int round) {
      const auto data = must(store_->open(volume.id, {}), "open");
      Load::flush(*data);  // librbd's cache writes through until the first flush; `rbd bench` turns that off
      Load load(*data, kind, block, depth, static_cast<unsigned>(round));
      return static_cast<double>(operations) / seconds_of([&] { load.run(operations); });
    };
    const auto peer = [&](int) {
      const std::string out =
          rbd("bench --io-type " + word + " --io-pattern rand --io-size " + std::to_string(block) + " --io-threads " +
              std::to_string(depth) + " --io-total " + std::to_string(operations * block) + " " + image);
      const auto at = out.rfind("ops/sec: ");
      if (at == std::string::npos) fail("rbd bench said: " + out);
      return std::stod(out.substr(at + 9));
    };
    turns.take(rounds(7), ours, peer);
    const std::string params = R"("block":4096,"depth":16,"operations":)" + std::to_string(operations);
    print(("storage.aio." + word).c_str(), median(turns.ours), "1/s", params);
    print(("storage.aio." + word + ".peer").c_str(), median(turns.peer), "1/s", params + R"(,"is":"rbd bench")");
    print(("storage.aio." + word + ".ratio").c_str(), median(turns.ours) / median(turns.peer), "x",
          params + R"(,"to_reach":0.95)");
  }
  must(store_->remove(volume.id), "remove the volume");
}

// ---- a snapshot that stands for itself ----

void Bench::snapshot() {
  const Volume volume = make_volume(10 * GiB, Empty{});
  const std::string origin = ceph::volume_image(volume.id.uid);
  Turns turns;
  {
    const auto data = must(store_->open(volume.id, {}), "open");
    Load load(*data, Load::Kind::write, 64 * 1024, 4, 1);
    std::jthread guest([&] { load.run(~std::uint64_t{0}); });
    const auto ours = [&](int) {
      return seconds_of([&] { must(store_->take_snapshot(volume.id, Uid::random(), {}), "take a snapshot"); });
    };
    const auto peer = [&](int round) {
      const std::string name = "snapshot-" + std::to_string(round);
      const rbd_image_options_t with = options();
      const double time = seconds_of([&] {
        rbd_image_t image = nullptr, copy = nullptr;
        must_code(rbd_open(tenant_io_, origin.c_str(), &image, nullptr), "open the volume");
        must_code(rbd_snap_create2(image, name.c_str(), RBD_SNAP_CREATE_SKIP_QUIESCE, nullptr, nullptr),
                  "make a snapshot");
        must_code(rbd_clone3(tenant_io_, origin.c_str(), name.c_str(), tenant_io_, name.c_str(), with), "clone");
        must_code(rbd_open(tenant_io_, name.c_str(), &copy, nullptr), "open the clone");
        must_code(rbd_snap_create2(copy, ceph::clone_snapshot, RBD_SNAP_CREATE_SKIP_QUIESCE, nullptr, nullptr),
                  "make a snapshot of the clone");
        must_code(rbd_close(copy), "close the clone");
        must_code(rbd_snap_remove(image, name.c_str()), "remove the snapshot");
        must_code(rbd_close(image), "close the volume");
      });
      rbd_image_options_destroy(with);
      return time;
    };
    turns.take(rounds(15), ours, peer);
    load.stop();
  }
  const std::string params = R"("bytes":10737418240,"load":"64 KiB writes, 4 under way")";
  print("storage.snapshot.ms", median(turns.ours) * 1e3, "ms", params);
  print("storage.snapshot.peer.ms", median(turns.peer) * 1e3, "ms", params + R"(,"is":"the same calls of librbd")");
  print("storage.snapshot.ratio", median(turns.ours) / median(turns.peer), "x", params + R"(,"to_reach":1.15)");
}

// ---- a list ----

void Bench::list() {
  const std::size_t count = is_quick_ ? 200 : 10'000;
  const std::size_t before = must(store_->volumes(), "list").size();
  std::atomic<std::size_t> begun{0};
  const double time = seconds_of([&] {
    std::vector<std::jthread> makers;
    for (int i = 0; i < 16; ++i) {
      makers.emplace_back([&] {
        while (begun++ < count) make_volume(10 * GiB, Empty{});
      });
    }
  });
  print("storage.create.many", static_cast<double>(count) / time, "1/s", R"("at_once":16)");
  std::vector<double> times;
  for (int round = 0; round < 9; ++round) {
    times.push_back(seconds_of([&] {
      if (must(store_->volumes(), "list").size() != before + count) fail("the list is not complete");
    }));
  }
  print("storage.list.10k.ms", median(times) * 1e3, "ms",
        R"("volumes":)" + std::to_string(before + count) + R"(,"to_reach":100)");
}

}  // namespace

/// bench_storage CEPH-CLUSTER-SCRIPT [quick] [populate|clone|snapshot|aio|list...]
int main(int argc, char** argv) {
  if (argc < 2) fail("usage: bench_storage CEPH-CLUSTER-SCRIPT [quick] [populate|clone|snapshot|aio|list...]");
  std::set<std::string> wanted(argv + 2, argv + argc);
  const bool is_quick = wanted.erase("quick") > 0;
  const std::vector<std::pair<std::string, void (Bench::*)()>> figures{{"populate", &Bench::populate},
                                                                       {"clone", &Bench::clone},
                                                                       {"snapshot", &Bench::snapshot},
                                                                       {"aio", &Bench::aio},
                                                                       {"list", &Bench::list}};
  for (const std::string& name : wanted) {
    if (std::ranges::none_of(figures, [&](const auto& figure) { return figure.first == name; })) {
      fail("there is no figure " + name);
    }
  }
  const auto cluster = tests::CephCluster::start(argv[1], {"--no-rgw", "--capacity", "16GiB"});
  if (!cluster) return 77;
  Bench bench(*cluster, is_quick);
  for (const auto& [name, take] : figures) {
    if (wanted.empty() || wanted.contains(name)) (bench.*take)();
  }
  return 0;
}
