// SPDX-License-Identifier: Apache-2.0
// How fast the store is over ZeroMQ, each figure beside a peer or a floor that is measured in the same run. One JSON line per figure.
//
//   bench_store_remote [DIRECTORY] [create|write|fanout|stopped|list]...
//
// Server, clients and peers are processes of their own. They are forked before anything of ZeroMQ exists and die with this one.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "figures.hpp"
#include "ironcore/api/compute.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/store/sqlite.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcore/store/zmq.hpp"
#include "ironcore/store/zmq_server.hpp"
#include "socket.hpp"

using namespace ironcore;
using namespace ironcore::bench;
namespace fs = std::filesystem;
namespace remote = ironcore::store::zmq;
using std::chrono::steady_clock;
using store::Create;
using store::Object;
using store::Transaction;

namespace {

double since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}
double now() {
  return std::chrono::duration<double>(steady_clock::now().time_since_epoch()).count();
}

double percentile(std::vector<double> values, double which) {
  if (values.empty()) return NAN;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(which * static_cast<double>(values.size())))];
}

class Directory {
 public:
  explicit Directory(const fs::path& where) {
    std::string pattern = (where / "bench-zmq-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) fail("no directory " + pattern);
    path = pattern;
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

/// A child that talks over two pipes: numbers up, single bytes down.
class Child {
 public:
  struct Pipes {
    int up;
    int down;
    void say(double value) const {
      if (::write(up, &value, sizeof value) != sizeof value) std::_Exit(1);
    }
    void wait() const {
      char byte;
      if (::read(down, &byte, 1) != 1) std::_Exit(0);
    }
  };
  explicit Child(const std::function<void(Pipes)>& body) {
    int up[2], down[2];
    if (::pipe2(up, O_CLOEXEC) != 0 || ::pipe2(down, O_CLOEXEC) != 0) fail("no pipe");
    std::fflush(stdout);
    const auto parent = ::getpid();
    pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) std::_Exit(1);
      ::close(up[0]);
      ::close(down[1]);
      body({up[1], down[0]});
      std::_Exit(0);
    }
    ::close(up[1]);
    ::close(down[0]);
    up_.reset(up[0]);
    down_.reset(down[1]);
  }
  Child(Child&&) = default;
  ~Child() { end(); }
  double hear() {
    double value;
    if (::read(up_.get(), &value, sizeof value) != sizeof value) fail("a part of the benchmark died");
    return value;
  }
  void go() {
    if (::write(down_.get(), "g", 1) != 1) fail("a part of the benchmark died");
  }
  void end() {
    if (!up_) return;
    down_.reset();
    up_.reset();
    ::kill(pid, SIGCONT);
    ::kill(pid, SIGTERM);
    ::waitpid(pid, nullptr, 0);
  }
  pid_t pid;

 private:
  UniqueFd up_, down_;
};

/// Of this process, all of its threads, in seconds.
double cpu() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

double rss_mb(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/statm");
  double total = 0, resident = 0;
  status >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024 * 1024);
}

/// A kibibyte of JSON in the store: what a machine with a disk, a NIC and some labels has.
api::Machine machine(const std::string& name) {
  api::Machine result;
  result.metadata.name = name;
  result.metadata.namespace_ = "default";
  result.metadata.labels = {{"app", "web"}, {"team", "team-7"}};
  result.metadata.annotations["note"] = std::string(412, 'x');
  result.metadata.finalizers = {std::string(api::machine_finalizer)};
  result.spec.machine_class_ref.name = "small";
  result.spec.machine_pool_ref = api::LocalReference{.name = "pool-1", .unknown = {}};
  api::MachineVolume volume;
  volume.name = "root";
  volume.device = "oda";
  volume.local_disk =
      api::LocalDisk{.size_limit = Quantity::bytes(10LL << 30), .image = "registry.example/os:1", .unknown = {}};
  result.spec.volumes.push_back(volume);
  api::MachineNetworkInterface nic;
  nic.name = "primary";
  nic.network_interface_ref = api::LocalReference{.name = "nic-" + name, .unknown = {}};
  result.spec.network_interfaces.push_back(nic);
  result.spec.ignition_ref = api::SecretKeySelector{.name = "ignition", .key = "ignition.yaml", .unknown = {}};
  return result;
}

Transaction creation(const std::string& name) {
  Transaction transaction;
  transaction.operations.emplace_back(Create{Object::of(machine(name))});
  return transaction;
}

std::string endpoint_in(const fs::path& directory) {
  return "ipc://" + (directory / "s").string();
}

std::unique_ptr<store::Store> connect(remote::Context& context, const fs::path& directory, Clock& clock, Log& log) {
  remote::ClientOptions options;
  options.endpoint = endpoint_in(directory);
  options.timeout = std::chrono::seconds(60);
  return must(remote::connect(context, options, clock, log), "connect");
}

/// A server process on a SQLite store; `prepare` fills it first. Says 1 when it serves; then `meanwhile` runs beside the server.
Child serve(const fs::path& directory, std::function<void(store::LocalStore&)> prepare = {},
            std::function<void(store::LocalStore&, remote::Server&, Child::Pipes)> meanwhile = {},
            store::LocalStoreOptions store_options = {}, bool is_durable = true) {
  return Child([=](Child::Pipes pipes) {
    SystemClock clock;
    NullLog log;
    std::unique_ptr<store::LocalStore> store;
    if (is_durable)
      store = must(store::sqlite::open(directory / "store.db", clock, log, store_options), "open the store");
    else
      store = store::memory_store(clock, log, store_options);
    if (prepare) prepare(*store);
    auto context = must(remote::Context::create(), "context");
    remote::ServerOptions options;
    options.path = (directory / "s").string();
    auto server = must(remote::Server::create(*context, *store, options, clock, log), "serve");
    std::jthread loop([&](std::stop_token stop) { must(server->run(stop), "run"); });
    pipes.say(1);
    if (meanwhile) meanwhile(*store, *server, pipes);
    for (;;) pipes.wait();
  });
}

// ---- creates: throughput beside etcd ----------------------------------------------------------------------------

/// `etcdctl check perf` on a fresh etcd; 0 if there is none. It runs for a minute with a fixed number of clients, and reports what
/// it reached below the load that it asked for; `xl` asks for more than a small machine gives.
double etcd_writes(const fs::path& directory) {
  const auto data = (directory / "etcd").string();
  const int port = 20'000 + static_cast<int>(::getpid() % 20'000);
  const auto client_url = "http://127.0.0.1:" + std::to_string(port);
  const auto peer_url = "http://127.0.0.1:" + std::to_string(port + 1);
  const pid_t etcd = ::fork();
  if (etcd == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 1);
    ::dup2(null, 2);
    ::execlp("etcd", "etcd", "--data-dir", data.c_str(), "--listen-client-urls", client_url.c_str(),
             "--advertise-client-urls", client_url.c_str(), "--listen-peer-urls", peer_url.c_str(),
             "--initial-advertise-peer-urls", peer_url.c_str(), "--initial-cluster", ("default=" + peer_url).c_str(),
             "--quota-backend-bytes", "8589934592", nullptr);
    std::_Exit(127);
  }
  const auto run = [&](const std::string& arguments) {
    std::string output;
    if (FILE* pipe =
            ::popen(("ETCDCTL_API=3 etcdctl --endpoints=" + client_url + " " + arguments + " 2>&1").c_str(), "r")) {
      char buffer[512];
      while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) output += buffer;
      ::pclose(pipe);
    }
    return output;
  };
  double writes = 0;
  for (int attempt = 0; attempt < 50 && ::waitpid(etcd, nullptr, WNOHANG) == 0; ++attempt) {
    if (run("endpoint health").find("is healthy") == std::string::npos) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      continue;
    }
    const auto output = run("check perf --load=xl");
    // "FAIL: Throughput too low: 5400 writes/s" or "PASS: Throughput is 15000 writes/s"
    if (const auto at = output.find("Throughput"); at != std::string::npos) {
      const auto digit = output.find_first_of("0123456789", at);
      if (digit != std::string::npos) writes = std::strtod(output.c_str() + digit, nullptr);
    }
    if (writes == 0) std::fprintf(stderr, "etcdctl said: %s\n", output.c_str());
    break;
  }
  ::kill(etcd, SIGTERM);
  ::waitpid(etcd, nullptr, 0);
  return writes;
}

struct Creates {
  double rate = 0, batch = 0, server_cpu = 0, client_cpu = 0;
};

/// On a fresh store.
Creates measure_creates(const fs::path& where) {
  constexpr int processes = 2, threads = 32;
  constexpr double warm_up = 1, measured = 10;
  Directory directory(where);
  auto server = serve(directory.path, {}, [](store::LocalStore&, remote::Server& running, Child::Pipes pipes) {
    pipes.wait();
    const auto counters = running.counters();
    pipes.say(static_cast<double>(counters.commits) / static_cast<double>(counters.commit_batches));
    pipes.say(cpu() / static_cast<double>(counters.commits));
  });
  server.hear();
  std::vector<Child> clients;
  for (int p = 0; p < processes; ++p) {
    clients.emplace_back([&, p](Child::Pipes pipes) {
      SystemClock clock;
      NullLog log;
      auto context = must(remote::Context::create(), "context");
      auto store = connect(*context, directory.path, clock, log);
      std::atomic<bool> counts{false}, stop{false};
      std::atomic<std::uint64_t> done{0};
      std::vector<std::jthread> workers;
      for (int t = 0; t < threads; ++t) {
        workers.emplace_back([&, t] {
          const auto prefix = "c" + std::to_string(p) + "-" + std::to_string(t) + "-";
          for (std::uint64_t i = 0; !stop; ++i) {
            must(store->commit(creation(prefix + std::to_string(i))), "create");
            if (counts) done.fetch_add(1, std::memory_order_relaxed);
          }
        });
      }
      std::this_thread::sleep_for(std::chrono::duration<double>(warm_up));
      counts = true;
      const double cpu_before = cpu();
      const auto start = steady_clock::now();
      std::this_thread::sleep_for(std::chrono::duration<double>(measured));
      counts = false;
      const auto rate = static_cast<double>(done) / since(start);
      const auto cpu_each = (cpu() - cpu_before) / static_cast<double>(done);
      stop = true;
      workers.clear();
      pipes.say(rate);
      pipes.say(cpu_each);
      pipes.wait();
    });
  }
  Creates result;
  for (auto& client : clients) {
    result.rate += client.hear();
    result.client_cpu += client.hear() / processes;
  }
  clients.clear();
  server.go();
  result.batch = server.hear();
  result.server_cpu = server.hear();
  return result;
}

/// Before etcd and after it, so that a machine that becomes slower or faster meanwhile favours nobody.
void bench_create(const fs::path& where) {
  const auto before = measure_creates(where);
  const double etcd = [&] {
    Directory directory(where);
    return etcd_writes(directory.path);
  }();
  const auto after = measure_creates(where);
  const auto mean = [&](double Creates::*which) { return (before.*which + after.*which) / 2; };
  const auto rate = mean(&Creates::rate);
  const auto bytes = Object::of(machine("c0-0-100000")).json().size();
  print("store.create", rate, "objects/s",
        R"("clients":64,"client_processes":2,"bytes_of_json":)" + std::to_string(bytes) + R"(,"commits_per_sync":)" +
            std::to_string(mean(&Creates::batch)) + R"(,"server_cpu_us":)" +
            std::to_string(mean(&Creates::server_cpu) * 1e6) + R"(,"client_cpu_us":)" +
            std::to_string(mean(&Creates::client_cpu) * 1e6));
  if (etcd > 0) {
    print("etcd.create", etcd, "writes/s", R"("command":"etcdctl check perf --load=xl","bytes_of_value":1024)");
    print("store.create.ratio", rate / etcd, "", R"("to_reach":5)");
  } else {
    std::fprintf(stderr, "no etcd here: its figures are left out\n");
  }
}

// ---- one write, one client: latency beside the disk and the socket alone --------------------------------------------------

/// Appends what is received to a file, syncs it, and sends it back: what a durable write needs at least.
Child append_server(const fs::path& directory) {
  return Child([=](Child::Pipes pipes) {
    auto context = must(remote::Context::create(), "context");
    auto router = must(remote::Socket::open(*context, ZMQ_ROUTER), "router");
    must(router.bind("ipc://" + (directory / "floor").string()), "bind");
    UniqueFd file(::open((directory / "floor.log").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
    pipes.say(1);
    for (;;) {
      zmq_msg_t id, body;
      zmq_msg_init(&id);
      zmq_msg_init(&body);
      if (zmq_msg_recv(&id, router.native(), 0) < 0 || zmq_msg_recv(&body, router.native(), 0) < 0) return;
      const auto size = zmq_msg_size(&body);
      if (::write(file.get(), zmq_msg_data(&body), size) != static_cast<ssize_t>(size) || ::fdatasync(file.get()) != 0)
        std::_Exit(1);
      zmq_msg_send(&id, router.native(), ZMQ_SNDMORE);
      zmq_msg_send(&body, router.native(), 0);
    }
  });
}

void bench_write(const fs::path& where) {
  constexpr int rounds = 40, each = 100;
  Directory directory(where);
  auto server = serve(directory.path);
  auto floor = append_server(directory.path);
  server.hear();
  floor.hear();
  Child client([&](Child::Pipes pipes) {
    SystemClock clock;
    NullLog log;
    auto context = must(remote::Context::create(), "context");
    auto store = connect(*context, directory.path, clock, log);
    auto dealer = must(remote::Socket::open(*context, ZMQ_DEALER), "dealer");
    must(dealer.connect("ipc://" + (directory.path / "floor").string()), "connect");
    const auto json = Object::of(machine("w-100000")).json();
    std::vector<double> ours, bare;
    // In turns, so that what the disk does meanwhile meets both.
    for (int round = 0; round < rounds + 1; ++round) {
      for (int i = 0; i < each; ++i) {
        const auto transaction = creation("w-" + std::to_string(round * each + i));
        const auto start = steady_clock::now();
        must(store->commit(transaction), "create");
        if (round > 0) ours.push_back(since(start));
      }
      for (int i = 0; i < each; ++i) {
        const auto start = steady_clock::now();
        if (zmq_send(dealer.native(), json.data(), json.size(), 0) < 0) std::_Exit(1);
        char buffer[4096];
        if (zmq_recv(dealer.native(), buffer, sizeof buffer, 0) < 0) std::_Exit(1);
        if (round > 0) bare.push_back(since(start));
      }
    }
    for (const double which : {0.5, 0.99}) {
      pipes.say(percentile(ours, which));
      pipes.say(percentile(bare, which));
    }
    pipes.wait();
  });
  for (const char* which : {"p50", "p99"}) {
    const double ours = client.hear();
    const double bare = client.hear();
    const std::string name = std::string("store.write.") + which;
    print(name.c_str(), ours * 1e6, "us");
    print((name + ".floor").c_str(), bare * 1e6, "us", R"("is":"append, fdatasync and a bare ZeroMQ round trip")");
    print((name + ".ratio").c_str(), ours / bare, "", R"("to_reach":1.5)");
  }
}

// ---- fan-out beside bare PUB/SUB --------------------------------------------------------------------------------

constexpr int fanout_processes = 4, fanout_each = 250, fanout_rounds = 30;

/// Each process says when its last watch had the change.
std::vector<Child> watchers(const fs::path& directory) {
  std::vector<Child> children;
  for (int p = 0; p < fanout_processes; ++p) {
    children.emplace_back([=](Child::Pipes pipes) {
      SystemClock clock;
      NullLog log;
      auto context = must(remote::Context::create(), "context");
      auto store = connect(*context, directory, clock, log);
      store::Query query;
      query.kind = &api::kind_of<api::Machine>();
      std::vector<std::unique_ptr<store::Watch>> watches;
      const auto from = must(store->revision(), "revision");
      for (int i = 0; i < fanout_each; ++i) watches.push_back(must(store->watch(query, from), "watch"));
      // Everything that belongs to the opening is over when a change has come by publication; the first rounds are not counted.
      pipes.say(1);
      for (int round = 0; round < fanout_rounds; ++round) {
        for (auto& watch : watches) {
          for (;;) {
            const auto changes = must(watch->next(clock.now() + std::chrono::seconds(60)), "next");
            if (changes.empty()) fail("a watch got nothing");
            if (changes.back().type != store::Change::Type::bookmark) break;
          }
        }
        pipes.say(now());
      }
      pipes.wait();
    });
  }
  return children;
}

std::vector<Child> subscribers(const std::string& endpoint) {
  std::vector<Child> children;
  for (int p = 0; p < fanout_processes; ++p) {
    children.emplace_back([=](Child::Pipes pipes) {
      auto context = must(remote::Context::create(), "context");
      std::vector<remote::Socket> sockets;
      for (int i = 0; i < fanout_each; ++i) {
        auto socket = must(remote::Socket::open(*context, ZMQ_SUB), "sub");
        must(socket.set(ZMQ_SUBSCRIBE, std::string_view("")), "subscribe");
        must(socket.connect(endpoint), "connect");
        sockets.push_back(std::move(socket));
      }
      const auto read_all = [&] {
        for (auto& socket : sockets) {
          zmq_msg_t message;
          zmq_msg_init(&message);
          if (zmq_msg_recv(&message, socket.native(), 0) < 0) std::_Exit(1);
          zmq_msg_close(&message);
        }
      };
      read_all();  // the publisher repeats until everybody is there
      pipes.say(1);
      pipes.wait();
      for (auto& socket : sockets)
        while (socket.receive()) {
        }
      pipes.say(1);
      for (int round = 0; round < fanout_rounds; ++round) {
        read_all();
        pipes.say(now());
      }
      pipes.wait();
    });
  }
  return children;
}

double last_of(std::vector<Child>& children) {
  double last = 0;
  for (auto& child : children) last = std::max(last, child.hear());
  return last;
}

void bench_fanout(const fs::path& where) {
  Directory directory(where);
  std::vector<double> ours, bare;
  const auto json = Object::of(machine("f-100")).json();
  {
    // Commits come from the server's own process, as those of a controller in ironcored.
    auto server = serve(directory.path, {}, [](store::LocalStore& store, remote::Server&, Child::Pipes pipes) {
      for (int i = 0;; ++i) {
        pipes.wait();
        const double start = now();
        must(store.commit(creation("f-" + std::to_string(i))), "create");
        pipes.say(start);
      }
    });
    server.hear();
    auto children = watchers(directory.path);
    for (auto& child : children) child.hear();
    std::this_thread::sleep_for(std::chrono::seconds(3));  // several heartbeats: every subscription stands
    for (int round = 0; round < fanout_rounds; ++round) {
      server.go();
      const double start = server.hear();
      ours.push_back(last_of(children) - start);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  {
    Child publisher([&](Child::Pipes pipes) {
      auto context = must(remote::Context::create(), "context");
      auto socket = must(remote::Socket::open(*context, ZMQ_PUB), "pub");
      must(socket.bind("ipc://" + (directory.path / "bare").string()), "bind");
      pipes.say(1);
      const int repeats = 10;
      for (int i = 0; i < repeats; ++i) {
        pipes.wait();
        zmq_send(socket.native(), json.data(), json.size(), 0);
      }
      for (;;) {
        pipes.wait();
        const double start = now();
        zmq_send(socket.native(), json.data(), json.size(), 0);
        pipes.say(start);
      }
    });
    publisher.hear();
    auto children = subscribers("ipc://" + (directory.path / "bare").string());
    std::this_thread::sleep_for(std::chrono::seconds(2));
    for (int i = 0; i < 10; ++i) {
      publisher.go();
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    for (auto& child : children) child.hear();
    for (auto& child : children) child.go();
    for (auto& child : children) child.hear();
    for (int round = 0; round < fanout_rounds; ++round) {
      publisher.go();
      const double start = publisher.hear();
      bare.push_back(last_of(children) - start);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  const std::string params = R"("watches":1000,"processes":4,"rounds":)" + std::to_string(fanout_rounds);
  print("watch.fanout", percentile(ours, 0.5) * 1e3, "ms", params + R"(,"from":"before the durable write")");
  print("watch.fanout.floor", percentile(bare, 0.5) * 1e3, "ms", params + R"(,"is":"bare PUB to SUB, the same bytes")");
  print("watch.fanout.ratio", percentile(ours, 0.5) / percentile(bare, 0.5), "", R"("to_reach":1.5)");
}

// ---- a reader that is stopped -------------------------------------------------------------------------------------

void bench_stopped(const fs::path& where) {
  constexpr int changes = 60'000, objects = 100;
  Directory directory(where);
  store::LocalStoreOptions options;
  options.history_changes = 2000;
  const auto change = [](store::LocalStore& store, int i) {
    Transaction transaction;
    transaction.operations.emplace_back(
        store::Patch{store::key<api::Machine>("default", "m-" + std::to_string(i % objects)),
                     R"({"metadata":{"annotations":{"note":")" + std::string(2500, static_cast<char>('a' + i % 26)) +
                         R"(","n":")" + std::to_string(i) + R"("}}})"});
    must(store.commit(transaction), "patch");
    if (i % 1000 == 0) must(store.collect(), "collect");
  };
  // The same writes with nobody listening first: what the store itself needs.
  const auto body = [=](store::LocalStore& store, remote::Server&, Child::Pipes pipes) {
    for (int i = 0; i < objects; ++i) must(store.commit(creation("m-" + std::to_string(i))), "create");
    pipes.wait();
    for (int i = 0; i < changes; ++i) change(store, i);
    pipes.say(1);
  };
  const auto server_alone = [&] {
    auto server = serve(directory.path, {}, body, options, false);
    server.hear();
    server.go();
    server.hear();
    return rss_mb(server.pid);
  }();
  auto server = serve(directory.path, {}, body, options, false);
  server.hear();
  Child reader([&](Child::Pipes pipes) {
    SystemClock clock;
    NullLog log;
    auto context = must(remote::Context::create(), "context");
    auto store = connect(*context, directory.path, clock, log);
    store::Query query;
    query.kind = &api::kind_of<api::Machine>();
    auto watch = must(store->watch(query, {}), "watch");
    const auto until = clock.now() + std::chrono::seconds(3);
    while (clock.now() < until) must(watch->next(until), "next");
    pipes.say(1);
    // Stopped here, then continued: either everything comes, or it is told to list again, and does.
    for (;;) {
      auto next = watch->next(clock.now() + std::chrono::seconds(30));
      if (!next) {
        if (next.error().code() != ErrorCode::gone) fail(next.error().message());
        watch = must(store->watch(query, {}), "watch");
        continue;
      }
      const auto is_last = [](const store::Change& one) {
        return one.object && one.object->metadata().annotations.contains("n") &&
               one.object->metadata().annotations.at("n") == std::to_string(changes - 1);
      };
      if (std::any_of(next->begin(), next->end(), is_last)) break;
      if (next->empty()) fail("the reader did not catch up");
    }
    pipes.say(1);
    pipes.wait();
  });
  reader.hear();
  ::kill(reader.pid, SIGSTOP);
  server.go();
  server.hear();
  const double with_reader = rss_mb(server.pid);
  print("watch.stopped_reader.rss_mb", with_reader, "MiB",
        R"("changes":60000,"mb_not_read":)" + std::to_string(changes * 3 / 1024) + R"(,"rss_mb_without_reader":)" +
            std::to_string(server_alone));
  const auto start = steady_clock::now();
  ::kill(reader.pid, SIGCONT);
  reader.hear();
  print("watch.stopped_reader.caught_up.s", since(start), "s");
}

// ---- a long list --------------------------------------------------------------------------------------------------

void bench_list(const fs::path& where) {
  constexpr int objects = 100'000;
  Directory directory(where);
  auto server = serve(directory.path, [](store::LocalStore& store) {
    for (int first = 0; first < objects; first += 1000) {
      Transaction many;
      for (int i = first; i < first + 1000; ++i)
        many.operations.emplace_back(Create{Object::of(machine("m-" + std::to_string(100'000 + i)))});
      must(store.commit(many), "create");
    }
  });
  server.hear();
  Child client([&](Child::Pipes pipes) {
    SystemClock clock;
    NullLog log;
    auto context = must(remote::Context::create(), "context");
    auto store = connect(*context, directory.path, clock, log);
    store::Query query;
    query.kind = &api::kind_of<api::Machine>();
    for (int round = 0; round < 5; ++round) {
      const auto start = steady_clock::now();
      const auto page = must(store->list(query), "list");
      pipes.say(since(start));
      if (page.objects.size() != objects) fail("the list is short");
      pipes.say(rss_mb(::getpid()));
    }
    pipes.wait();
  });
  std::vector<double> times;
  double rss = 0;
  for (int round = 0; round < 5; ++round) {
    times.push_back(client.hear());
    rss = std::max(rss, client.hear());
  }
  print("store.list.remote.s", percentile(times, 0.5), "s",
        R"("objects":100000,"to_reach":1.5,"client_rss_mb":)" + std::to_string(rss) + R"(,"server_rss_mb":)" +
            std::to_string(rss_mb(server.pid)));
}

}  // namespace

int main(int count, char** arguments) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  // Files go where the build is, because /tmp may be memory.
  fs::path where = ".";
  std::set<std::string> chosen;
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    if (fs::is_directory(word))
      where = word;
    else
      chosen.insert(word);
  }
  where = fs::absolute(where);
  const auto is_chosen = [&](const char* name) { return chosen.empty() || chosen.contains(name); };
  if (is_chosen("list")) bench_list(where);
  if (is_chosen("fanout")) bench_fanout(where);
  if (is_chosen("stopped")) bench_stopped(where);
  if (is_chosen("write")) bench_write(where);
  if (is_chosen("create")) bench_create(where);
}
