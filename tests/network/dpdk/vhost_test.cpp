// SPDX-License-Identifier: Apache-2.0
// Guests' network interfaces over vhost-user.
#include <sys/socket.h>
#include <sys/un.h>

#include <map>

#include "environment.hpp"
#include "virtio_user.hpp"

namespace ironcore::tests {

namespace {

/// A worker's side: the port is up, and so is the guest's.
void wait_guest(network::Ports& ports, const std::string& port, VirtioUser& guest) {
  REQUIRE(wait_until([&] {
    if (!guest.is_up()) return false;
    for (const auto& one : ports.list())
      if (one.spec.name == port) return one.is_up;
    return false;
  }));
}

/// The next frame; waits for it.
GuestFrame take(VirtioUser& guest) {
  GuestFrame out;
  REQUIRE(wait_until([&] { return guest.take_one(out); }));
  return out;
}

class VhostBody final : public PortsBody {
 public:
  network::Ports& ports() override { return *ports_; }
  network::PortSpec spec(const std::string& name) override {
    const auto path = (scratch_.path() / ("g" + std::to_string(guests_.size()))).string();
    if (guests_.count(name) == 0) {
      // DPDK starts one device at a time: those whose port is open come first.
      for (const auto& port : ports_->list())
        REQUIRE(wait_until([&] { return guests_.at(port.spec.name)->is_started(); }));
      paths_[name] = path;
      guests_[name] = std::make_unique<VirtioUser>(path);
    }
    return dpdk_port(name, "vhost:" + paths_.at(name));
  }
  void feed(const std::string& port, const Bytes& frame) override {
    auto& guest = *guests_.at(port);
    wait_guest(*ports_, port, guest);
    guest.send(frame);
  }
  std::vector<Bytes> sent(const std::string& port) override {
    std::vector<Bytes> out;
    auto& guest = *guests_.at(port);
    if (!guest.is_up()) return out;
    for (auto& frame : guest.take()) out.push_back(std::move(frame.bytes));
    return out;
  }
  bool set_link(const std::string& port, bool is_up) override {
    guests_.at(port).reset();
    if (is_up) guests_.at(port) = std::make_unique<VirtioUser>(paths_.at(port));
    return true;
  }

 private:
  const ScratchDirectory scratch_;
  std::map<std::string, std::string> paths_;
  std::map<std::string, std::unique_ptr<VirtioUser>> guests_;
  std::unique_ptr<network::Ports> ports_ = dpdk_ports({.queues = 2, .buffers = 2048});
};

}  // namespace
}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::VhostBody);

namespace ironcore::tests {

IRONCORE_PORTS_CONFORMANCE(VhostBody);

TEST_CASE("a guest comes, goes and comes back") {
  const ScratchDirectory scratch;
  const auto path = (scratch.path() / "guest").string();
  const auto ports = dpdk_ports();
  std::atomic<int> changes = 0;
  ports->on_change([&] { ++changes; });
  const auto port = open_port(*ports, dpdk_port("g", "vhost:" + path));
  CHECK_FALSE(port.is_up);
  for (int again = 0; again < 3; ++again) {
    const int before = changes;
    {
      VirtioUser guest(path);
      wait_guest(*ports, "g", guest);
      CHECK(changes > before);
      {
        AllQueues workers(*ports);
        REQUIRE(guest.send(test_frame(1)));
        auto packet = workers.receive_one();
        CHECK(bytes_of(packet) == test_frame(1));
        ports->send(0, {&packet, 1});
      }
      CHECK(take(guest).bytes == test_frame(1));
    }
    CHECK(wait_until([&] { return !ports->list()[0].is_up; }));
  }
}

TEST_CASE("a guest may go while a worker is at it") {
  const ScratchDirectory scratch;
  const auto path = (scratch.path() / "guest").string();
  const auto ports = dpdk_ports();
  const auto port = open_port(*ports, dpdk_port("g", "vhost:" + path));
  const std::jthread worker([&](std::stop_token stop) {
    std::array<network::Packet, 32> packets;
    while (!stop.stop_requested()) {
      ports->quiesce(0);
      ports->send(0, std::span(packets).first(ports->receive(port.number, 0, packets)));
    }
    ports->leave(0);
  });
  for (int again = 0; again < 3; ++again) {
    {
      VirtioUser guest(path);
      wait_guest(*ports, "g", guest);
      for (std::uint8_t i = 0; i < 100; ++i) guest.send(test_frame(i));
      CHECK(is_test_frame(take(guest).bytes.data(), 14));
    }
    CHECK(wait_until([&] { return !ports->list()[0].is_up; }));
  }
}

TEST_CASE("a socket that cannot be is refused") {
  const ScratchDirectory scratch;
  const auto ports = dpdk_ports();
  const auto code = [&](const std::string& path, const std::string& name = "g") {
    const auto result = ports->open(dpdk_port(name, "vhost:" + path));
    REQUIRE_FALSE(result.has_value());
    return result.error().code();
  };
  CHECK(code("") == ErrorCode::invalid);
  CHECK(code("/" + std::string(107, 'a')) == ErrorCode::invalid);
  CHECK(code("/a,b") == ErrorCode::invalid);
  CHECK(code(scratch.path()) == ErrorCode::unavailable);
  const auto path = (scratch.path() / "guest").string();
  open_port(*ports, dpdk_port("g", "vhost:" + path));
  CHECK(code(path, "h") == ErrorCode::unavailable);
  CHECK(code((scratch.path() / "." / "guest").string(), "h") == ErrorCode::unavailable);
  const auto others = dpdk_ports();
  CHECK(others->open(dpdk_port("g", "vhost:" + path)).error().code() == ErrorCode::unavailable);
  REQUIRE(ports->close("g").has_value());
  open_port(*others, dpdk_port("g", "vhost:" + path));
}

TEST_CASE("guests of several queues share the workers, and workers share a guest's only queue") {
  const ScratchDirectory scratch;
  const auto ports = dpdk_ports({.queues = 2, .buffers = 4096});
  for (const std::uint16_t queues : std::initializer_list<std::uint16_t>{1, 2, 3}) {
    CAPTURE(queues);
    const auto path = (scratch.path() / ("g" + std::to_string(queues))).string();
    const auto port = open_port(*ports, dpdk_port("g", "vhost:" + path));
    VirtioUser guest(path, {.queues = queues});
    wait_guest(*ports, "g", guest);
    AllQueues workers(*ports);
    for (std::uint16_t queue = 0; queue < queues; ++queue) {
      const auto frame = test_frame(static_cast<std::uint8_t>(queue));
      REQUIRE(guest.send(frame, queue));
      auto packet = workers.receive_one();
      CHECK(bytes_of(packet) == frame);
      ports->release({&packet, 1});
    }
    for (std::size_t worker = 0; worker < 2; ++worker) {
      auto packet = workers.allocate();
      put(packet, test_frame(9));
      packet.port = port.number;
      ports->send(worker, {&packet, 1});
      CHECK(take(guest).bytes == test_frame(9));
    }
    for (std::size_t i = 0; i < 2; ++i) ports->leave(i);
    REQUIRE(ports->close("g").has_value());
  }
}

TEST_CASE("guests leave checksums and large packets to each other, and get them finished if they cannot take them") {
  const ScratchDirectory scratch;
  const auto ports = dpdk_ports({.buffers = 4096});
  const auto from_path = (scratch.path() / "from").string();
  const auto to_path = (scratch.path() / "to").string();
  open_port(*ports, dpdk_port("from", "vhost:" + from_path));
  const auto to = open_port(*ports, dpdk_port("to", "vhost:" + to_path));
  VirtioUser sender(from_path);
  wait_guest(*ports, "from", sender);
  constexpr std::size_t payload = 4000;
  constexpr std::uint16_t segment = 1400;
  // Ethernet, IPv4, TCP; the field of the checksum is the driver's.
  Bytes frame(54 + payload);
  for (std::size_t i = 0; i < payload; ++i) frame[54 + i] = static_cast<std::uint8_t>(i * 5);
  const Bytes headers = {2,
                         0,
                         0,
                         0,
                         0,
                         1,
                         2,
                         0,
                         0,
                         0,
                         0,
                         2,
                         8,
                         0,
                         0x45,
                         0,
                         (payload + 40) >> 8,
                         (payload + 40) & 0xff,
                         0,
                         1,
                         0x40,
                         0,
                         64,
                         6,
                         0,
                         0,
                         10,
                         0,
                         0,
                         1,
                         10,
                         0,
                         0,
                         2,
                         0,
                         80,
                         1,
                         0,
                         0,
                         0,
                         0,
                         1,
                         0,
                         0,
                         0,
                         1,
                         0x50,
                         0x10,
                         1,
                         0,
                         0,
                         0,
                         0,
                         0};
  std::copy(headers.begin(), headers.end(), frame.begin());
  const auto sum_of = [](const Bytes& bytes, std::size_t from, std::size_t to_end, std::uint32_t sum) {
    for (std::size_t i = from; i < to_end; ++i) sum += (i - from) % 2 == 0 ? bytes[i] * 256U : bytes[i];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
  };
  const auto ip_sum = 0xffff - sum_of(frame, 14, 34, 0);
  frame[24] = static_cast<std::uint8_t>(ip_sum >> 8);
  frame[25] = static_cast<std::uint8_t>(ip_sum);
  const auto pseudo = sum_of(frame, 26, 34, 6 + payload + 20);
  const auto hand_over = [&] {
    REQUIRE(sender.send(frame, 0, [&](rte_mbuf& first) {
      first.ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
      first.l2_len = 14;
      first.l3_len = 20;
      first.l4_len = 20;
      first.tso_segsz = segment;
    }));
    AllQueues workers(*ports);
    std::array<network::Packet, 4> packets;
    std::size_t count = 0;
    REQUIRE(wait_until([&] { return (count = ports->receive(0, 0, packets)) != 0; }));
    REQUIRE(count == 1);
    CHECK(packets[0].offload.needs_checksum);
    CHECK(packets[0].offload.segment_bytes == segment);
    CHECK(packets[0].frame_bytes == frame.size());
    packets[0].port = to.number;
    ports->send(0, std::span(packets).first(1));
  };
  {
    VirtioUser receiver(to_path);
    wait_guest(*ports, "to", receiver);
    hand_over();
    const auto came = take(receiver);
    CHECK(came.needs_checksum);
    CHECK(came.segment_bytes == segment);
    REQUIRE(came.bytes.size() == frame.size());
    CHECK(came.bytes[50] * 256U + came.bytes[51] == pseudo);
    CHECK(std::equal(came.bytes.begin() + 52, came.bytes.end(), frame.begin() + 52));
  }
  REQUIRE(wait_until([&] { return !ports->list()[1].is_up; }));
  {
    VirtioUser receiver(to_path, {.receive_offloads = RTE_ETH_RX_OFFLOAD_SCATTER});
    wait_guest(*ports, "to", receiver);
    hand_over();
    Bytes joined;
    for (int i = 0; i < 3; ++i) {
      const auto came = take(receiver);
      CHECK_FALSE(came.needs_checksum);
      CHECK(came.segment_bytes == 0);
      const auto bytes = came.bytes.size();
      REQUIRE(bytes > 54);
      CHECK(bytes <= 54U + segment);
      CHECK(sum_of(came.bytes, 14, 34, 0) == 0xffff);
      const auto length = static_cast<std::uint32_t>(bytes - 34);
      CHECK(sum_of(came.bytes, 34, bytes, sum_of(came.bytes, 26, 34, 6 + length)) == 0xffff);
      joined.insert(joined.end(), came.bytes.begin() + 54, came.bytes.end());
    }
    CHECK(joined == Bytes(frame.begin() + 54, frame.end()));
  }
}

TEST_CASE("who sends nonsense on a guest's socket, or hangs up, is no guest and does no harm") {
  const ScratchDirectory scratch;
  const auto path = (scratch.path() / "guest").string();
  const auto ports = dpdk_ports();
  open_port(*ports, dpdk_port("g", "vhost:" + path));
  {
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener.get(), 4) == 0);
    for (const auto& nonsense :
         {Bytes(), Bytes(5, 1), Bytes(12, 0xff), Bytes(4096, 0xaa), Bytes{1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1},
          Bytes{5, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0}}) {
      const UniqueFd caller(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      REQUIRE(caller.get() >= 0);
      static_cast<void>(::send(caller.get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL));
    }
  }
  std::filesystem::remove(path);
  CHECK_FALSE(ports->list()[0].is_up);
  VirtioUser guest(path);
  wait_guest(*ports, "g", guest);
}

}  // namespace ironcore::tests
