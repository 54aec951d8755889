// SPDX-License-Identifier: Apache-2.0
// From the object to the volume: ironcored and ceph-providerd as they are, on a Ceph cluster of its own, beside bare librbd in turns.
#include <rados/librados.h>
#include <rbd/librbd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "figures.hpp"
#include "ironcore/api/storage.hpp"
#include "ironcore/storage/ceph.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcore/store/zmq.hpp"
#include "support/ceph_cluster.hpp"

using namespace ironcore;
using namespace ironcore::bench;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t size_bytes = std::uint64_t{1} << 30;
constexpr std::size_t workers = 8;  // of ceph-providerd, by default
const std::string tenant = "default";

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}
double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}
void must_code(int code, const char* doing) {
  if (code < 0) fail(std::string(doing) + ": error " + std::to_string(-code));
}

/// librbd as anybody calls it.
class Peer {
 public:
  explicit Peer(const tests::CephCluster& cluster) {
    must_code(rados_create(&rados_, cluster.env("CEPH_USER").c_str()), "make a client");
    must_code(rados_conf_read_file(rados_, cluster.env("CEPH_CONF").c_str()), "read the configuration");
    must_code(rados_connect(rados_), "connect");
    must_code(rados_ioctx_create(rados_, cluster.env("CEPH_POOL").c_str(), &io_), "open the pool");
    must_code(rbd_namespace_create(io_, "peer"), "make a namespace");
    rados_ioctx_set_namespace(io_, "peer");
    rbd_image_options_create(&options_);
    rbd_image_options_set_uint64(options_, RBD_IMAGE_OPTION_FEATURES,
                                 RBD_FEATURE_LAYERING | RBD_FEATURE_EXCLUSIVE_LOCK | RBD_FEATURE_OBJECT_MAP |
                                     RBD_FEATURE_FAST_DIFF | RBD_FEATURE_DEEP_FLATTEN);
    rbd_image_options_set_uint64(options_, RBD_IMAGE_OPTION_ORDER, 22);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    rbd_image_options_destroy(options_);
    rados_ioctx_destroy(io_);
    rados_shutdown(rados_);
  }
  void make(const std::string& name) const {
    must_code(rbd_create4(io_, name.c_str(), size_bytes, options_), "rbd_create4");
  }

 private:
  rados_t rados_ = nullptr;
  rados_ioctx_t io_ = nullptr;
  rbd_image_options_t options_ = nullptr;
};

/// A program of ours, until it is destroyed; it serves when it is made.
class Program {
 public:
  Program(std::vector<std::string> words, const std::filesystem::path& ready) {
    words.insert(words.end(), {"--ready-file", ready.string(), "--log-level", "warning"});
    pid_ = ::fork();
    if (pid_ < 0) fail("fork");
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::vector<char*> arguments;
      for (auto& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    for (int i = 0; !std::filesystem::exists(ready); ++i) {
      if (i > 3000 || ::waitpid(pid_, nullptr, WNOHANG) != 0) fail(words[0] + " does not come up");
      std::this_thread::sleep_for(10ms);
    }
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  double resident_mb() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
    double all = 0, resident = 0;
    file >> all >> resident;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
  }

 private:
  pid_t pid_ = -1;
};

void want(store::Store& store, const std::string& name) {
  api::Volume volume{.metadata = {.name = name, .namespace_ = tenant}};
  volume.spec.volume_class_ref = api::LocalReference{.name = "fast"};
  volume.spec.resources["storage"] = must(Quantity::parse("1Gi"));
  must(store::create(store, volume), "create a volume");
}
/// What is Available, as a watch tells it: who asked again and again would take the processor from those who work.
class Available {
 public:
  explicit Available(store::Store& store)
      : watch_(must(store.watch({.kind = &api::kind_of<api::Volume>(),
                                 .fields = must(store::FieldSelector::parse("status.state=Available"))},
                                must(store.revision(), "ask for the revision")),
                    "watch volumes")) {}
  void wait_for(const std::vector<std::string>& names) {
    for (const auto& name : names) {
      while (!names_.contains(name)) {
        const auto changes = must(watch_->next(clock_.now() + 300s), "wait for volumes");
        if (changes.empty()) fail(name + " does not become Available");
        for (const auto& change : changes)
          if (change.type == store::Change::Type::added) names_.insert(change.object->metadata().name);
      }
    }
  }

 private:
  SystemClock clock_;
  std::unique_ptr<store::Watch> watch_;
  std::set<std::string> names_;
};

}  // namespace

/// bench_ceph_providerd CEPH-CLUSTER-SCRIPT IRONCORED CEPH-PROVIDERD [quick]
int main(int argc, char** argv) {
  if (argc < 4) fail("usage: bench_ceph_providerd CEPH-CLUSTER-SCRIPT IRONCORED CEPH-PROVIDERD [quick]");
  const bool is_quick = argc > 4 && std::string(argv[4]) == "quick";
  const auto cluster = tests::CephCluster::start(argv[1], {"--no-rgw", "--capacity", "64GiB"});
  if (!cluster) return 77;
  const Peer peer(*cluster);
  const auto directory = cluster->directory() / "bench";
  std::filesystem::create_directory(directory);
  const auto key_file = directory / "key";
  std::ofstream(key_file) << cluster->env("CEPH_KEY") << '\n';
  std::filesystem::permissions(key_file, std::filesystem::perms::owner_read);
  const auto endpoint = "ipc://" + (directory / "api.sock").string();
  const Program server({argv[2], "--state-directory", (directory / "state").string(), "--listen", endpoint},
                       directory / "server.ready");
  const Program provider({argv[3], "--server", endpoint, "--directory", (directory / "provider").string(),
                          "--volume-pool", "bench", "--cluster",
                          "c,monitors=" + cluster->env("CEPH_MONITOR") + ",user=" + cluster->env("CEPH_USER") +
                              ",key-file=" + key_file.string(),
                          "--store", "s,cluster=c,pool=" + cluster->env("CEPH_POOL"), "--volume-class", "fast=s",
                          "--thin-provision-percent", "10000", "--heartbeat", "1s", "--lease", "5s"},
                         directory / "provider.ready");
  SystemClock clock;
  NullLog log;
  const auto context = must(store::zmq::Context::create());
  const auto store = must(store::zmq::connect(*context, {.endpoint = endpoint}, clock, log));
  api::VolumeClass fast{.metadata = {.name = "fast"}};
  fast.capabilities["tps"] = must(Quantity::parse("1Gi"));
  fast.capabilities["iops"] = must(Quantity::parse("100000"));
  must(store::create(*store, fast), "create a class");
  Available available(*store);
  want(*store, "first");
  available.wait_for({"first"});

  std::vector<double> overheads, peers;
  for (int i = 0; i < (is_quick ? 5 : 20); ++i) {
    const auto name = "pair-" + std::to_string(i);
    auto begin = std::chrono::steady_clock::now();
    want(*store, name);
    available.wait_for({name});
    const double ours = seconds_since(begin) * 1e3;
    begin = std::chrono::steady_clock::now();
    peer.make(name);
    peers.push_back(seconds_since(begin) * 1e3);
    overheads.push_back(ours - peers.back());
  }
  print("storage.create.overhead.ms", median(overheads), "ms",
        R"("peer_ms":)" + std::to_string(median(peers)) + R"(,"to_reach":15)");

  // Three rounds, by turns: ours, rbd_create4 alone, and our store without objects, in this process.
  const std::size_t count = is_quick ? 15 : 1000;
  const auto connection = must(storage::ceph::Cluster::connect({.monitors = {cluster->env("CEPH_MONITOR")},
                                                                .user = cluster->env("CEPH_USER"),
                                                                .key = cluster->env("CEPH_KEY")}));
  const auto bare = must(storage::ceph::open(*connection, {.pool = cluster->env("CEPH_POOL")}, clock, log));
  const auto all_at_once = [&](const std::function<void(std::size_t)>& make) {
    std::vector<std::jthread> threads;
    std::atomic<std::size_t> next{0};
    for (std::size_t i = 0; i < workers; ++i)
      threads.emplace_back([&] {
        for (std::size_t at = 0; (at = next++) < count;) make(at);
      });
  };
  double resident = 0;
  const auto many = [&](const std::string& prefix) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) names.push_back(prefix + std::to_string(i));
    for (const auto& name : names) want(*store, name);
    available.wait_for(names);
    if (resident == 0) resident = provider.resident_mb();
  };
  struct Contender {
    std::function<void(const std::string& prefix)> run;
    double seconds = 0;
    std::string rates;
  };
  Contender ours{many}, alone{[&](const std::string&prefix) {
    all_at_once([&](std::size_t at) { peer.make(prefix + std::to_string(at)); });
  }};
  Contender direct{[&](const std::string&) {
    all_at_once([&](std::size_t) {
      const storage::BlockId id{"bare", Uid::random()};
      must(bare->create(id, {.size_bytes = size_bytes}, {}, {}), "create");
      must(bare->access(id), "access");
    });
  }};
  std::vector<Contender*> turn{&ours, &alone, &direct};
  const std::size_t rounds = turn.size();
  for (std::size_t round = 0; round < rounds; ++round) {
    for (auto* one : turn) {
      const auto begin = std::chrono::steady_clock::now();
      one->run("many-" + std::to_string(round) + "-");
      const double seconds = seconds_since(begin);
      one->seconds += seconds;
      one->rates += (one->rates.empty() ? "" : ",") + std::to_string(static_cast<double>(count) / seconds);
    }
    std::ranges::rotate(turn, turn.begin() + 1);
  }
  print("storage.create.1000.ratio", alone.seconds / ours.seconds, "x",
        R"("per_s":[)" + ours.rates + R"(],"peer_per_s":[)" + alone.rates + R"(],"store_alone_per_s":[)" +
            direct.rates + R"(],"volumes":)" + std::to_string(count) + R"(,"to_reach":0.7)");
  print("ceph-providerd.rss.mb", resident, "MiB",
        R"("volumes":)" + std::to_string(count + overheads.size() + 1) + R"(,"to_reach":64)");
  return 0;
}
