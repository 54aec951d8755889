// SPDX-License-Identifier: Apache-2.0
// Ports in memory keep the contract of the seam, and do what tests make happen.
#include "ironcore/sim/ports.hpp"

#include "ironcore/sim/virtual_clock.hpp"
#include "ports_conformance.hpp"

namespace ironcore::tests {

namespace {

network::PortSpec port(const std::string& name) {
  network::PortSpec spec;
  spec.name = name;
  spec.device = "memory:" + name;
  return spec;
}

class SimPortsBody final : public PortsBody {
 public:
  network::Ports& ports() override { return ports_; }
  network::PortSpec spec(const std::string& name) override { return port(name); }
  void feed(const std::string& port, const Bytes& frame) override { ports_.inject(port, frame, ++fed_); }
  std::vector<Bytes> sent(const std::string& port) override {
    std::vector<Bytes> out;
    for (auto& frame : ports_.take(port)) out.push_back(std::move(frame.bytes));
    return out;
  }
  bool set_link(const std::string& port, bool is_up) override {
    return ports_.set_link(port, is_up ? sim::Ports::Link::up : sim::Ports::Link::down).has_value();
  }

 private:
  SystemClock clock_;
  sim::Ports ports_{clock_, {.queues = 2, .buffers = 64}};
  std::size_t fed_ = 0;
};

}  // namespace
}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::SimPortsBody);

namespace ironcore::tests {

IRONCORE_PORTS_CONFORMANCE(SimPortsBody);

TEST_CASE("a wire takes frames from host to host, until either end is closed") {
  SystemClock clock;
  sim::Ports left(clock);
  {
    sim::Ports right(clock, {.buffers = 8, .buffer_bytes = 300, .waiting_frames = 2});
    const auto number = left.open(port("l")).value().number;
    REQUIRE(right.open(port("r")).has_value());
    CHECK(sim::Ports::wire(left, "l", right, "x").error().code() == ErrorCode::not_found);
    REQUIRE(sim::Ports::wire(left, "l", right, "r").has_value());
    AllQueues sender(left);
    AllQueues receiver(right);
    const auto send = [&](const Bytes& frame) {
      auto packet = sender.allocate();
      put(packet, frame);
      packet.offload.needs_checksum = true;
      packet.port = number;
      left.send(0, {&packet, 1});
    };
    send(test_frame(1, 1000));  // in four pieces there
    const auto came = receiver.receive_one();
    CHECK(came.bytes == 300);
    CHECK(came.frame_bytes == 1000);
    CHECK(came.offload.needs_checksum);
    CHECK(right.buffers_in_use() == 4);
    send(test_frame(2, 1500));  // there are no five
    CHECK(right.counters("r").value().missed == 1);
    right.release({&came, 1});
    for (int i = 0; i < 3; ++i) send(test_frame(3));
    CHECK(right.counters("r").value().missed == 2);  // only two wait
    REQUIRE(right.set_link("r", sim::Ports::Link::down).has_value());
    send(test_frame(4));
    CHECK(left.counters("l").value().sent_packets == 6);
    CHECK(left.buffers_in_use() == 0);
    CHECK(left.take("l").empty());
  }
  AllQueues sender(left);
  auto packet = sender.allocate();
  put(packet, test_frame(5));
  left.send(0, {&packet, 1});
  CHECK(left.take("l").size() == 1);  // nobody is at the other end
}

TEST_CASE("frames come to the queue that they are steered to") {
  SystemClock clock;
  sim::Ports ports(clock, {.queues = 3, .steer = [](auto frame) { return std::size_t{frame[5]}; }});
  REQUIRE(ports.open(port("a")).has_value());
  for (std::uint8_t i = 0; i < 4; ++i) REQUIRE(ports.inject("a", test_frame(i)));
  REQUIRE(ports.inject("a", test_frame(0), 2));
  std::array<network::Packet, 8> packets;
  AllQueues workers(ports);
  for (const auto& [queue, count] : {std::pair(0U, 2U), {1U, 1U}, {2U, 2U}}) {
    CHECK(ports.receive(0, queue, packets) == count);
    ports.release(std::span(packets).first(count));
  }
}

TEST_CASE("what nobody has room for is lost and counted, and the rest goes on") {
  SystemClock clock;
  sim::Ports ports(clock, {.buffers = 4, .waiting_frames = 3});
  const auto number = ports.open(port("a")).value().number;
  CHECK_FALSE(ports.inject("x", test_frame(1)));
  for (std::uint8_t i = 0; i < 3; ++i) CHECK(ports.inject("a", test_frame(i)));
  CHECK_FALSE(ports.inject("a", test_frame(3)));
  CHECK(ports.counters("a").value().missed == 1);
  AllQueues workers(ports);
  auto packets = workers.receive(3);
  CHECK(ports.inject("a", test_frame(4)));
  CHECK_FALSE(ports.inject("a", test_frame(5)));  // no buffer
  CHECK(ports.counters("a").value().missed == 2);
  CHECK_FALSE(ports.allocate(0).has_value());
  ports.send(0, packets);
  auto one_more = workers.receive_one();
  one_more.port = number;
  ports.send(0, {&one_more, 1});
  CHECK(ports.counters("a").value().unsent == 1);  // three wait to be taken
  CHECK(ports.buffers_in_use() == 3);
  CHECK(ports.take("a", 2).size() == 2);
  CHECK(ports.take("a").size() == 1);
  CHECK(ports.buffers_in_use() == 0);
  auto too_long = workers.allocate();
  put(too_long, test_frame(1, 1519));
  ports.send(0, {&too_long, 1});
  CHECK(ports.counters("a").value().unsent == 2);
}

TEST_CASE("a worker sleeps by the clock that it was given") {
  sim::VirtualClock clock;
  sim::Ports ports(clock);
  std::atomic<bool> is_back = false;
  std::jthread worker([&] {
    ports.quiesce(0);
    ports.wait(0, 3'600'000'000'000);
    is_back = true;
  });
  REQUIRE(wait_until([&] { return clock.waiting() == 1; }));
  CHECK_FALSE(is_back);
  clock.advance(std::chrono::hours(1));
  CHECK(wait_until([&] { return is_back.load(); }));
}

TEST_CASE("there may be 4,096 ports") {
  SystemClock clock;
  sim::Ports ports(clock, {.buffers = 8192});
  for (int i = 0; i < 4096; ++i) REQUIRE(ports.open(port("p" + std::to_string(i))).has_value());
  CHECK(ports.open(port("one-more")).error().code() == ErrorCode::exhausted);
  for (int i = 0; i < 4096; ++i) REQUIRE(ports.inject("p" + std::to_string(i), test_frame(1)));
  AllQueues workers(ports);
  REQUIRE(ports.polled(0).size() == 4096);
  auto packets = workers.receive(4096);
  for (auto& packet : packets) packet.port = 4095 - packet.port;
  ports.send(0, packets);
  for (int i = 0; i < 4096; ++i) REQUIRE(ports.take("p" + std::to_string(i)).size() == 1);
  CHECK(ports.buffers_in_use() == 0);
}

}  // namespace ironcore::tests
