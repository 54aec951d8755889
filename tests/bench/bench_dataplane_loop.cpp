// SPDX-License-Identifier: Apache-2.0
// What the loop around a worker costs beside the worker itself, what becomes of packets while a large batch is applied, what the loop costs when
// nothing comes, and how long it takes to wake up. One JSON line per figure.
//
// bench_dataplane_loop [PACKETS]   ten million of each kind unless told otherwise
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/compiler.hpp"
#include "dataplane/desired.hpp"
#include "dataplane/worker.hpp"
#include "figures.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/sim/ports.hpp"

using namespace ironcore;
using namespace ironcore::network;
using ironcore::bench::must;
using ironcore::bench::print;

namespace {

constexpr std::size_t burst = 32;
constexpr std::size_t frame_bytes = 64;
constexpr std::size_t stride = 256;
constexpr std::size_t headroom = 128;
const MacAddress sender({2, 0, 0, 0, 0, 1});
const MacAddress receiver({2, 0, 0, 0, 0, 2});

std::uint16_t sum_of(const std::uint8_t* bytes, std::size_t count) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count; i += 2) sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

/// UDP from 10.0.0.1 to 10.0.0.2.
std::array<std::uint8_t, frame_bytes> frame_of(std::size_t flow) {
  std::array<std::uint8_t, frame_bytes> frame{};
  std::copy(sender.bytes().begin(), sender.bytes().end(), frame.begin() + 6);
  frame[12] = 8;
  std::uint8_t* ip = frame.data() + 14;
  const std::uint8_t header[] = {0x45, 0, 0, frame_bytes - 14, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
  std::copy(std::begin(header), std::end(header), ip);
  const auto sum = sum_of(ip, sizeof header);
  ip[10] = static_cast<std::uint8_t>(sum >> 8);
  ip[11] = static_cast<std::uint8_t>(sum);
  const auto ports = static_cast<std::uint32_t>(flow + 1) * 2654435761U;
  for (std::size_t i = 0; i < 4; ++i) ip[20 + i] = static_cast<std::uint8_t>(ports >> (24 - 8 * i));
  ip[25] = frame_bytes - 14 - 20;
  return frame;
}

/// Two ports: at the first one frames come for ever, and whatever is sent is gone.
class Mill final : public Ports {
 public:
  explicit Mill(std::size_t flows) {
    for (std::size_t i = 0; i < flows; ++i) frames_.push_back(frame_of(i));
  }
  Result<PortState> open(const PortSpec&) override { return list()[0]; }
  Result<void> close(const std::string&) override { return {}; }
  std::vector<PortState> list() const override {
    return {{{"in", "mill", 1500, {}}, 0, sender, true}, {{"out", "mill", 1500, {}}, 1, receiver, true}};
  }
  Result<PortCounters> counters(const std::string&) const override { return PortCounters(); }
  void on_change(std::function<void()>) override {}
  void wake(std::size_t) noexcept override {}
  std::size_t queues() const noexcept override { return 1; }
  std::span<const std::uint32_t> polled(std::size_t) const noexcept override { return numbers_; }
  std::size_t receive(std::uint32_t port, std::size_t, std::span<Packet> into) noexcept override {
    if (port != 0) return 0;
    if (pace_ns > 0) into = into.first(std::min(into.size(), due()));
    std::uint8_t* memory = memory_.data();
    for (auto& packet : into) {
      packet = {};
      packet.frame = memory + headroom;
      packet.bytes = packet.frame_bytes = packet.room = frame_bytes;
      packet.headroom = headroom;
      packet.port = 0;
      std::memcpy(packet.frame, frames_[next_].data(), frame_bytes);
      next_ = next_ + 1 == frames_.size() ? 0 : next_ + 1;
      memory += stride;
    }
    return into.size();
  }
  void send(std::size_t, std::span<const Packet> packets) noexcept override { sent += packets.size(); }
  void release(std::span<const Packet>) noexcept override {}
  std::optional<Packet> allocate(std::size_t) noexcept override { return std::nullopt; }
  void quiesce(std::size_t) noexcept override {}
  void leave(std::size_t) noexcept override {}
  void wait(std::size_t, std::uint64_t) noexcept override {}

  std::size_t sent = 0;
  // From a sender that does not wait: one frame every so many nanoseconds, into a ring of `places`. 0: as many as are taken.
  double pace_ns = 0;
  std::size_t made = 0;
  std::size_t lost = 0;
  static constexpr std::size_t places = 1024;

 private:
  std::size_t due() noexcept {
    const auto now = std::chrono::steady_clock::now();
    if (made == 0) begin_ = now;
    const std::chrono::duration<double, std::nano> since = now - begin_;
    const auto all = static_cast<std::size_t>(since.count() / pace_ns) + 1;
    waiting_ += all - made;
    made = all;
    if (waiting_ > places) lost += waiting_ - std::exchange(waiting_, places);
    const std::size_t some = std::min(waiting_, burst);
    waiting_ -= some;
    return some;
  }

  std::chrono::steady_clock::time_point begin_;
  std::size_t waiting_ = 0;
  std::vector<std::array<std::uint8_t, frame_bytes>> frames_;
  std::size_t next_ = 0;
  std::vector<std::uint8_t> memory_ = std::vector<std::uint8_t>(burst * stride);
  const std::array<std::uint32_t, 2> numbers_ = {0, 1};
};

std::vector<Change> configuration() {
  const auto machine = [](const char* id, const char* port, const char* address, const MacAddress& mac) {
    Interface out;
    out.id = id;
    out.port = port;
    out.vni = Vni::make(100).value();
    out.ipv4 = IpAddress::parse(address).value();
    out.mac = mac;
    return out;
  };
  FirewallRule all;
  all.interface = "b";
  all.id = "all";
  return {machine("a", "in", "10.0.0.1", sender), machine("b", "out", "10.0.0.2", receiver), all};
}

template <class Work>
double seconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

const Prefix underlay = Prefix::parse("2001:db8:0:1::/64").value();

double worker_ns(std::size_t flows, std::size_t packets) {
  using namespace dataplane;
  Mill mill(flows);
  Generations generations;
  LearnedMacs learned(4096);
  Desired desired(underlay, 1);
  Compiler compiler(underlay, {.maglev_size = 251});
  for (const auto& port : mill.list()) compiler.add_port(port.spec.name, port.number, port.mac);
  const auto dirty = must(desired.apply(configuration()));
  Published<Snapshot> snapshots(1, compiler.compile(desired, dirty, generations));
  Worker worker(snapshots, 0, generations, learned, {.connections = 200'000});
  std::array<Packet, burst> some;
  const auto work = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; i += burst) {
      const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
      mill.receive(0, 0, some);
      worker.process(some, static_cast<std::uint64_t>(now));
      mill.send(0, some);
    }
  };
  work(flows + burst);
  return seconds([&] { work(packets); }) * 1e9 / static_cast<double>(packets);
}

double loop_ns(std::size_t flows, std::size_t packets) {
  Mill mill(flows);
  SystemClock clock;
  NullLog log;
  DataplaneOptions options;
  options.underlay = underlay;
  options.connections = 200'000;
  options.maglev_size = 251;
  const auto dataplane = must(Dataplane::create(options, mill, clock, log));
  must(dataplane->apply(configuration()));
  for (std::size_t i = 0; i < flows + burst; i += burst) dataplane->step(0);
  mill.sent = 0;
  const double took = seconds([&] {
    for (std::size_t i = 0; i < packets; i += burst) dataplane->step(0);
  });
  if (mill.sent < packets) bench::fail("packets were dropped");
  return took * 1e9 / static_cast<double>(packets);
}

/// A sender at half the rate that the loop can do, while 10,000 routes are applied at once; each time 10,000 other ones.
void apply_under_load(double loop_ns_alone) {
  Mill mill(1000);
  SystemClock clock;
  NullLog log;
  DataplaneOptions options;
  options.underlay = underlay;
  options.connections = 200'000;
  options.maglev_size = 251;
  const auto dataplane = must(Dataplane::create(options, mill, clock, log));
  must(dataplane->apply(configuration()));
  mill.pace_ns = 2 * loop_ns_alone;
  std::vector<double> took;
  {
    std::jthread worker([&](std::stop_token stop) {
      while (!stop.stop_requested()) dataplane->step(0);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    for (std::uint32_t turn = 0; turn < 20; ++turn) {
      std::vector<Change> batch;
      for (std::uint32_t i = 0; i < 10'000; ++i)
        batch.emplace_back(Route{Vni::make(100).value(),
                                 Prefix::make(IpAddress::v4(0x0b000000U + (turn * 10'000 + i) * 16), 28).value(),
                                 {{IpAddress::parse("2001:db8:0:3:d000::1").value(), 1}}});
      took.push_back(seconds([&] { must(dataplane->apply(batch)); }) * 1e3);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  std::sort(took.begin(), took.end());
  const auto params = R"("routes_before":"0 to 190000","worst_ms":)" + std::to_string(took.back());
  print("dataplane.apply.10k_routes.ms", took[took.size() / 2], "ms", params);
  print("dataplane.apply.lost", static_cast<double>(mill.lost), "packets",
        R"("packets":)" + std::to_string(mill.made) + R"(,"ring":)" + std::to_string(Mill::places));
}

void idle_and_wake() {
  SystemClock clock;
  NullLog log;
  sim::Ports ports(clock);
  for (const auto* name : {"in", "out"}) must(ports.open({name, std::string("memory:") + name, 1500, {}}));
  DataplaneOptions options;
  options.underlay = underlay;
  options.connections = 1000;
  const auto dataplane = must(Dataplane::create(options, ports, clock, log));
  must(dataplane->apply(configuration()));
  std::jthread worker([&](std::stop_token stop) { dataplane->run(0, stop); });
  std::jthread control([&](std::stop_token stop) { dataplane->run_control(stop); });
  constexpr auto while_idle = std::chrono::seconds(3);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const double before = processor_seconds();
  std::this_thread::sleep_for(while_idle);
  print("dataplane.loop.idle.cpu", (processor_seconds() - before) / std::chrono::duration<double>(while_idle).count(),
        "cores", R"("ports":"sim","workers":1)");

  std::vector<double> latencies;
  const auto frame = frame_of(1);
  for (int i = 0; i < 200; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const double took = seconds([&] {
      ports.inject("in", frame);
      while (ports.take("out").empty()) std::this_thread::yield();
    });
    latencies.push_back(took * 1e6);
  }
  std::sort(latencies.begin(), latencies.end());
  print("dataplane.loop.wake.p50.us", latencies[latencies.size() / 2], "us", R"("ports":"sim")");
  print("dataplane.loop.wake.p99.us", latencies[latencies.size() * 99 / 100], "us", R"("ports":"sim")");
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t packets = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000'000;
  double alone = 0;
  for (const std::size_t flows : {std::size_t{1}, std::size_t{60'000}}) {
    const auto params = R"("flows":)" + std::to_string(flows);
    // In turns, so that what else the machine does meets both.
    for (int again = 0; again < 3; ++again) {
      print("dataplane.loop.worker.ns", worker_ns(flows, packets), "ns", params);
      const double whole = loop_ns(flows, packets);
      print("dataplane.loop.whole.ns", whole, "ns", params);
      if (flows == 1) alone = whole;
    }
  }
  apply_under_load(alone);
  idle_and_wake();
}
