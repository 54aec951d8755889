// SPDX-License-Identifier: Apache-2.0
// A dataplane that ends, in whatever way, and begins again on the same files: what was applied is there, and flows go on.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "../compute/temporary_directory.hpp"
#include "checked_packets.hpp"
#include "configuration_objects.hpp"
#include "dataplane/configuration_log.hpp"
#include "dataplane/desired.hpp"
#include "dataplane/headers.hpp"
#include "dataplane/kept_flows.hpp"
#include "dataplane/object_walk.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/network/kept_ports.hpp"
#include "ironcore/sim/ports.hpp"
#include "ironcore/sim/virtual_clock.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;
using namespace ironcore::tests;
using dataplane::tcp_ack;
using dataplane::tcp_fin;
using dataplane::tcp_syn;

namespace {

const MacAddress router({2, 0, 0, 0, 3, 0});
constexpr const char* server = "198.51.100.7";
constexpr const char* other_host = "2001:db8:0:99:d000::1";

MacAddress machine_mac(std::uint32_t number) {
  return MacAddress({2, 0, 0, 1, 0, static_cast<std::uint8_t>(number)});
}

class Warnings final : public Log {
 public:
  void write(LogLevel level, std::string_view message, std::initializer_list<LogField>) override {
    std::lock_guard guard(mutex_);
    if (level == LogLevel::warning) said_ += std::string(message) + '\n';
  }
  std::string take() {
    std::lock_guard guard(mutex_);
    return std::exchange(said_, {});
  }

 private:
  std::mutex mutex_;
  std::string said_;
};

struct Directories {
  Directories() {
    for (const auto* name : {"configuration", "flows"}) std::filesystem::create_directory(root.path() / name);
  }
  std::filesystem::path configuration() const { return root.path() / "configuration"; }
  std::filesystem::path flows() const { return root.path() / "flows"; }
  TemporaryDirectory root;
};

/// One life of a dataplane, with the ports of two machines and an uplink.
struct Life {
  struct With {
    std::size_t workers = 1;
    std::uint32_t connections = 1000;
    bool has_flows = true;
    std::uint32_t machines = 2;
    std::uint32_t first = 0;  ///< of the ports that are opened, so that their numbers differ
  };
  Life(const Directories& directories, Clock& clock, Log& log) : Life(directories, clock, log, With()) {}
  Life(const Directories& directories, Clock& clock, Log& log, const With& with)
      : ports(clock, sim::Ports::Options{.queues = with.workers}) {
    DataplaneOptions options;
    options.underlay = prefix("2001:db8:0:1::/64");
    options.uplinks = {{"uplink", router, 1}};
    options.connections = with.connections;
    options.fragments = 64;
    options.maglev_size = 251;
    options.announces = false;
    options.configuration_directory = directories.configuration();
    if (with.has_flows) options.flow_directory = directories.flows();
    auto made = Dataplane::create(options, ports, clock, log);
    if (!made) failure = made.error();
    if (!made) return;
    dataplane = *std::move(made);
    for (std::uint32_t i = 0; i < with.machines; ++i)
      open("port-m" + std::to_string((i + with.first) % with.machines + 1));
    open("uplink");
  }
  void open(const std::string& name) { REQUIRE(ports.open({name, "memory:" + name, 1600, std::nullopt}).has_value()); }

  Dataplane* operator->() const { return dataplane.get(); }
  void apply(const std::vector<Change>& batch) {
    const auto applied = dataplane->apply(batch);
    REQUIRE_MESSAGE(applied.has_value(), applied.error().message());
  }
  void step() {
    for (int round = 0; round < 3; ++round)
      for (std::size_t i = 0; i < dataplane->workers(); ++i) dataplane->step(i);
  }
  MacAddress mac_of(const std::string& port) const {
    for (const auto& state : ports.list())
      if (state.spec.name == port) return state.mac;
    return {};
  }
  static Bytes ethernet(const MacAddress& to, const MacAddress& from, std::uint16_t type, const Bytes& packet) {
    Bytes out(to.bytes().begin(), to.bytes().end());
    out.insert(out.end(), from.bytes().begin(), from.bytes().end());
    return out + Bytes{static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type)} + packet;
  }

  /// What leaves by a port after a packet of a machine; empty if nothing does.
  Bytes from_machine(std::uint32_t number, const Bytes& ip, const std::string& leaves_by = "uplink") {
    const auto port = "port-m" + std::to_string(number);
    ports.inject(port, ethernet(mac_of(port), machine_mac(number), ip[0] >> 4 == 6 ? 0x86dd : 0x0800, ip));
    step();
    return last_of(leaves_by);
  }
  /// The inner packet that a machine gets of one from another host.
  Bytes from_wire(const IpAddress& to, const Bytes& inner, std::uint32_t number) {
    Bytes outer(40);
    outer[0] = 0x60;
    put16(outer, 4, static_cast<std::uint16_t>(inner.size()));
    outer[6] = inner[0] >> 4 == 6 ? 41 : 4;
    outer[7] = 64;
    put_address(outer, 8, other_host);
    put_address(outer, 24, to.to_text());
    ports.inject("uplink", ethernet(mac_of("uplink"), router, 0x86dd, outer + inner));
    step();
    const auto frame = last_of("port-m" + std::to_string(number));
    return frame.empty() ? frame : slice(frame, 14);
  }
  Bytes last_of(const std::string& port) {
    const auto frames = ports.take(port);
    return frames.empty() ? Bytes() : Bytes(frames.back().bytes.begin(), frames.back().bytes.end());
  }
  IpAddress nat_underlay(const std::string& id) const { return *dataplane->get<Nat>(NatKey{id}).value().underlay; }
  std::uint64_t connections() {
    step();
    return dataplane->counters().connections;
  }

  sim::Ports ports;
  std::unique_ptr<Dataplane> dataplane;
  std::optional<Error> failure;
};

Bytes udp_to(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port) {
  return checksummed(v4(udp(from_port, to_port, {1, 2, 3}), {.source = from, .destination = to}));
}
Bytes tcp_to(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port,
             std::uint8_t flags) {
  return checksummed(v4(tcp(from_port, to_port, flags, {9, 8}), {from, to, 6}));
}
Bytes inner_of(const Bytes& frame) {
  REQUIRE(frame.size() > 54);
  return slice(frame, 54);
}
IpAddress outer_destination(const Bytes& frame) {
  return v6_at(frame, 14 + 24);
}
std::uint16_t source_port_of(const Bytes& packet) {
  return get16(packet, place_of(packet).at);
}

Interface machine(std::uint32_t number, std::string_view ipv4) {
  auto out = interface("m" + std::to_string(number), ipv4);
  out.mac = machine_mac(number);
  return out;
}
/// Two machines, the first one behind a NAT, with a way to everywhere.
std::vector<Change> two_machines(Nat::Ports ports = Nat::Ports::own) {
  auto its_nat = nat("m1", 1024, 2047);
  its_nat.ports = ports;
  return {machine(1, "10.0.0.1"),
          machine(2, "10.0.0.2"),
          rule("m1", "all"),
          rule("m2", "all"),
          its_nat,
          route("0.0.0.0/0", {other_host}),
          route("10.9.0.0/16", {other_host, "2001:db8:0:98:d000::1", "2001:db8:0:97:d000::1"})};
}

template <class Object>
void collect(const Dataplane& dataplane, std::string& into) {
  for (const auto& object : dataplane.list<Object>().objects) into += to_json(Change(object)) + '\n';
}
std::string all_of(const Dataplane& dataplane) {
  std::string out;
  collect<Interface>(dataplane, out);
  collect<InterfacePrefix>(dataplane, out);
  collect<VirtualIp>(dataplane, out);
  collect<Nat>(dataplane, out);
  collect<NeighbourNat>(dataplane, out);
  collect<LoadBalancer>(dataplane, out);
  collect<LoadBalancerTarget>(dataplane, out);
  collect<Route>(dataplane, out);
  collect<FirewallRule>(dataplane, out);
  collect<VirtualService>(dataplane, out);
  return out;
}

void overwrite(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
}
std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

// ---- configuration -----------------------------------------------------------------------------------------------------

TEST_CASE("what was applied is there after a restart, with the same underlay addresses, whatever was applied") {
  SystemClock clock;
  NullLog log;
  for (std::uint32_t seed = 1; seed <= 3; ++seed) {
    const Directories directories;
    RandomBatches batches(seed);
    std::string before;
    for (int life = 0; life < 8; ++life) {
      Life now(directories, clock, log, {.machines = 0});
      REQUIRE_FALSE(now.failure);
      CHECK(all_of(*now.dataplane) == before);
      for (int i = 0; i < 40; ++i) (void)now->apply(batches.next());
      before = all_of(*now.dataplane);
    }
    CHECK(before.size() > 100);
  }
}

TEST_CASE("a batch that was not written to its end is left out, and whatever else is damaged is refused") {
  NullLog log;
  const Directories directories;
  const auto underlay = prefix("2001:db8:0:1::/64");
  const auto file = directories.configuration() / "configuration";
  const auto open = [&](const Prefix& of) {
    return dataplane::ConfigurationLog::open(directories.configuration(), of, log);
  };
  std::vector<std::size_t> ends;
  std::vector<std::vector<Change>> batches;
  {
    const auto made = open(underlay).value();
    ends.push_back(content_of(file).size());
    for (std::uint8_t i = 1; i < 4; ++i) {
      batches.push_back({machine(i, "10.0.0.1"), InterfaceKey{"x"}, route("10.9.0.0/16", {other_host})});
      REQUIRE(made->add(batches.back()).has_value());
      ends.push_back(content_of(file).size());
    }
  }
  const auto whole = content_of(file);
  for (std::size_t length = ends[0]; length <= whole.size(); ++length) {
    overwrite(file, whole.substr(0, length));
    auto log_file = open(underlay);
    REQUIRE(log_file.has_value());
    const auto read = (*log_file)->take_batches();
    const auto complete =
        static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), length) - ends.begin()) - 1;
    REQUIRE(read.size() == complete);
    for (std::size_t i = 0; i < complete; ++i) CHECK(to_json(read[i]) == to_json(batches[i]));
    REQUIRE((*log_file)->add(batches[0]).has_value());
    log_file->reset();
    CHECK(open(underlay).value()->take_batches().size() == complete + 1);
  }
  for (std::size_t at = 0; at < ends[2]; at += 7) {
    auto damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    overwrite(file, damaged);
    const auto refused = open(underlay);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code() == ErrorCode::corrupt);
    CHECK(refused.error().message().find("move it away") != std::string::npos);
    CHECK(content_of(file) == damaged);
  }
  overwrite(file, whole);
  const auto foreign = open(prefix("2001:db8:0:2::/64"));
  REQUIRE_FALSE(foreign.has_value());
  CHECK(foreign.error().code() == ErrorCode::invalid);
  CHECK(foreign.error().message().find("2001:db8:0:1::/64") != std::string::npos);
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("a batch of any size is whole or not there, and the file does not grow for ever") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  const auto file = directories.configuration() / "configuration";
  std::string before;
  {
    Life now(directories, clock, log, {.has_flows = false, .machines = 0});
    // Something of each kind, which is written again with the rest.
    RandomBatches batches(1);
    for (int i = 0; i < 300; ++i) (void)now->apply(batches.next());
    now.apply({virtual_service("vs", "169.254.77.53")});
    std::vector<Change> many;
    for (std::uint32_t i = 0; i < 40'000; ++i)
      many.push_back(Route{vni(100), Prefix::host(IpAddress::v4(0x0a000000 + i)), {{ip(other_host), 1}}});
    now.apply(many);
    const auto once = std::filesystem::file_size(file);
    CHECK(once > 3'000'000);
    for (std::uint16_t weight = 2; weight < 12; ++weight) {
      for (auto& change : many) std::get<Route>(change).next_hops[0].weight = weight;
      now.apply(many);
      CHECK(std::filesystem::file_size(file) < 4 * once + 8'000'000);
    }
    before = all_of(*now.dataplane);
  }
  {
    const Life now(directories, clock, log, {.has_flows = false, .machines = 0});
    CHECK(all_of(*now.dataplane) == before);
  }
  // The end of the last batch is missing, though many of its lines are whole.
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 10);
  const Life now(directories, clock, log, {.has_flows = false, .machines = 0});
  REQUIRE_FALSE(now.failure);
  CHECK(all_of(*now.dataplane) != before);
}

namespace {

using dataplane::ConfigurationLog;
using dataplane::Desired;
using dataplane::ObjectWalk;
using dataplane::TakeObject;

constexpr ConfigurationLog::Sizes small_sizes{.spare_bytes = 1000, .some_bytes = 300};

/// All that is told, with its file.
struct KeptDesired {
  explicit KeptDesired(const std::filesystem::path& directory)
      : log_file(ConfigurationLog::open(directory, host, log, small_sizes).value()) {
    for (const auto& batch : log_file->take_batches()) REQUIRE(desired.restore(batch).has_value());
  }
  bool apply(std::span<const Change> batch) {
    return desired.apply(batch, [this](std::span<const Change> changes) { return log_file->add(changes); }).has_value();
  }
  Result<void> compact_some() {
    return log_file->compact_some([this]() -> ConfigurationLog::Source {
      return [this, walk = ObjectWalk()](const TakeObject& take) mutable { return walk.go_on(desired, take); };
    });
  }
  std::string all() const {
    std::string out;
    CHECK(ObjectWalk().go_on(desired, [&](const Change& object) {
      out += to_json(object) + '\n';
      return true;
    }));
    return out;
  }
  NullLog log;
  const Prefix host = prefix("2001:db8:0:1::/64");
  Desired desired{host, 1};
  std::unique_ptr<ConfigurationLog> log_file;
};

}  // namespace

TEST_CASE("a walk over objects goes on where it was") {
  const Directories directories;
  KeptDesired kept(directories.configuration());
  RandomBatches batches(3);
  for (int i = 0; i < 400; ++i) kept.apply(batches.next());
  for (const std::size_t at_once : {1, 2, 7}) {
    ObjectWalk walk;
    std::string seen;
    for (bool is_all = false; !is_all;) {
      std::size_t left = at_once;
      is_all = walk.go_on(kept.desired, [&](const Change& object) {
        seen += to_json(object) + '\n';
        return --left > 0;
      });
    }
    CHECK(seen == kept.all());
  }
}

TEST_CASE(
    "the file becomes shorter bit by bit, whatever is applied meanwhile, and the end of the process at any moment "
    "loses nothing") {
  for (std::uint32_t seed = 1; seed <= 2; ++seed) {
    const Directories directories, after_crash;
    const auto file = directories.configuration() / "configuration";
    const std::filesystem::path beside = file.string() + ".new";
    KeptDesired kept(directories.configuration());
    RandomBatches batches(seed);
    int times = 0;
    std::uintmax_t before = 0;
    const auto size_of = [](const auto& path) {
      return std::filesystem::exists(path) ? std::filesystem::file_size(path) : 0;
    };
    for (int i = 0; i < 600; ++i) {
      const bool is_under_way = std::filesystem::exists(beside);
      if (batches.pick(3) != 0) kept.apply(batches.next());
      if (batches.pick(2) == 0) {
        const auto step = size_of(beside);
        REQUIRE(kept.compact_some().has_value());
        // A slice, the longest object, and three batches with what they owe.
        if (is_under_way && std::filesystem::exists(beside)) CHECK(size_of(beside) - step < 20'000);
      }
      times += size_of(file) < before ? 1 : 0;
      before = size_of(file);
      if (i % 10 != 0) continue;
      // As the next process finds it.
      std::filesystem::remove_all(after_crash.configuration());
      std::filesystem::copy(directories.configuration(), after_crash.configuration());
      const KeptDesired next(after_crash.configuration());
      REQUIRE(next.all() == kept.all());
      CHECK_FALSE(std::filesystem::exists(after_crash.configuration() / "configuration.new"));
    }
    CHECK(times > 1);
  }
}

TEST_CASE("killed at any moment while the file is made shorter, all that was acknowledged is there") {
  const Directories directories;
  void* shared =
      ::mmap(nullptr, sizeof(std::atomic<std::uint32_t>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  auto& told = *new (shared) std::atomic<std::uint32_t>(0);
  // Numbers only grow, and twenty interfaces share them.
  const auto told_by = [](std::uint32_t number) {
    return interface("i" + std::to_string(number % 20), IpAddress::v4(0x0a000000 + number).to_text());
  };
  std::mt19937 random(11);
  for (int death = 0; death < 40; ++death) {
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      KeptDesired kept(directories.configuration());
      for (auto number = told.load() + 1;; ++number) {
        const std::vector<Change> batch{told_by(number)};
        if (!kept.apply(batch) || !kept.compact_some()) ::_exit(1);
        told.store(number);
      }
    }
    const auto enough = told.load() + random() % 20;
    int status = 0;
    for (int i = 0; i < 20'000 && told.load() < enough; ++i) ::usleep(1000);
    ::usleep(static_cast<useconds_t>(random() % 5000));
    REQUIRE(::kill(child, SIGKILL) == 0);
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(told.load() >= enough);
    const KeptDesired kept(directories.configuration());
    const auto last = told.load();
    for (std::uint32_t number = last > 19 ? last - 19 : 1; number <= last; ++number) {
      const auto found = kept.desired.interfaces().find({"i" + std::to_string(number % 20)});
      REQUIRE(found != kept.desired.interfaces().end());
      // The one that was under way may be there.
      const bool is_there = found->second.ipv4 == told_by(number).ipv4 ||
                            (number + 20 == last + 1 && found->second.ipv4 == told_by(last + 1).ipv4);
      CHECK(is_there);
    }
  }
  CHECK(told > 100);
  CHECK(std::filesystem::file_size(directories.configuration() / "configuration") < 40'000);
  ::munmap(shared, sizeof(std::atomic<std::uint32_t>));
}

TEST_CASE("what cannot be kept is not applied, and can be when there is room again") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  Life now(directories, clock, log, {.has_flows = false, .machines = 0});
  now.apply({machine(1, "10.0.0.1")});
  const auto before = all_of(*now.dataplane);
  const auto revision = now->revision();

  struct rlimit old {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto ignored = ::signal(SIGXFSZ, SIG_IGN);
  auto little = old;
  little.rlim_cur = std::filesystem::file_size(directories.configuration() / "configuration") + 20;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &little) == 0);
  const auto refused = now->apply(std::vector<Change>{machine(2, "10.0.0.2"), InterfaceKey{"m1"}});
  ::setrlimit(RLIMIT_FSIZE, &old);
  ::signal(SIGXFSZ, ignored);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message().find("keep the configuration") != std::string::npos);
  CHECK(all_of(*now.dataplane) == before);
  CHECK(now->revision() == revision);

  now.apply({machine(2, "10.0.0.2")});
  const auto after = all_of(*now.dataplane);
  now.dataplane.reset();
  const Life next(directories, clock, log, {.has_flows = false, .machines = 0});
  CHECK(all_of(*next.dataplane) == after);
}

TEST_CASE("a directory is of one dataplane at a time") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  const Life first(directories, clock, log);
  REQUIRE_FALSE(first.failure);
  const Life second(directories, clock, log, {.machines = 0});
  REQUIRE(second.failure);
  CHECK(second.failure->code() == ErrorCode::wrong_state);
  CHECK(second.failure->message().find("in use") != std::string::npos);
}

TEST_CASE("ports that were opened are opened again, those that were closed are not") {
  SystemClock clock;
  Warnings log;
  const TemporaryDirectory directory;
  const PortSpec a{"a", "memory:a", 1600, machine_mac(7)};
  {
    sim::Ports ports(clock);
    const auto kept = KeptPorts::create(ports, directory.path(), log).value();
    REQUIRE(kept->open(a).has_value());
    REQUIRE(kept->open({"b", "memory:b", 1500, std::nullopt}).has_value());
    REQUIRE(kept->open({"c", "memory:c d", 1500, std::nullopt}).has_value());
    REQUIRE(kept->close("b").has_value());
    CHECK_FALSE(kept->open({"e", "elsewhere:e", 1500, std::nullopt}).has_value());
    CHECK(kept->open({"e", "memory:e\n", 1500, std::nullopt}).error().code() == ErrorCode::invalid);
  }
  const auto names = [](const Ports& ports) {
    std::string out;
    for (const auto& port : ports.list()) out += port.spec.name + '=' + port.spec.device + ' ';
    return out;
  };
  {
    sim::Ports ports(clock);
    REQUIRE(ports.open(a).has_value());  // by whoever starts it
    const auto kept = KeptPorts::create(ports, directory.path(), log).value();
    CHECK(names(*kept) == "a=memory:a c=memory:c d ");
    CHECK(kept->list()[0].spec == a);
    CHECK(log.take().empty());
    // One that is not there now may come back.
    REQUIRE(ports.close("c").has_value());
    REQUIRE(ports.open({"x", "memory:c d", 1500, std::nullopt}).has_value());
    const auto again = KeptPorts::create(ports, directory.path(), log).value();
    CHECK(log.take().find("could not be opened again") != std::string::npos);
  }
  {
    sim::Ports ports(clock);
    CHECK(names(*KeptPorts::create(ports, directory.path(), log).value()) == "a=memory:a c=memory:c d ");
  }
  sim::Ports ports(clock);
  overwrite(directory.path() / "ports", "ironcore dataplane ports 1\na 70000 - memory:a\n");
  const auto broken = KeptPorts::create(ports, directory.path(), log);
  REQUIRE_FALSE(broken.has_value());
  CHECK(broken.error().code() == ErrorCode::corrupt);
  CHECK(broken.error().message().find("line 2") != std::string::npos);
}

// ---- flows -------------------------------------------------------------------------------------------------------------

TEST_CASE("flows behind a NAT keep their ports over restarts, both ways, and nobody else gets them") {
  SystemClock clock;
  NullLog log;
  for (const auto kind : {Nat::Ports::own, Nat::Ports::shared}) {
    const Directories directories;
    std::map<std::uint16_t, std::uint16_t> port_of;
    std::set<std::uint16_t> ports;
    for (int life = 0; life < 4; ++life) {
      Life now(directories, clock, log);
      REQUIRE_FALSE(now.failure);
      if (life == 0) now.apply(two_machines(kind));
      CHECK(now.connections() == port_of.size());
      // Every other time the first word after the restart comes from outside.
      for (const auto& [inside, port] : port_of) {
        if (life % 2 == 0) break;
        const auto in = now.from_wire(now.nat_underlay("m1"), udp_to(server, 53, "192.0.2.1", port), 1);
        CHECK(in == udp_to(server, 53, "10.0.0.1", inside));
      }
      for (std::uint16_t i = 0; i < 40; ++i) {
        const auto inside = static_cast<std::uint16_t>(5000 + life * 20 + i);
        const auto out = inner_of(now.from_machine(1, udp_to("10.0.0.1", inside, server, 53)));
        const auto port = source_port_of(out);
        const auto [known, is_new] = port_of.emplace(inside, port);
        CHECK(known->second == port);
        if (is_new) CHECK(ports.insert(port).second);
      }
      CHECK(now.connections() == port_of.size());
    }
    CHECK(port_of.size() == 100);
  }
}

TEST_CASE("flows to a virtual service keep their ports over restarts, whichever worker has them") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  const auto service = virtual_service("dns");
  std::map<std::uint16_t, std::uint16_t> port_of;
  std::set<std::uint16_t> ports;
  for (int life = 0; life < 3; ++life) {
    Life now(directories, clock, log, {.workers = 3, .first = static_cast<std::uint32_t>(life)});
    REQUIRE_FALSE(now.failure);
    if (life == 0) now.apply({machine(1, "10.0.0.1"), rule("m1", "all"), service});
    CHECK(now.connections() == port_of.size());
    const auto underlay = now->get<VirtualService>(VirtualServiceKey{"dns"}).value().underlay->to_text();
    for (std::uint16_t i = 0; i < 40; ++i) {
      const auto inside = static_cast<std::uint16_t>(5000 + life * 20 + i);
      const auto out = now.from_machine(1, udp_to("10.0.0.1", inside, service.address.to_text(), service.port));
      REQUIRE(out.size() > 14 + 40);
      const auto port = get16(out, 14 + 40);
      const auto [known, is_new] = port_of.emplace(inside, port);
      CHECK(known->second == port);
      if (is_new) CHECK(ports.insert(port).second);
      const auto answer = checksummed(v6(udp(service.service_port, port, {4, 5}),
                                         {.source = service.service_address.to_text(), .destination = underlay}));
      now.ports.inject("uplink", Life::ethernet(now.mac_of("uplink"), router, 0x86dd, answer));
      now.step();
      const auto in = now.last_of("port-m1");
      REQUIRE(in.size() > 14 + 20);
      CHECK(get16(in, 14 + 20 + 2) == inside);
    }
    CHECK(now.connections() == port_of.size());
  }
  CHECK(port_of.size() == 80);
}

TEST_CASE("a flow of a virtual service that was there before takes no port from one of its successor") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  auto service = virtual_service("dns");
  service.underlay = ip("2001:db8:0:1:d000:8000:0:1");
  std::map<std::uint16_t, std::uint16_t> port_of;
  {
    Life now(directories, clock, log);
    now.apply({machine(1, "10.0.0.1"), rule("m1", "all"), service});
    const auto send = [&](std::uint16_t inside) {
      const auto out = now.from_machine(1, udp_to("10.0.0.1", inside, service.address.to_text(), service.port));
      REQUIRE(out.size() > 14 + 40);
      return get16(out, 14 + 40);
    };
    // Flows of a service that is no more: none of their packets comes any more, so nobody has looked at them again.
    for (std::uint16_t i = 0; i < 400; ++i) send(static_cast<std::uint16_t>(1000 + i));
    now.apply({VirtualServiceKey{"dns"}});
    now.apply({service});
    for (std::uint16_t i = 0; i < 400; ++i)
      port_of[static_cast<std::uint16_t>(3000 + i)] = send(static_cast<std::uint16_t>(3000 + i));
  }
  Life now(directories, clock, log);
  REQUIRE_FALSE(now.failure);
  CHECK(now.connections() == port_of.size());
  for (const auto& [inside, port] : port_of) {
    const auto out = now.from_machine(1, udp_to("10.0.0.1", inside, service.address.to_text(), service.port));
    REQUIRE(out.size() > 14 + 40);
    CHECK(get16(out, 14 + 40) == port);
  }
}

TEST_CASE("what kept connections mean has the same numbers for ever, or another layout") {
  // Whoever changes one of these has changed what lies in files: raise `version` in kept_flows.cpp, and then these.
  using dataplane::Direction;
  using dataplane::Verdict;
  CHECK(static_cast<int>(Direction::forward) == 0);
  CHECK(static_cast<int>(Direction::reverse) == 1);
  CHECK(static_cast<int>(Verdict::drop) == 0);
  CHECK(static_cast<int>(Verdict::machine) == 1);
  CHECK(static_cast<int>(Verdict::underlay) == 2);
  CHECK(static_cast<int>(Verdict::plain) == 3);
  CHECK(static_cast<int>(Verdict::here) == 4);
  SystemClock clock;
  NullLog log;
  const Directories directories;
  { const Life now(directories, clock, log); }
  const auto file = content_of(directories.flows() / "flows");
  REQUIRE(file.starts_with("ironcore flows"));
  std::uint64_t layout = 0;
  std::memcpy(&layout, file.data() + 16, sizeof layout);
  CHECK(layout == 0xd9d889a18b3fc9eb);
  // One of another layout is not read.
  auto other = file;
  other[16] = static_cast<char>(other[16] ^ 1);
  overwrite(directories.flows() / "flows", other);
  Warnings warnings;
  { const Life now(directories, clock, warnings); }
  CHECK(warnings.take().find("begin anew") != std::string::npos);
}

TEST_CASE("TCP goes on where it was, and its time goes on too") {
  sim::VirtualClock clock;
  NullLog log;
  const Directories directories;
  std::uint16_t open = 0;
  std::uint16_t half_closed = 0;
  const auto port_of = [](Life& life, std::uint16_t from, std::uint8_t flags) {
    return source_port_of(inner_of(life.from_machine(1, tcp_to("10.0.0.1", from, server, 80, flags))));
  };
  const auto answer = [](Life& life, std::uint16_t port, std::uint8_t flags) {
    return life.from_wire(life.nat_underlay("m1"), tcp_to(server, 80, "192.0.2.1", port, flags), 1);
  };
  {
    Life now(directories, clock, log);
    now.apply(two_machines());
    open = port_of(now, 1000, tcp_syn);
    half_closed = port_of(now, 1001, tcp_syn);
    for (const auto port : {open, half_closed}) REQUIRE_FALSE(answer(now, port, tcp_syn | tcp_ack).empty());
    port_of(now, 1000, tcp_ack);
    port_of(now, 1001, tcp_fin | tcp_ack);
    REQUIRE_FALSE(answer(now, half_closed, tcp_ack).empty());
  }
  clock.advance(std::chrono::seconds(200));
  {
    Life now(directories, clock, log);
    CHECK(now.connections() == 2);
    CHECK(answer(now, half_closed, tcp_fin | tcp_ack) == tcp_to(server, 80, "10.0.0.1", 1001, tcp_fin | tcp_ack));
    CHECK(port_of(now, 1001, tcp_ack) == half_closed);
  }
  // Closed by both: 120 s, of which the restart takes nothing away.
  clock.advance(std::chrono::seconds(100));
  {
    Life now(directories, clock, log);
    CHECK(now.connections() == 2);
    clock.advance(std::chrono::seconds(30));
    CHECK(now.connections() == 1);
  }
  clock.advance(std::chrono::hours(20));
  {
    Life now(directories, clock, log);
    CHECK(port_of(now, 1000, tcp_ack) == open);
  }
  clock.advance(std::chrono::hours(25));
  Life now(directories, clock, log);
  CHECK(now.connections() == 0);
}

TEST_CASE("a flow keeps its next hop and its target, and its way through the underlay") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  const std::array targets{"2001:db8:0:50:d000::1", "2001:db8:0:51:d000::1", "2001:db8:0:52:d000::1"};
  std::map<std::uint16_t, Bytes> routed;
  std::map<std::uint16_t, IpAddress> balanced;
  const auto send = [](Life& life, std::uint16_t from, const char* to) {
    return life.from_machine(2, tcp_to("10.0.0.2", from, to, 80, tcp_syn));
  };
  {
    Life now(directories, clock, log);
    now.apply(two_machines());
    now.apply({balancer("lb")});
    for (const auto* target : targets) now.apply({LoadBalancerTarget{"lb", ip(target), 1}});
    for (std::uint16_t i = 0; i < 60; ++i) {
      routed[i] = slice(send(now, i, "10.9.0.1"), 14, 54);
      balanced.emplace(i, outer_destination(send(now, i, "192.0.2.9")));
    }
    // What comes now changes what new flows choose, and the numbers of next hops.
    now.apply({LoadBalancerTarget{"lb", ip(targets[0]), 0}, LoadBalancerTarget{"lb", ip("2001:db8:0:53:d000::1"), 9},
               route("10.9.0.0/16", {other_host, "2001:db8:0:11:d000::1", "2001:db8:0:98:d000::1",
                                     "2001:db8:0:97:d000::1", "2001:db8:0:96:d000::1"}),
               route("10.10.0.0/16", {"2001:db8:0:10:d000::1"})});
  }
  Life now(directories, clock, log);
  REQUIRE_FALSE(now.failure);
  std::set<std::string> chosen;
  for (const auto& [from, outer] : routed) CHECK(slice(send(now, from, "10.9.0.1"), 14, 54) == outer);
  for (const auto& [from, target] : balanced) {
    CHECK(outer_destination(send(now, from, "192.0.2.9")) == target);
    chosen.insert(target.to_text());
  }
  CHECK(chosen.size() == targets.size());
  for (std::uint16_t i = 100; i < 130; ++i) CHECK(outer_destination(send(now, i, "192.0.2.9")) != ip(targets[0]));
}

TEST_CASE("a machine's MAC that was learned is known after a restart") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  {
    Life now(directories, clock, log);
    auto silent = machine(1, "10.0.0.1");
    silent.mac.reset();
    now.apply({silent, machine(2, "10.0.0.2"), rule("m1", "all"), rule("m2", "all")});
    CHECK(now.from_machine(2, udp_to("10.0.0.2", 1, "10.0.0.1", 2), "port-m1").empty());
    Bytes ask{0, 1, 8, 0, 6, 4, 0, 1};
    const auto mac = machine_mac(1);
    ask.insert(ask.end(), mac.bytes().begin(), mac.bytes().end());
    ask = ask + Bytes{10, 0, 0, 1} + Bytes(6) + Bytes{169, 254, 0, 1};
    now.ports.inject("port-m1", Life::ethernet(MacAddress({255, 255, 255, 255, 255, 255}), mac, 0x0806, ask));
    now.step();
    now->tend();
    CHECK_FALSE(now.last_of("port-m1").empty());
    CHECK_FALSE(now.from_machine(2, udp_to("10.0.0.2", 1, "10.0.0.1", 2), "port-m1").empty());
  }
  Life now(directories, clock, log);
  const auto frame = now.from_machine(2, udp_to("10.0.0.2", 1, "10.0.0.1", 2), "port-m1");
  REQUIRE_FALSE(frame.empty());
  CHECK(std::equal(frame.begin(), frame.begin() + 6, machine_mac(1).bytes().begin()));
}

TEST_CASE("flows follow what the configuration says after the restart") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  std::map<std::uint16_t, std::uint16_t> port_of;
  {
    Life now(directories, clock, log);
    // Others come first, so that numbers are not those of a new start.
    now.apply({interface("gone", "10.0.0.9")});
    now.apply(two_machines());
    now.apply({InterfaceKey{"gone"}});
    for (std::uint16_t i = 0; i < 100; ++i)
      port_of[i] = source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", i, server, 53))));
    now.from_machine(2, udp_to("10.0.0.2", 7, "10.9.0.1", 53));
  }
  {
    // As if the process had been killed between keeping a batch and carrying it out.
    const Life now(directories, clock, log, {.has_flows = false, .machines = 0});
    REQUIRE(now->apply(std::vector<Change>{nat("m1", 1024, 1535), InterfaceKey{"m2"}, interface("new", "10.0.0.2")})
                .has_value());
  }
  Life now(directories, clock, log);
  REQUIRE_FALSE(now.failure);
  std::size_t kept = 0;
  std::set<std::uint16_t> ports;
  for (const auto& [inside, port] : port_of) kept += port < 1536 ? 1 : 0;
  CHECK(kept > 10);
  CHECK(kept < 90);
  CHECK(now.connections() == kept);  // that of the machine which is gone is not there
  for (const auto& [inside, before] : port_of) {
    const auto port = source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", inside, server, 53))));
    CHECK(port < 1536);
    if (before < 1536) CHECK(port == before);
    CHECK(ports.insert(port).second);
  }
}

TEST_CASE("a restart while flows follow their NAT costs none of them its port") {
  SystemClock clock;
  NullLog log;
  for (const int rounds : {0, 1, 2, 3}) {
    const Directories directories;
    std::map<std::uint16_t, std::uint16_t> port_of;
    {
      Life now(directories, clock, log);
      now.apply(two_machines());
      for (std::uint16_t i = 0; i < 600; ++i)
        port_of[i] = source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", i, server, 53))));
      now.apply({nat("m1", 1024, 1535)});
      for (int i = 0; i < rounds; ++i) now->step(0);
      now.apply({nat("m1", 1024, 1791)});
      for (int i = 0; i < rounds; ++i) now->step(0);
    }
    Life now(directories, clock, log);
    REQUIRE_FALSE(now.failure);
    std::set<std::uint16_t> ports;
    for (std::uint16_t i = 1000; i < 1100; ++i) {
      const auto port = source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", i, server, 53))));
      CHECK(port < 1792);
      CHECK(ports.insert(port).second);
    }
    std::size_t kept = 0;
    for (const auto& [inside, before] : port_of) {
      const auto went = now.from_machine(1, udp_to("10.0.0.1", inside, server, 53));
      if (before >= 1536 && went.empty()) continue;
      const auto port = source_port_of(inner_of(went));
      if (before < 1536) CHECK(port == before);
      kept += port == before ? 1 : 0;
      CHECK(ports.insert(port).second);
    }
    CHECK(kept > 200);
  }
}

TEST_CASE("ports of a NAT that was told anew are those of its new flows") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  std::uint16_t port = 0;
  {
    Life now(directories, clock, log);
    now.apply(two_machines());
    for (std::uint16_t i = 0; i < 500; ++i) now.from_machine(1, udp_to("10.0.0.1", i, server, 53));
    // With another address all are given up; the flows are still in the table, and one comes again.
    auto elsewhere = nat("m1", 1024, 2047);
    elsewhere.address = ip("192.0.2.9");
    now.apply({elsewhere});
    now.apply({nat("m1", 1024, 2047)});
    port = source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", 600, server, 53))));
  }
  Life now(directories, clock, log);
  CHECK(source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", 600, server, 53)))) == port);
  std::set<std::uint16_t> ports{port};
  for (std::uint16_t i = 0; i < 500; ++i)
    CHECK(ports.insert(source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", i, server, 53))))).second);
}

TEST_CASE("several workers find their own flows again") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  std::map<std::pair<std::uint32_t, std::uint16_t>, std::uint16_t> port_of;
  for (int life = 0; life < 3; ++life) {
    Life now(directories, clock, log, {.workers = 3, .machines = 9, .first = static_cast<std::uint32_t>(life)});
    if (life == 0) {
      for (std::uint32_t i = 1; i <= 9; ++i) {
        const auto id = "m" + std::to_string(i);
        const auto first = static_cast<std::uint16_t>(1000 * i);
        now.apply({machine(i, "10.0.0." + std::to_string(i)), rule(id, "all"),
                   nat(id, first, static_cast<std::uint16_t>(first + 299))});
      }
      now.apply({route("0.0.0.0/0", {other_host})});
    }
    for (std::uint32_t i = 1; i <= 9; ++i) {
      const auto address = "10.0.0." + std::to_string(i);
      for (std::uint16_t from = 0; from < 20; ++from) {
        const auto port = source_port_of(inner_of(now.from_machine(i, udp_to(address, from, server, 53))));
        CHECK(port_of.emplace(std::pair(i, from), port).first->second == port);
        const auto in =
            now.from_wire(now.nat_underlay("m" + std::to_string(i)), udp_to(server, 53, "192.0.2.1", port), i);
        CHECK(in == udp_to(server, 53, address, from));
      }
    }
    CHECK(now.connections() == port_of.size());
  }
}

TEST_CASE("flows of another shape, and what is no such file, begin anew, and the log says so") {
  SystemClock clock;
  Warnings log;
  const Directories directories;
  const auto file = directories.flows() / "flows";
  const auto live = [&](const Life::With& with) {
    Life now(directories, clock, log, with);
    REQUIRE_FALSE(now.failure);
    if (now->list<Interface>().objects.empty()) now.apply(two_machines());
    const auto connections = now.connections();
    now.from_machine(1, udp_to("10.0.0.1", 1, server, 53));
    return connections;
  };
  CHECK(live({}) == 0);
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(live({}) == 1);
  CHECK(log.take().empty());
  for (const auto& with : {Life::With{.workers = 2}, Life::With{.connections = 1001}, Life::With{}}) {
    CHECK(live(with) == 0);
    CHECK(log.take().find("begin anew") != std::string::npos);
  }
  CHECK(live({}) == 1);
  const auto whole = content_of(file);
  std::mt19937 random(1);
  for (const std::string& garbage :
       {std::string(), std::string("x"), std::string(whole.size(), 'x'), whole.substr(1)}) {
    overwrite(file, garbage);
    CHECK(live({}) == 0);
    CHECK(log.take().find("begin anew") != std::string::npos);
  }
  // Right at the beginning, random behind: connections of anything at all.
  for (int i = 0; i < 20; ++i) {
    auto damaged = whole;
    for (std::size_t at = 128; at < damaged.size(); ++at)
      if (i % 2 == 0 || random() % 100 == 0) damaged[at] = static_cast<char>(random());
    overwrite(file, damaged);
    live({});
    CHECK(live({}) <= 1000);
  }
}

// ---- kill -9 -----------------------------------------------------------------------------------------------------------

namespace {

/// What a child tells its parent of, each word once the outside knows it too.
struct Told {
  static constexpr std::uint32_t flows = 64;
  std::atomic<std::uint32_t> applied = 0;                ///< interfaces `x1` to this one
  std::array<std::atomic<std::uint16_t>, flows> port{};  ///< of the source ports of m1 from 0 on; 0 = never seen
  std::atomic<std::uint32_t> packets = 0;
  std::atomic<std::uint32_t> broken = 0;  ///< what the child itself saw go wrong
};

/// Until it is killed.
[[noreturn]] void live_and_die(const Directories& directories, Told& told, std::uint32_t seed) {
  SystemClock clock;
  NullLog log;
  Life now(directories, clock, log);
  if (now.failure) {
    told.broken = 1;
    ::_exit(1);
  }
  std::mt19937 random(seed);
  for (std::uint32_t i = 0;; ++i) {
    const auto inside = static_cast<std::uint16_t>(random() % Told::flows);
    const auto frame = now.from_machine(1, udp_to("10.0.0.1", inside, server, 53));
    const std::uint16_t port = frame.size() > 76 ? source_port_of(slice(frame, 54)) : std::uint16_t{0};
    const auto before = told.port[inside].load();
    if (port == 0 || (before != 0 && before != port)) told.broken = 2;
    told.port[inside].store(port);
    ++told.packets;
    // Others come, and go by being reset, so that places are used again.
    const auto passing = static_cast<std::uint16_t>(1000 + random() % 300);
    now.from_machine(2, tcp_to("10.0.0.2", passing, "10.9.0.1", 80, tcp_syn));
    if (i % 8 == 0) {
      const auto next = told.applied.load() + 1;
      auto batch =
          std::vector<Change>{interface("x" + std::to_string(next), IpAddress::v4(0x0b000000 + next).to_text())};
      // Flows of m2 are looked at again, or gone.
      auto its_nat = nat("m2", 3000, static_cast<std::uint16_t>(3100 + next % 50));
      batch.emplace_back(its_nat);
      if (next > 40) batch.emplace_back(InterfaceKey{"x" + std::to_string(next - 40)});
      if (!now->apply(batch)) told.broken = 3;
      told.applied.store(next);
    }
    now.from_machine(2, udp_to("10.0.0.2", passing, server, 53));
  }
}

}  // namespace

TEST_CASE("whenever it is killed: what was told and what was seen outside is still so") {
  SystemClock clock;
  NullLog log;
  const Directories directories;
  void* shared = ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  auto& told = *new (shared) Told();
  {
    Life now(directories, clock, log);
    now.apply(two_machines());
  }
  std::mt19937 random(7);
  for (std::uint32_t death = 1; death <= 200; ++death) {
    CAPTURE(death);
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) live_and_die(directories, told, death);
    ::usleep(static_cast<useconds_t>(random() % 25'000));
    REQUIRE(::kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(told.broken == 0);

    Life now(directories, clock, log);
    REQUIRE_MESSAGE(!now.failure, now.failure->message());
    const auto applied = told.applied.load();
    if (applied > 0) CHECK(now->get<Interface>(InterfaceKey{"x" + std::to_string(applied)}).has_value());
    CHECK(now->list<Interface>().objects.size() <= 43);
    std::set<std::uint16_t> ports;
    for (std::uint16_t inside = 0; inside < Told::flows; ++inside) {
      const auto before = told.port[inside].load();
      if (before == 0) continue;
      if (inside % 2 == death % 2) {
        const auto in = now.from_wire(now.nat_underlay("m1"), udp_to(server, 53, "192.0.2.1", before), 1);
        REQUIRE(in == udp_to(server, 53, "10.0.0.1", inside));
      }
      const auto port = source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", inside, server, 53))));
      REQUIRE(port == before);
      REQUIRE(ports.insert(port).second);
    }
    // Also those whose first packet never left have no port that another one has.
    for (std::uint16_t inside = 0; inside < Told::flows; ++inside) {
      const auto port = source_port_of(inner_of(now.from_machine(1, udp_to("10.0.0.1", inside, server, 53))));
      if (told.port[inside] == 0) REQUIRE(ports.insert(port).second);
      told.port[inside].store(port);
    }
    REQUIRE(ports.size() == Told::flows);
    if (death % 20 == 0) {
      // A new world, so that flows begin again.
      now.apply({nat("m1", 1024, static_cast<std::uint16_t>(2000 + death % 7))});
      for (auto& port : told.port) port.store(0);
    }
  }
  CHECK(told.packets > 200);
  CHECK(told.applied > 20);
  ::munmap(shared, sizeof(Told));
}
