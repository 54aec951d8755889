// SPDX-License-Identifier: Apache-2.0
// What every body of the Ports seam must do, as one suite: each body's test program instantiates it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ironcore/network/ports.hpp"
#include "packets.hpp"

namespace ironcore::tests {

/// What the suite needs to know about a body. One object per test case; its destructor leaves nothing behind.
class PortsBody {
 public:
  virtual ~PortsBody() = default;
  /// With two queues. No port is open yet.
  virtual network::Ports& ports() = 0;
  /// With a device of its own that is there, and an MTU of 1,500.
  virtual network::PortSpec spec(const std::string& name) = 0;
  /// From outside to the port; it may get lost if there is no room.
  virtual void feed(const std::string& port, const Bytes& frame) = 0;
  /// Everything that left by the port since the last call; does not wait.
  virtual std::vector<Bytes> sent(const std::string& port) = 0;
  /// False for a body whose links nobody can set.
  virtual bool set_link(const std::string& port, bool is_up) = 0;
  /// Of a frame that `feed` takes at a port with an MTU of 9,000; it may be received in several pieces.
  virtual std::size_t long_frame() const { return 5000; }
  /// False for a body where it does no harm to open a device twice.
  virtual bool has_busy_devices() const { return true; }
};

using Frames = std::vector<Bytes>;

constexpr std::uint16_t test_ethertype = 0x88b5;  // for experiments (IEEE 802); whatever else a device says is not ours

inline Bytes test_frame(std::uint8_t number, std::size_t bytes = 100) {
  Bytes frame(bytes);
  for (std::size_t i = 0; i < bytes; ++i) frame[i] = static_cast<std::uint8_t>(i * 7 + number);
  const Bytes header = {2, 0, 0, 0, 1, number, 2, 0, 0, 0, 2, number, test_ethertype >> 8, test_ethertype & 0xff};
  std::copy_n(header.begin(), std::min(header.size(), bytes), frame.begin());
  return frame;
}
inline bool is_test_frame(const std::uint8_t* frame, std::size_t bytes) {
  return bytes >= 14 && frame[12] == test_ethertype >> 8 && frame[13] == (test_ethertype & 0xff);
}

inline bool wait_until(const std::function<bool()>& done,
                       std::chrono::steady_clock::duration most = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + most;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

/// One thread that plays all workers. It may hold packets until it is destroyed.
class AllQueues {
 public:
  explicit AllQueues(network::Ports& ports) : ports_(ports) {
    for (std::size_t i = 0; i < ports_.queues(); ++i) ports_.quiesce(i);
  }
  ~AllQueues() {
    for (std::size_t i = 0; i < ports_.queues(); ++i) ports_.leave(i);
  }
  AllQueues(const AllQueues&) = delete;
  AllQueues& operator=(const AllQueues&) = delete;

  /// So many test frames, or fewer after a long time.
  std::vector<network::Packet> receive(std::size_t count) {
    std::vector<network::Packet> out;
    wait_until([&] {
      for (std::size_t queue = 0; queue < ports_.queues(); ++queue) {
        for (const auto number : ports_.polled(queue)) {
          // What is there from other packets is not of those that come.
          network::Packet other;
          other.drop = network::Drop::route;
          other.is_from_here = other.is_placed = true;
          std::array<network::Packet, 8> some;
          some.fill(other);
          const auto room = std::min(some.size(), count - out.size());
          const auto came = ports_.receive(number, queue, std::span(some).first(room));
          for (const auto& packet : std::span(some).first(came)) {
            CHECK_FALSE(packet.is_from_here);
            CHECK_FALSE(packet.is_placed);
            if (is_test_frame(packet.frame, packet.bytes))
              out.push_back(packet);
            else
              ports_.release({&packet, 1});
          }
        }
      }
      return out.size() == count;
    });
    REQUIRE(out.size() == count);
    return out;
  }
  network::Packet receive_one() { return receive(1).front(); }
  network::Packet allocate() {
    auto packet = ports_.allocate(0);
    REQUIRE(packet.has_value());
    return *packet;
  }
  /// How many buffers can be had.
  std::size_t free_buffers() {
    std::vector<network::Packet> all;
    while (auto packet = ports_.allocate(0)) all.push_back(*packet);
    ports_.release(all);
    return all.size();
  }

 private:
  network::Ports& ports_;
};

inline Bytes bytes_of(const network::Packet& packet) {
  return {packet.frame, packet.frame + packet.bytes};
}
inline void put(network::Packet& packet, const Bytes& frame) {
  REQUIRE(frame.size() <= packet.room);
  std::copy(frame.begin(), frame.end(), packet.frame);
  packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
}
/// The test frames that left by a port; waits for that many.
inline std::vector<Bytes> sent(PortsBody& body, const std::string& port, std::size_t count = 1) {
  std::vector<Bytes> out;
  wait_until([&] {
    for (auto& frame : body.sent(port))
      if (is_test_frame(frame.data(), frame.size())) out.push_back(std::move(frame));
    return out.size() >= count;
  });
  REQUIRE(out.size() == count);
  return out;
}
inline network::PortState opened(PortsBody& body, const network::PortSpec& spec) {
  const auto state = body.ports().open(spec);
  REQUIRE_MESSAGE(state.has_value(), state.error().message());
  return *state;
}
inline network::PortState opened(PortsBody& body, const std::string& name) {
  auto state = opened(body, body.spec(name));
  // A device may take a moment to come up.
  REQUIRE(wait_until([&] {
    for (const auto& one : body.ports().list())
      if (one.spec.name == name) state = one;
    return state.is_up;
  }));
  return state;
}
inline std::vector<std::string> names(const network::Ports& ports) {
  std::vector<std::string> out;
  for (const auto& port : ports.list()) out.push_back(port.spec.name);
  std::sort(out.begin(), out.end());
  return out;
}

// ---- the suite ----

TEST_CASE_TEMPLATE_DEFINE("a port of which something is wrong is refused, and nothing is opened", Body, ports_specs) {
  Body body;
  const auto refused = [&](const std::string& field, auto change) {
    auto spec = body.spec("a");
    change(spec);
    const auto result = body.ports().open(spec);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code() == ErrorCode::invalid);
    REQUIRE(result.error().fields().size() == 1);
    CHECK(result.error().fields()[0].field == field);
  };
  for (const auto& name : {std::string(), std::string(64, 'a'), std::string("a b"), std::string("a/b"),
                           std::string("a.b"), std::string("\xc3\xa9")})
    refused("name", [&](auto& spec) { spec.name = name; });
  for (const std::uint16_t mtu : std::initializer_list<std::uint16_t>{0, 67, 9001, 65535})
    refused("mtu", [&](auto& spec) { spec.mtu = mtu; });
  for (const std::uint8_t first : std::initializer_list<std::uint8_t>{0, 1})
    refused("mac", [&](auto& spec) { spec.mac = MacAddress({first, 0, 0, 0, 0, 0}); });
  for (const auto* device : {"", "nonsense", ":", "nonsense:x"})
    refused("device", [&](auto& spec) { spec.device = device; });
  CHECK(body.ports().list().empty());
  CHECK(opened(body, body.spec(std::string(63, 'Z'))).spec.name.size() == 63);
}

TEST_CASE_TEMPLATE_DEFINE("opening a port again changes nothing, and another one of its name is refused", Body,
                          ports_open) {
  Body body;
  auto& ports = body.ports();
  auto spec = body.spec("a");
  spec.mac = MacAddress({2, 0, 0, 0, 0, 9});
  const auto first = opened(body, spec);
  CHECK(first.spec == spec);
  CHECK(first.mac == *spec.mac);
  CHECK(opened(body, spec).number == first.number);
  auto other = spec;
  other.mtu = 1400;
  CHECK(ports.open(other).error().code() == ErrorCode::already_exists);
  if (body.has_busy_devices()) {
    other = spec;
    other.name = "b";
    CHECK(ports.open(other).error().code() == ErrorCode::unavailable);
  }
  REQUIRE(ports.list().size() == 1);
  CHECK(ports.list()[0].spec == spec);

  CHECK(opened(body, body.spec("c")).mac != opened(body, body.spec("d")).mac);
  CHECK(ports.list()[1].mac != MacAddress());
}

TEST_CASE_TEMPLATE_DEFINE("ports have small numbers of their own; one that was closed can be opened again", Body,
                          ports_numbers) {
  Body body;
  auto& ports = body.ports();
  std::set<std::uint32_t> numbers;
  const auto b = body.spec("b");
  for (const auto& spec : {body.spec("a"), b, body.spec("c")}) numbers.insert(opened(body, spec).number);
  CHECK(numbers.size() == 3);
  CHECK(names(ports) == std::vector<std::string>{"a", "b", "c"});
  const auto list = ports.list();
  CHECK(std::is_sorted(list.begin(), list.end(), [](const auto& x, const auto& y) { return x.number < y.number; }));
  for (int again = 0; again < 10; ++again) {
    REQUIRE(ports.close("b").has_value());
    CHECK(names(ports) == std::vector<std::string>{"a", "c"});
    REQUIRE(ports.close("b").has_value());
    CHECK(opened(body, b).number < 8);
  }
  std::set<std::uint32_t> now;
  for (const auto& port : ports.list()) now.insert(port.number);
  CHECK(now.size() == 3);
  CHECK(ports.counters("x").error().code() == ErrorCode::not_found);
}

TEST_CASE_TEMPLATE_DEFINE("a frame is received as it came and leaves as it is", Body, ports_bytes) {
  Body body;
  const auto in = opened(body, "in");
  const auto out = opened(body, "out");
  std::uint8_t number = 0;
  for (const std::size_t bytes : {60, 61, 100, 777, 1514}) {
    const auto frame = test_frame(++number, bytes);
    body.feed("in", frame);
    AllQueues workers(body.ports());
    auto packet = workers.receive_one();
    CHECK(bytes_of(packet) == frame);
    CHECK(packet.frame_bytes == bytes);
    CHECK(packet.port == in.number);
    CHECK(packet.headroom >= 128);
    CHECK(packet.room >= bytes);
    CHECK(packet.drop == network::Drop::none);
    CHECK_FALSE(packet.is_from_here);
    CHECK_FALSE(packet.is_placed);
    CHECK(packet.buffer != nullptr);
    packet.port = out.number;
    body.ports().send(0, {&packet, 1});
    CHECK(sent(body, "out") == Frames{frame});
  }
  CHECK(body.sent("in").empty());
}

TEST_CASE_TEMPLATE_DEFINE("packets of one call leave by the port of each, in their order; without a port they are gone",
                          Body, ports_send) {
  Body body;
  auto& ports = body.ports();
  std::vector<std::uint32_t> numbers;
  for (const auto* name : {"a", "b", "c"}) numbers.push_back(opened(body, name).number);
  {
    AllQueues workers(ports);
    const auto before = workers.free_buffers();
    std::vector<network::Packet> packets;
    for (std::uint8_t i = 0; i < 12; ++i) {
      packets.push_back(workers.allocate());
      put(packets.back(), test_frame(i));
      packets.back().port = i % 4 == 3 ? 4000 + i : numbers[i % 4];
    }
    ports.send(1, packets);
    for (std::uint8_t i = 0; i < 3; ++i)
      CHECK(sent(body, std::string(1, static_cast<char>('a' + i)), 3) ==
            Frames{test_frame(i), test_frame(static_cast<std::uint8_t>(i + 4)),
                   test_frame(static_cast<std::uint8_t>(i + 8))});
    CHECK(wait_until([&] { return workers.free_buffers() == before; }));
  }
}

TEST_CASE_TEMPLATE_DEFINE("nothing leaves while the link is down; it is counted, and no buffer is lost", Body,
                          ports_down) {
  Body body;
  auto& ports = body.ports();
  const auto port = opened(body, "a");
  if (!body.set_link("a", false)) return;
  REQUIRE(wait_until([&] { return !ports.list()[0].is_up; }));
  {
    AllQueues workers(ports);
    const auto before = workers.free_buffers();
    for (int i = 0; i < 5; ++i) {
      auto packet = workers.allocate();
      put(packet, test_frame(1));
      packet.port = port.number;
      ports.send(0, {&packet, 1});
    }
    CHECK(wait_until([&] { return workers.free_buffers() == before; }));
    CHECK(wait_until([&] { return ports.counters("a").value().unsent == 5; }));
    CHECK(ports.counters("a").value().sent_packets == 0);
  }
  REQUIRE(body.set_link("a", true));
  REQUIRE(wait_until([&] { return ports.list()[0].is_up; }));
  AllQueues workers(ports);
  auto packet = workers.allocate();
  put(packet, test_frame(2));
  packet.port = port.number;
  ports.send(0, {&packet, 1});
  CHECK(sent(body, "a") == Frames{test_frame(2)});
}

TEST_CASE_TEMPLATE_DEFINE("buffers are there until they are used up, and again when they are released", Body,
                          ports_allocate) {
  Body body;
  auto spec = body.spec("a");
  spec.mtu = 9000;
  const auto port = opened(body, spec);
  AllQueues workers(body.ports());
  const auto count = workers.free_buffers();
  CHECK(count > 0);
  CHECK(workers.free_buffers() == count);
  auto packet = workers.allocate();
  CHECK(packet.bytes == 0);
  CHECK(packet.frame_bytes == 0);
  CHECK(packet.headroom >= 128);
  REQUIRE(packet.room >= 2048);
  CHECK(workers.free_buffers() == count - 1);
  // All of it can be written.
  std::fill_n(packet.frame - packet.headroom, packet.headroom, std::uint8_t{0xee});
  put(packet, test_frame(1, 2048));
  packet.port = port.number;
  REQUIRE(wait_until([&] { return body.ports().list()[0].is_up; }));
  body.ports().send(0, {&packet, 1});
  CHECK(sent(body, "a") == Frames{test_frame(1, 2048)});
  CHECK(wait_until([&] { return workers.free_buffers() == count; }));
}

TEST_CASE_TEMPLATE_DEFINE("the front of a frame may grow and shrink on its way", Body, ports_front) {
  Body body;
  opened(body, "in");
  const auto out = opened(body, "out");
  const auto inner = test_frame(1);
  const auto whole = test_frame(2, inner.size() + 40);
  for (int again = 0; again < 3; ++again) {
    {
      body.feed("in", inner);
      AllQueues workers(body.ports());
      auto packet = workers.receive_one();
      packet.move_front(-40);
      std::copy(whole.begin(), whole.end(), packet.frame);
      packet.port = out.number;
      body.ports().send(0, {&packet, 1});
      CHECK(sent(body, "out") == Frames{whole});
    }
    body.feed("in", whole);
    AllQueues workers(body.ports());
    auto packet = workers.receive_one();
    packet.move_front(40);
    std::copy(inner.begin(), inner.end(), packet.frame);
    packet.port = out.number;
    body.ports().send(0, {&packet, 1});
    CHECK(sent(body, "out") == Frames{inner});
  }
}

TEST_CASE_TEMPLATE_DEFINE("of a frame in pieces all leave, or the first one if no more are wanted", Body,
                          ports_pieces) {
  Body body;
  auto& ports = body.ports();
  for (const auto* name : {"in", "out"}) {
    auto spec = body.spec(name);
    spec.mtu = 9000;
    opened(body, spec);
    REQUIRE(wait_until([&] {
      const auto list = ports.list();
      return std::all_of(list.begin(), list.end(), [](const auto& port) { return port.is_up; });
    }));
  }
  const auto out = ports.list().back().spec.name == "out" ? ports.list().back().number : ports.list().front().number;
  const auto frame = test_frame(1, body.long_frame());
  AllQueues workers(ports);
  const auto before = workers.free_buffers();
  for (const bool is_cut : {false, true}) {
    body.feed("in", frame);
    auto packet = workers.receive_one();
    CHECK(packet.frame_bytes == frame.size());
    CHECK(std::equal(packet.frame, packet.frame + packet.bytes, frame.begin()));
    // With another header, as after a translation.
    packet.move_front(20);
    const Bytes header(frame.begin(), frame.begin() + 14);
    std::copy(header.begin(), header.end(), packet.frame);
    Bytes expected = header + Bytes(frame.begin() + 34, frame.end());
    if (is_cut) {
      expected.resize(packet.bytes);
      packet.frame_bytes = packet.bytes;
    }
    packet.port = out;
    ports.send(0, {&packet, 1});
    CHECK(sent(body, "out") == Frames{expected});
    CHECK(wait_until([&] { return workers.free_buffers() == before; }));
  }
}

TEST_CASE_TEMPLATE_DEFINE("what was received can be released, from whatever port and after that is closed", Body,
                          ports_release) {
  Body body;
  auto& ports = body.ports();
  opened(body, "a");
  opened(body, "b");
  std::size_t before = 0;
  {
    AllQueues workers(ports);
    before = workers.free_buffers();
    for (std::uint8_t i = 0; i < 4; ++i) body.feed(i % 2 == 0 ? "a" : "b", test_frame(i));
    const auto packets = workers.receive(4);
    CHECK(workers.free_buffers() <= before - 4);
    ports.release(packets);
    CHECK(wait_until([&] { return workers.free_buffers() == before; }));
  }
  const auto packet = AllQueues(ports).allocate();
  REQUIRE(ports.close("a").has_value());
  REQUIRE(ports.close("b").has_value());
  AllQueues workers(ports);
  CHECK(ports.polled(0).empty());
  ports.release({&packet, 1});
  CHECK(workers.free_buffers() >= before);
}

TEST_CASE_TEMPLATE_DEFINE("a port is closed when each worker has passed or is away, after everybody was told", Body,
                          ports_close) {
  Body body;
  auto& ports = body.ports();
  opened(body, "a");
  std::atomic<bool> is_told = false;
  ports.on_change([&] { is_told = ports.list().empty(); });
  std::atomic<bool> may_return = false;
  std::atomic<bool> has_returned = false;
  ports.quiesce(0);
  ports.quiesce(1);
  std::jthread closer([&] {
    const auto closed = ports.close("a");
    CHECK(closed.has_value());
    CHECK(may_return);
    has_returned = true;
  });
  // Told, although the workers have not passed.
  REQUIRE(wait_until([&] { return is_told.load(); }));
  CHECK(ports.list().empty());
  REQUIRE(ports.polled(0).size() == 1);  // it is still in the hands of this worker
  std::array<network::Packet, 4> into;
  ports.release(std::span(into).first(ports.receive(ports.polled(0)[0], 0, into)));
  ports.leave(1);
  may_return = true;
  REQUIRE(wait_until([&] {
    ports.quiesce(0);
    return has_returned.load();
  }));
  CHECK(ports.polled(0).empty());
  ports.leave(0);
  ports.on_change({});
}

TEST_CASE_TEMPLATE_DEFINE("ports come and go while workers are busy, and no buffer is lost", Body, ports_churn) {
  Body body;
  auto& ports = body.ports();
  opened(body, "out");
  const auto spec = body.spec("in");
  opened(body, spec);
  const std::size_t before = AllQueues(ports).free_buffers();
  std::atomic<std::size_t> rounds = 0;
  std::atomic<bool> is_wrong = false;
  {
    std::vector<std::jthread> workers;
    for (std::size_t queue = 0; queue < ports.queues(); ++queue) {
      workers.emplace_back([&, queue](std::stop_token stop) {
        while (!stop.stop_requested()) {
          ports.quiesce(queue);
          const auto polled = ports.polled(queue);
          for (const auto number : polled) {
            std::array<network::Packet, 8> packets;
            const auto some = std::span(packets).first(ports.receive(number, queue, packets));
            for (auto& packet : some) {
              if (packet.port != number) is_wrong = true;
              packet.port = polled[packet.frame[5] % polled.size()];
            }
            ports.send(queue, some);
          }
          ++rounds;
        }
        ports.leave(queue);
      });
    }
    for (std::uint8_t again = 0; again < 20; ++again) {
      for (std::uint8_t i = 0; i < 20; ++i) body.feed(i % 2 == 0 ? "in" : "out", test_frame(i));
      const auto seen = rounds.load();
      REQUIRE(wait_until([&] { return rounds > seen + 2; }));
      REQUIRE(ports.close("in").has_value());
      body.sent("out");
      opened(body, spec);
    }
  }
  CHECK_FALSE(is_wrong);
  REQUIRE(ports.close("in").has_value());
  REQUIRE(ports.close("out").has_value());
  AllQueues workers(ports);
  CHECK(wait_until([&] { return workers.free_buffers() >= before; }));
}

TEST_CASE_TEMPLATE_DEFINE("somebody is told when a port comes, goes, or changes its link", Body, ports_change) {
  Body body;
  auto& ports = body.ports();
  std::atomic<int> calls = 0;
  ports.on_change([&] { ++calls; });
  const auto spec = body.spec("a");
  opened(body, spec);
  REQUIRE(wait_until([&] { return calls >= 1 && !ports.list().empty() && ports.list()[0].is_up; }));
  const int after_open = calls;
  opened(body, spec);
  if (body.set_link("a", false)) {
    REQUIRE(wait_until([&] { return calls > after_open && !ports.list()[0].is_up; }));
    const int after_down = calls;
    REQUIRE(body.set_link("a", true));
    REQUIRE(wait_until([&] { return calls > after_down && ports.list()[0].is_up; }));
  }
  const int before_close = calls;
  REQUIRE(ports.close("a").has_value());
  CHECK(calls > before_close);
  ports.on_change({});
  const int last = calls;
  opened(body, spec);
  CHECK(calls == last);
}

TEST_CASE_TEMPLATE_DEFINE("a worker sleeps until something comes, or somebody wakes it, or for as long as it says",
                          Body, ports_wait) {
  Body body;
  auto& ports = body.ports();
  opened(body, "a");
  constexpr std::uint64_t ms = 1'000'000;
  constexpr std::uint64_t long_ns = 60'000 * ms;
  const auto start = std::chrono::steady_clock::now();
  ports.wake(0);
  ports.wait(0, long_ns);  // woken before
  {
    std::jthread waker([&] { ports.wake(0); });
    ports.quiesce(0);
    ports.wait(0, long_ns);
  }
  // It comes to one of the queues.
  std::atomic<bool> is_found = false;
  {
    std::vector<std::jthread> workers;
    for (std::size_t queue = 0; queue < ports.queues(); ++queue) {
      workers.emplace_back([&, queue] {
        while (!is_found && std::chrono::steady_clock::now() < start + std::chrono::seconds(30)) {
          ports.quiesce(queue);
          for (const auto number : ports.polled(queue)) {
            std::array<network::Packet, 8> packets;
            const auto some = std::span(packets).first(ports.receive(number, queue, packets));
            for (const auto& packet : some)
              if (is_test_frame(packet.frame, packet.bytes)) is_found = true;
            ports.release(some);
          }
          if (is_found) {
            for (std::size_t other = 0; other < ports.queues(); ++other) ports.wake(other);
          } else {
            ports.wait(queue, long_ns);
          }
        }
        ports.leave(queue);
      });
    }
    body.feed("a", test_frame(1));
  }
  CHECK(is_found);
  for (int again = 0; again < 3; ++again) {
    ports.quiesce(1);
    ports.wait(1, ms);
  }
  ports.quiesce(0);
  ports.leave(0);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
}

TEST_CASE_TEMPLATE_DEFINE("packets and bytes are counted at each port", Body, ports_counters) {
  Body body;
  auto& ports = body.ports();
  opened(body, "in");
  const auto out = opened(body, "out");
  for (std::uint8_t i = 0; i < 3; ++i) body.feed("in", test_frame(i, 100U + i));
  {
    AllQueues workers(ports);
    auto packets = workers.receive(3);
    for (auto& packet : packets) packet.port = out.number;
    ports.send(0, packets);
  }
  sent(body, "out", 3);
  CHECK(wait_until([&] { return ports.counters("out").value().sent_packets == 3; }));
  const auto in_counters = ports.counters("in").value();
  CHECK(in_counters.received_packets >= 3);
  CHECK(in_counters.received_bytes >= 303);
  CHECK(in_counters.sent_packets == 0);
  const auto out_counters = ports.counters("out").value();
  CHECK(out_counters.sent_bytes == 303);
  CHECK(out_counters.unsent == 0);
  REQUIRE(ports.close("out").has_value());
  CHECK(ports.counters("out").error().code() == ErrorCode::not_found);
}

/// Use inside namespace ironcore::tests, after TYPE_TO_STRING.
#define IRONCORE_PORTS_CONFORMANCE(Body)           \
  TEST_CASE_TEMPLATE_INVOKE(ports_specs, Body);    \
  TEST_CASE_TEMPLATE_INVOKE(ports_open, Body);     \
  TEST_CASE_TEMPLATE_INVOKE(ports_numbers, Body);  \
  TEST_CASE_TEMPLATE_INVOKE(ports_bytes, Body);    \
  TEST_CASE_TEMPLATE_INVOKE(ports_send, Body);     \
  TEST_CASE_TEMPLATE_INVOKE(ports_down, Body);     \
  TEST_CASE_TEMPLATE_INVOKE(ports_allocate, Body); \
  TEST_CASE_TEMPLATE_INVOKE(ports_front, Body);    \
  TEST_CASE_TEMPLATE_INVOKE(ports_pieces, Body);   \
  TEST_CASE_TEMPLATE_INVOKE(ports_release, Body);  \
  TEST_CASE_TEMPLATE_INVOKE(ports_close, Body);    \
  TEST_CASE_TEMPLATE_INVOKE(ports_churn, Body);    \
  TEST_CASE_TEMPLATE_INVOKE(ports_change, Body);   \
  TEST_CASE_TEMPLATE_INVOKE(ports_wait, Body);     \
  TEST_CASE_TEMPLATE_INVOKE(ports_counters, Body)

}  // namespace ironcore::tests
