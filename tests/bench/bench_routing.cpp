// SPDX-License-Identifier: Apache-2.0
// Routing between processes over TCP with keys: bursts, late readers, reconnects, latency, deaths, churn; and the floor, the same bytes through bare ZeroMQ.
//
// bench_routing METALBONDD [quick] [burst|snapshot|reconnect|latency|death|churn]     (with other words it is one of its own processes)
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include "figures.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/routing/zmq.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace std::chrono_literals;
using bench::fail;
using bench::must;

namespace {

const Vni net = *Vni::make(100);

SystemClock system_clock;
SystemRandom system_random;
NullLog nothing;

std::int64_t now_ns() {
  return system_clock.now().time_since_epoch().count();
}
double seconds(std::int64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

/// Each with a next hop of its own.
Route numbered(std::uint32_t i, std::uint32_t mobility = 0) {
  Route route;
  route.vni = net;
  route.destination = Prefix::host(IpAddress::v4(0x0a000000 + i));
  std::array<std::uint8_t, 16> hop{0xfd};
  std::memcpy(hop.data() + 8, &i, sizeof i);
  route.next_hop = IpAddress::v6(hop);
  route.mobility = mobility;
  return route;
}

/// Between two measurements of latency; longer than any route is on its way.
constexpr auto latency_pause = 5ms;

// ---- processes --------------------------------------------------------------------------------------------------

/// A process; one of this program is asked by lines and answers by lines.
class Process {
 public:
  explicit Process(std::vector<std::string> words, const std::string& program = "/proc/self/exe") {
    int to[2], from[2];
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) fail("pipe");
    pid_ = ::fork();
    if (pid_ < 0) fail("fork");
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(to[0], 0);
      ::dup2(from[1], 1);
      std::vector<char*> arguments;
      words.insert(words.begin(), program);
      for (auto& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execv(program.c_str(), arguments.data());
      ::_exit(127);
    }
    ::close(to[0]);
    ::close(from[1]);
    to_ = ::fdopen(to[1], "w");
    from_ = ::fdopen(from[0], "r");
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() { end(SIGKILL); }
  void end(int signal) {
    if (pid_ <= 0) return;
    ::kill(pid_, signal);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
    std::fclose(to_);
    std::fclose(from_);
  }
  void tell(const std::string& line) {
    std::fprintf(to_, "%s\n", line.c_str());
    std::fflush(to_);
  }
  std::string hear() {
    char* line = nullptr;
    std::size_t room = 0;
    const auto read = ::getline(&line, &room, from_);
    if (read <= 0) fail("a process of this benchmark has ended");
    std::string text(line, static_cast<std::size_t>(read - 1));
    std::free(line);
    return text;
  }
  std::string ask(const std::string& line) {
    tell(line);
    return hear();
  }
  std::int64_t ask_number(const std::string& line) { return std::stoll(ask(line)); }
  pid_t pid() const { return pid_; }
  double rss_mb() const {
    std::FILE* file = std::fopen(("/proc/" + std::to_string(pid_) + "/statm").c_str(), "r");
    long all = 0, resident = 0;
    if (file == nullptr || std::fscanf(file, "%ld %ld", &all, &resident) != 2) fail("statm");
    std::fclose(file);
    return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
  }
  double cpu_s() const {
    std::FILE* file = std::fopen(("/proc/" + std::to_string(pid_) + "/stat").c_str(), "r");
    unsigned long user = 0, system = 0;
    if (file == nullptr ||
        std::fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
      fail("stat");
    std::fclose(file);
    return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }

 private:
  pid_t pid_ = 0;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
};

bool read_line(std::string& line) {
  line.clear();
  for (int c = std::getchar(); c != EOF; c = std::getchar()) {
    if (c == '\n') return true;
    line += static_cast<char>(c);
  }
  return false;
}
void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// ---- the reflector ----------------------------------------------------------------------------------------------

/// metalbondd, as it is shipped.
class RunningReflector {
 public:
  RunningReflector(const std::string& program, const wire::KeyPair& keys, const std::string& identities,
                   const std::string& lease)
      : directory_(make_directory()) {
    must(wire::save_key_pair(directory_ + "/key", keys));
    std::ofstream(directory_ + "/identities.json") << identities;
    const auto port = free_port();
    endpoint_ = "tcp://127.0.0.1:" + std::to_string(port);
    const std::string socket = "ipc://" + directory_ + "/r";
    process_ = std::make_unique<Process>(
        std::vector<std::string>{"--name", "reflector", "--listen", socket, "--listen", endpoint_, "--key-file",
                                 directory_ + "/key", "--identities-file", directory_ + "/identities.json",
                                 "--deferral", "10ms", "--lease", lease, "--log-level", "error"},
        program);
    context_ = must(zmq::Context::create());
    operator_ = must(zmq::OperatorClient::connect(*context_, {.endpoint = socket}, system_clock));
  }
  ~RunningReflector() {
    process_.reset();
    operator_.reset();
    context_.reset();
    std::filesystem::remove_all(directory_);
  }
  RunningReflector(const RunningReflector&) = delete;
  RunningReflector& operator=(const RunningReflector&) = delete;

  const std::string& endpoint() const { return endpoint_; }
  double rss_mb() const { return process_->rss_mb(); }
  double cpu_s() const { return process_->cpu_s(); }
  std::uint64_t count(std::string_view name) {
    const auto status = must(operator_->status());
    const auto found =
        std::ranges::find(status.counts, name, [](const auto& one) { return std::string_view(one.first); });
    if (found == status.counts.end()) fail("the reflector does not count " + std::string(name));
    return found->second;
  }
  /// When it is found that a node died: asked all the time.
  std::int64_t next_death() {
    const auto before = count("deaths");
    while (count("deaths") == before) {
    }
    return now_ns();
  }

 private:
  static std::string make_directory() {
    char name[] = "/tmp/ironcore-bench-XXXXXX";
    if (::mkdtemp(name) == nullptr) fail("mkdtemp");
    return name;
  }
  /// Three after each other that nobody uses now.
  static std::uint16_t free_port() {
    for (std::uint16_t first = 21'000; first < 60'000; first = static_cast<std::uint16_t>(first + 3)) {
      std::vector<UniqueFd> held;
      for (std::uint16_t i = 0; i < 3; ++i) {
        UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(first + i));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
          held.push_back(std::move(fd));
      }
      if (held.size() == 3) return first;
    }
    fail("no three free ports");
  }

  std::string directory_;
  std::string endpoint_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<wire::Context> context_;
  std::unique_ptr<zmq::OperatorClient> operator_;
};

// ---- nodes ------------------------------------------------------------------------------------------------------

std::vector<zmq::ReflectorEndpoint> reflector_at(const std::string& endpoint, const std::string& key,
                                                 const std::string& own_public, const std::string& own_secret) {
  return {{endpoint, zmq::ClientKeys{{own_public, own_secret}, key}}};
}

/// announce N | flip N PER_SECOND SECONDS | one I | acknowledged
int be_origin(const std::string& name, std::vector<zmq::ReflectorEndpoint> to) {
  const auto context = must(zmq::Context::create());
  const auto node = must(zmq::SpeakerNode::create(*context, {.name = name, .max_routes = 3'000'000}, std::move(to),
                                                  system_clock, system_random, nothing));
  std::atomic<std::int64_t> acknowledged_at{0};
  node->on_turn([&](Speaker& speaker) {
    const auto status = speaker.status();
    if (status.announced > 0 && status.reflectors[0].announced == status.announced) {
      if (acknowledged_at == 0) acknowledged_at = now_ns();
    } else {
      acknowledged_at = 0;
    }
    return Instant::max();
  });
  std::jthread loop([&](std::stop_token stop) { must(node->run(std::move(stop))); });
  std::string line;
  while (read_line(line)) {
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "connect") {
      bool is_connected = false;
      while (!is_connected) {
        node->with([&](Speaker& speaker) {
          is_connected = speaker.status().reflectors[0].phase == ReflectorSession::Phase::connected;
        });
        std::this_thread::sleep_for(1ms);
      }
      say("connected");
    } else if (what == "announce") {
      std::uint32_t count = 0;
      words >> count;
      std::vector<Route> routes;
      for (std::uint32_t i = 0; i < count; ++i) routes.push_back(numbered(i));
      const auto start = now_ns();
      node->with([&](Speaker& speaker) { must(speaker.announce(routes)); });
      say(std::to_string(start));
    } else if (what == "withdraw") {
      std::vector<Route> routes;
      node->with([&](Speaker& speaker) {
        routes = speaker.announced();
        speaker.withdraw(routes);
      });
      say(std::to_string(routes.size()));
    } else if (what == "one") {
      std::uint32_t number = 0;
      words >> number;
      const auto route = numbered(number);
      const auto start = now_ns();
      node->with([&](Speaker& speaker) { must(speaker.announce(route)); });
      say(std::to_string(start));
    } else if (what == "acknowledged") {
      while (acknowledged_at == 0) std::this_thread::sleep_for(1ms);
      say(std::to_string(acknowledged_at.load()));
    } else if (what == "flip") {
      std::uint32_t count = 0, per_second = 0, span = 0;
      words >> count >> per_second >> span;
      const auto start = system_clock.now();
      std::uint64_t done = 0;
      while (system_clock.now() - start < std::chrono::seconds(span)) {
        const auto due = static_cast<std::uint64_t>((system_clock.now() - start) / 1us) * per_second / 1'000'000;
        std::vector<Route> routes;
        for (; done < due; ++done)
          routes.push_back(numbered(static_cast<std::uint32_t>(done % count),
                                    static_cast<std::uint32_t>(now_ns() / 100'000) & max_mobility));
        node->with([&](Speaker& speaker) { must(speaker.announce(routes)); });
        std::this_thread::sleep_for(1ms);
      }
      say(std::to_string(done));
    }
  }
  return 0;
}

/// expect N = when so many are known | lag = percentiles of what was read since the last time, µs
int be_reader(const std::string& name, std::vector<zmq::ReflectorEndpoint> to, bool measures_lag) {
  const auto context = must(zmq::Context::create());
  const auto node =
      must(zmq::SpeakerNode::create(*context, {.name = name}, std::move(to), system_clock, system_random, nothing));
  std::atomic<std::int64_t> expected{-1}, reached_at{0};
  std::vector<std::uint32_t> lags;
  std::uint64_t read = 0;
  node->on_turn([&](Speaker& speaker) {
    if (static_cast<std::int64_t>(speaker.learned_routes()) == expected) {
      expected = -1;
      reached_at = now_ns();
    }
    if (measures_lag) {
      const auto now = static_cast<std::uint32_t>(now_ns() / 100'000) & max_mobility;
      const auto next = speaker.changes(net, read, ~std::size_t{0}, [&](const LearnedRoute& one) {
        if (one.route.mobility != 0) lags.push_back((now - one.route.mobility) & max_mobility);
      });
      read = next.value_or(speaker.sequence(net));
    }
    return Instant::max();
  });
  node->with([&](Speaker& speaker) { speaker.subscribe(net); });
  const auto start = now_ns();
  std::jthread loop([&](std::stop_token stop) { must(node->run(std::move(stop))); });
  std::string line;
  while (read_line(line)) {
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "start") say(std::to_string(start));
    if (what == "connect") {
      bool is_complete = false;
      while (!is_complete) {
        node->with([&](Speaker& speaker) { is_complete = speaker.is_complete(net); });
        std::this_thread::sleep_for(1ms);
      }
      say("connected");
    }
    if (what == "expect") {
      std::int64_t count = 0;
      words >> count;
      reached_at = 0;
      expected = count;
      node->with([](Speaker&) {});
      say("waiting");
    }
    if (what == "reached") {
      while (reached_at == 0) std::this_thread::sleep_for(500us);
      say(std::to_string(reached_at.load()));
    }
    if (what == "sequence") {
      std::uint64_t sequence = 0;
      node->with([&](Speaker& speaker) { sequence = speaker.sequence(net); });
      say(std::to_string(sequence));
    }
    if (what == "repairs") {
      SpeakerStatus status;
      node->with([&](Speaker& speaker) { status = speaker.status(); });
      say(std::to_string(status.gaps) + " " + std::to_string(status.resyncs));
    }
    if (what == "lag") {
      std::vector<std::uint32_t> taken;
      node->with([&](Speaker&) { taken = std::exchange(lags, {}); });
      std::ranges::sort(taken);
      const auto at = [&](double share) {
        return taken.empty() ? 0 : taken[static_cast<std::size_t>(share * static_cast<double>(taken.size() - 1))] * 100;
      };
      say(std::to_string(at(0.5)) + " " + std::to_string(at(0.99)) + " " + std::to_string(at(1)) + " " +
          std::to_string(taken.size()));
    }
  }
  return 0;
}

// ---- the floor --------------------------------------------------------------------------------------------------

/// Bare sockets in the same three roles: what comes to the middle is published. `size` bytes in each message. With the middle's key they encrypt as ours do;
/// the middle itself takes the secret one too.
int be_floor(const std::string& role, const std::string& endpoint, std::size_t messages, std::size_t size,
             std::span<const std::string> middle_key) {
  void* const context = zmq_ctx_new();
  const int unlimited = 0;
  const auto own = must(wire::make_key_pair());
  const auto set = [](void* socket, int option, const std::string& value) {
    if (zmq_setsockopt(socket, option, value.c_str(), value.size() + 1) != 0) fail("set a key");
  };
  const auto open = [&](int type) {
    void* const socket = zmq_socket(context, type);
    const int yes = 1;
    if (middle_key.size() == 2) {
      zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &yes, sizeof yes);
      set(socket, ZMQ_CURVE_SECRETKEY, middle_key[1]);
    } else if (middle_key.size() == 1) {
      set(socket, ZMQ_CURVE_SERVERKEY, middle_key[0]);
      set(socket, ZMQ_CURVE_PUBLICKEY, own.public_key);
      set(socket, ZMQ_CURVE_SECRETKEY, own.secret_key);
    }
    zmq_setsockopt(socket, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
    return socket;
  };
  const auto port_of = [&](void* socket) {
    char where[64];
    std::size_t room = sizeof where;
    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, where, &room);
    return std::string(where);
  };
  if (role == "middle") {
    void* const in = open(ZMQ_ROUTER);
    void* const out = open(ZMQ_XPUB);
    if (zmq_bind(in, "tcp://127.0.0.1:*") != 0 || zmq_bind(out, "tcp://127.0.0.1:*") != 0) fail("bind");
    say(port_of(in) + " " + port_of(out));
    zmq_pollitem_t items[] = {{in, 0, ZMQ_POLLIN, 0}, {out, 0, ZMQ_POLLIN, 0}};
    while (zmq_poll(items, 2, -1) >= 0) {
      zmq_msg_t message;
      zmq_msg_init(&message);
      while (zmq_msg_recv(&message, out, ZMQ_DONTWAIT) >= 0) {
      }
      while (zmq_msg_recv(&message, in, ZMQ_DONTWAIT) >= 0) {
        zmq_msg_recv(&message, in, 0);
        zmq_msg_send(&message, out, 0);
        zmq_msg_init(&message);
      }
      zmq_msg_close(&message);
    }
    return 1;
  }
  if (role == "in") {
    void* const socket = open(ZMQ_DEALER);
    if (zmq_connect(socket, endpoint.c_str()) != 0) fail("connect");
    std::string line;
    read_line(line);
    const std::string bytes(size, 'x');
    const auto start = now_ns();
    for (std::size_t i = 0; i < messages; ++i) zmq_send(socket, bytes.data(), bytes.size(), 0);
    say(std::to_string(start));
    read_line(line);
    return 0;
  }
  if (role == "ticker") {  // one message at a time, with the moment at its front
    void* const socket = open(ZMQ_DEALER);
    if (zmq_connect(socket, endpoint.c_str()) != 0) fail("connect");
    std::string line;
    read_line(line);
    std::string bytes(size, 'x');
    for (std::size_t i = 0; i < messages; ++i) {
      const auto now = now_ns();
      std::memcpy(bytes.data(), &now, sizeof now);
      zmq_send(socket, bytes.data(), bytes.size(), 0);
      std::this_thread::sleep_for(latency_pause);
    }
    say("sent");
    read_line(line);
    return 0;
  }
  void* const socket = open(ZMQ_SUB);
  zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
  if (zmq_connect(socket, endpoint.c_str()) != 0) fail("connect");
  std::vector<char> buffer(size);
  if (role == "listener") {
    std::string times;
    for (std::size_t i = 0; i < messages; ++i) {
      zmq_recv(socket, buffer.data(), buffer.size(), 0);
      std::int64_t sent = 0;
      std::memcpy(&sent, buffer.data(), sizeof sent);
      times += std::to_string(now_ns() - sent) + " ";
    }
    say(times);
    std::string line;
    read_line(line);
    return 0;
  }
  for (std::size_t i = 0; i < messages; ++i) zmq_recv(socket, buffer.data(), buffer.size(), 0);
  say(std::to_string(now_ns()));
  std::string line;
  read_line(line);
  return 0;
}

double floor_s(std::size_t readers, std::size_t messages, std::size_t size) {
  const auto count = std::to_string(messages), bytes = std::to_string(size);
  Process middle({"floor", "middle", "-", count, bytes});
  const auto where = middle.hear();
  const auto space = where.find(' ');
  std::vector<std::unique_ptr<Process>> out;
  for (std::size_t i = 0; i < readers; ++i)
    out.push_back(
        std::make_unique<Process>(std::vector<std::string>{"floor", "out", where.substr(space + 1), count, bytes}));
  Process in({"floor", "in", where.substr(0, space), count, bytes});
  std::this_thread::sleep_for(500ms);
  const auto start = in.ask_number("go");
  std::int64_t last = 0;
  for (auto& reader : out) last = std::max<std::int64_t>(last, std::stoll(reader->hear()));
  return seconds(last - start);
}

/// Of each message to each reader, sorted; µs.
std::vector<double> floor_latencies(std::size_t readers, std::size_t messages, bool is_encrypted) {
  const auto count = std::to_string(messages);
  const std::string bytes = "64";
  const auto keys = must(wire::make_key_pair());
  const auto words = [&](const char* role, const std::string& endpoint) {
    std::vector<std::string> all{"floor", role, endpoint, count, bytes};
    if (is_encrypted) all.push_back(keys.public_key);
    return all;
  };
  auto of_middle = words("middle", "-");
  if (is_encrypted) of_middle.push_back(keys.secret_key);
  Process middle(of_middle);
  const auto where = middle.hear();
  const auto space = where.find(' ');
  std::vector<std::unique_ptr<Process>> out;
  for (std::size_t i = 0; i < readers; ++i)
    out.push_back(std::make_unique<Process>(words("listener", where.substr(space + 1))));
  Process in(words("ticker", where.substr(0, space)));
  std::this_thread::sleep_for(500ms);
  in.ask("go");
  std::vector<double> times;
  for (auto& reader : out) {
    std::istringstream line(reader->hear());
    for (double time = 0; line >> time;) times.push_back(time / 1e3);
  }
  std::ranges::sort(times);
  return times;
}

// ---- the cases --------------------------------------------------------------------------------------------------

class Bench {
 public:
  Bench(std::string program, bool is_quick) : program_(std::move(program)), is_quick_(is_quick) {
    identities_ =
        R"({"roles": {"all": [{"verbs": ["*"], "resources": ["routes"], "prefixes": ["0.0.0.0/0", "::/0"]}]}, "identities": [)";
    for (std::size_t i = 0; i < 14; ++i) {
      keys_.push_back(must(wire::make_key_pair()));
      identities_ += (i == 0 ? "" : ",") + (R"({"name": "node-)" + std::to_string(i) + R"(", "publicKey": ")" +
                                            keys_.back().public_key + R"(", "roles": ["all"]})");
    }
    identities_ += "]}";
  }

  std::unique_ptr<RunningReflector> reflector(const std::string& lease = "3s") {
    auto made = std::make_unique<RunningReflector>(program_, server_, identities_, lease);
    endpoint_ = made->endpoint();
    return made;
  }
  std::unique_ptr<Process> node(const std::string& role, std::size_t number) {
    return std::make_unique<Process>(std::vector<std::string>{role, "node-" + std::to_string(number), endpoint_,
                                                              server_.public_key, keys_[number].public_key,
                                                              keys_[number].secret_key});
  }
  std::vector<std::unique_ptr<Process>> readers(std::size_t count, const std::string& role = "reader") {
    std::vector<std::unique_ptr<Process>> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(node(role, i + 2));
    for (auto& one : all) one->ask("connect");
    return all;
  }

  static std::int64_t all_reached(std::vector<std::unique_ptr<Process>>& readers) {
    std::int64_t last = 0;
    for (auto& reader : readers) last = std::max(last, reader->ask_number("reached"));
    return last;
  }

  void burst(std::size_t routes, std::size_t count, const char* name) {
    std::vector<double> times, cpus, sizes;
    for (int run = 0; run < 3; ++run) {
      const auto middle = reflector();
      auto all = readers(count);
      const auto origin = node("origin", 0);
      origin->ask("connect");
      const auto cpu = middle->cpu_s();
      for (auto& reader : all) reader->ask("expect " + std::to_string(routes));
      const auto start = origin->ask_number("announce " + std::to_string(routes));
      times.push_back(seconds(all_reached(all) - start));
      cpus.push_back(middle->cpu_s() - cpu);
      sizes.push_back(middle->rss_mb());
      if (routes >= 1'000'000) break;
    }
    for (auto* const list : {&times, &cpus, &sizes}) std::ranges::sort(*list);
    const auto middle = times.size() / 2;
    const std::string base = "routing/burst/" + std::string(name);
    bench::print((base + ".s").c_str(), times[middle], "s",
                 R"("best":)" + std::to_string(times[0]) + R"(,"worst":)" + std::to_string(times.back()));
    bench::print((base + ".cpu_s").c_str(), cpus[middle], "s");
    bench::print((base + ".rss_mb").c_str(), sizes[middle], "MiB");
    if (routes != 100'000) return;
    for (const auto& [words, messages, size] :
         {std::tuple{"one route in a message", routes, std::size_t{64}},
          std::tuple{"1000 routes in a message", routes / 1000, std::size_t{64'000}}}) {
      std::vector<double> floors;
      for (int run = 0; run < 3; ++run) floors.push_back(floor_s(count, messages, size));
      std::ranges::sort(floors);
      bench::print((base + ".floor").c_str(), times[middle] / floors[1], "ratio",
                   R"("floor":")" + std::string(words) + R"(","floor_s":)" + std::to_string(floors[1]));
    }
  }

  void snapshot(std::size_t routes, const char* name) {
    const auto middle = reflector();
    const auto origin = node("origin", 0);
    origin->ask("connect");
    origin->ask("announce " + std::to_string(routes));
    origin->ask("acknowledged");
    const auto before = middle->rss_mb();
    const auto reader = node("reader", 2);
    reader->ask("expect " + std::to_string(routes));
    const auto start = reader->ask_number("start");
    const auto end = reader->ask_number("reached");
    const std::string base = "routing/snapshot/" + std::string(name);
    bench::print((base + ".s").c_str(), seconds(end - start), "s",
                 R"("from":"start of the reader's loop, connecting included")");
    bench::print((base + ".rss_growth_mb").c_str(), middle->rss_mb() - before, "MiB");
    if (routes >= 1'000'000)
      bench::print("routing/bytes_per_route",
                   static_cast<double>(middle->count("table_bytes")) / static_cast<double>(routes), "bytes",
                   R"("rss_mb":)" + std::to_string(before));
  }

  void reconnect(std::size_t routes) {
    const auto middle = reflector();
    auto all = readers(1);
    auto origin = node("origin", 0);
    origin->ask("connect");
    all[0]->ask("expect " + std::to_string(routes));
    origin->ask("announce " + std::to_string(routes));
    all_reached(all);
    origin->ask("acknowledged");
    const auto sequence = all[0]->ask_number("sequence");
    const auto changes = static_cast<std::int64_t>(middle->count("changes"));
    origin->end(SIGKILL);
    origin = node("origin", 0);
    const auto start = origin->ask_number("announce " + std::to_string(routes));
    const auto end = origin->ask_number("acknowledged");
    std::this_thread::sleep_for(2s);
    bench::print("routing/reconnect/100k.s", seconds(end - start), "s",
                 R"("what":"another process with the same routes")");
    bench::print("routing/reconnect/100k.updates",
                 static_cast<double>(all[0]->ask_number("sequence") - sequence +
                                     static_cast<std::int64_t>(middle->count("changes")) - changes),
                 "updates");
  }

  void latency(std::size_t count, const char* name) {
    const auto middle = reflector();
    auto all = readers(count);
    const auto origin = node("origin", 0);
    origin->ask("connect");
    std::vector<double> times, slowest;  // of each reader, and of the last one
    const int samples = is_quick_ ? 200 : 1'000;
    for (int i = 0; i < samples; ++i) {
      for (auto& reader : all) reader->ask("expect " + std::to_string(i + 1));
      std::this_thread::sleep_for(2ms);
      origin->tell("one " + std::to_string(i));
      std::this_thread::sleep_for(latency_pause);  // nothing of this benchmark wakes up while the route is on its way
      const auto start = std::stoll(origin->hear());
      double last = 0;
      for (auto& reader : all) {
        times.push_back(static_cast<double>(reader->ask_number("reached") - start) / 1e3);
        last = std::max(last, times.back());
      }
      slowest.push_back(last);
    }
    std::ranges::sort(slowest);
    std::ranges::sort(times);
    const auto plain = floor_latencies(count, static_cast<std::size_t>(samples), false);
    const auto floor = floor_latencies(count, static_cast<std::size_t>(samples), true);
    const auto floors = [&](std::size_t percent) {
      return R"(,"floor":)" + std::to_string(floor[floor.size() * percent / 100]) + R"(,"floor_without_keys":)" +
             std::to_string(plain[plain.size() * percent / 100]);
    };
    const std::string base = "routing/latency/" + std::string(name);
    bench::print((base + ".p50.us").c_str(), times[times.size() / 2], "us",
                 R"("last_reader":)" + std::to_string(slowest[slowest.size() / 2]) + floors(50));
    bench::print((base + ".p99.us").c_str(), times[times.size() * 99 / 100], "us",
                 R"("max":)" + std::to_string(times.back()) + floors(99));
  }

  void death() {
    std::vector<double> times;
    for (int run = 0; run < 3; ++run) {
      const auto middle = reflector();
      auto all = readers(10);
      const auto origin = node("origin", 0);
      origin->ask("connect");
      for (auto& reader : all) reader->ask("expect 10000");
      origin->ask("announce 10000");
      all_reached(all);
      for (auto& reader : all) reader->ask("expect 0");
      origin->end(SIGKILL);
      const auto detected = middle->next_death();
      times.push_back(static_cast<double>(all_reached(all) - detected) / 1e6);
    }
    std::ranges::sort(times);
    bench::print("routing/death/10k.10sub.ms", times[1], "ms",
                 R"("worst":)" + std::to_string(times.back()) +
                     R"(,"since":"an operator was told, a fraction of a millisecond late")");
  }

  void churn() {
    const int span = is_quick_ ? 10 : 60;
    const auto middle = reflector();
    auto all = readers(10, "lag-reader");
    const auto origin = node("origin", 0);
    origin->ask("connect");
    for (auto& reader : all) reader->ask("expect 10000");
    origin->ask("announce 10000");
    all_reached(all);
    origin->ask("flip 10000 20000 2");
    for (auto& reader : all) reader->ask("lag");
    const auto before = middle->rss_mb();
    const auto cpu = middle->cpu_s();
    const auto flips = origin->ask_number("flip 10000 20000 " + std::to_string(span));
    double worst = 0, highest = 0, seen = 0;
    std::string repairs;
    for (auto& reader : all) {
      std::istringstream words(reader->ask("lag"));
      double p50 = 0, p99 = 0, most = 0, count = 0;
      words >> p50 >> p99 >> most >> count;
      worst = std::max(worst, p99);
      highest = std::max(highest, most);
      seen += count;
      repairs = reader->ask("repairs");
    }
    bench::print("routing/churn/lag.p99.ms", worst / 1e3, "ms",
                 R"("max_ms":)" + std::to_string(highest / 1e3) + R"(,"flips":)" + std::to_string(flips) +
                     R"(,"seconds":)" + std::to_string(span) + R"(,"read_by_each":)" + std::to_string(seen / 10) +
                     R"(,"gaps_resyncs":")" + repairs + R"(","reflector_cpu_s":)" +
                     std::to_string(middle->cpu_s() - cpu));
    bench::print("routing/churn/rss_growth_mb", middle->rss_mb() - before, "MiB");
  }

  void run(const std::string& only) {
    const auto wants = [&](const char* name) { return only.empty() || only == name; };
    if (wants("burst")) {
      burst(10'000, 1, "10k.1sub");
      burst(100'000, 1, "100k.1sub");
      burst(100'000, 10, "100k.10sub");
      if (!is_quick_) burst(1'000'000, 1, "1m.1sub");
    }
    if (wants("snapshot")) {
      snapshot(100'000, "100k");
      if (!is_quick_) snapshot(1'000'000, "1m");
    }
    if (wants("reconnect")) reconnect(100'000);
    if (wants("latency")) {
      latency(1, "1sub");
      latency(10, "10sub");
    }
    if (wants("death")) death();
    if (wants("churn")) churn();
  }

 private:
  const std::string program_;
  const bool is_quick_;
  const wire::KeyPair server_ = must(wire::make_key_pair());
  std::vector<wire::KeyPair> keys_;
  std::string identities_;
  std::string endpoint_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() >= 5 && words[0] == "floor")
    return be_floor(words[1], words[2], std::stoul(words[3]), std::stoul(words[4]), std::span(words).subspan(5));
  if (words.size() == 6) {
    auto to = reflector_at(words[2], words[3], words[4], words[5]);
    if (words[0] == "origin") return be_origin(words[1], std::move(to));
    return be_reader(words[1], std::move(to), words[0] == "lag-reader");
  }
  if (words.empty()) fail("which metalbondd?");
  const bool is_quick = words.size() > 1 && words[1] == "quick";
  const std::string only = words.size() == (is_quick ? 3 : 2) ? words.back() : "";
  Bench(words[0], is_quick).run(only);
  return 0;
}
