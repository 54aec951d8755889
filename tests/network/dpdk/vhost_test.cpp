// SPDX-License-Identifier: Apache-2.0
// Guests' network interfaces over vhost-user.
#include <map>
#include <random>

#include "environment.hpp"
#include "vhost_guest.hpp"

namespace ironcore::tests {

namespace {

bool is_port_up(const network::Ports& ports, const std::string& port) {
  for (const auto& one : ports.list())
    if (one.spec.name == port) return one.is_up;
  return false;
}
/// Both ends are up.
void wait_guest(const network::Ports& ports, const std::string& port, const VhostGuest& guest) {
  REQUIRE(wait_until([&] { return guest.is_up() && is_port_up(ports, port); }));
}

/// The next frame; waits for it.
GuestFrame take(VhostGuest& guest) {
  GuestFrame out;
  REQUIRE(wait_until([&] { return guest.take_one(out); }));
  return out;
}

class VhostBody final : public PortsBody {
 public:
  network::Ports& ports() override { return *ports_; }
  network::PortSpec spec(const std::string& name) override {
    if (guests_.count(name) == 0) {
      paths_[name] = (scratch_.path() / ("g" + std::to_string(guests_.size()))).string();
      guests_[name] = std::make_unique<VhostGuest>(paths_.at(name));
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
    for (auto& frame : guests_.at(port)->take()) out.push_back(std::move(frame.bytes));
    return out;
  }
  bool set_link(const std::string& port, bool is_up) override {
    guests_.at(port).reset();
    if (is_up) guests_.at(port) = std::make_unique<VhostGuest>(paths_.at(port));
    return true;
  }

 private:
  const ScratchDirectory scratch_;
  std::map<std::string, std::string> paths_;
  std::map<std::string, std::unique_ptr<VhostGuest>> guests_;
  std::unique_ptr<network::Ports> ports_ = dpdk_ports({.queues = 2, .buffers = 2048});
};

/// Two guests, one of which sends and the other receives.
class TwoGuests {
 public:
  explicit TwoGuests(const VhostGuestOptions& to = {}, std::uint16_t mtu = 1500)
      : from_guest(path("from")), to_guest(path("to"), to) {
    open_port(*ports, dpdk_port("from", "vhost:" + path("from"), mtu));
    to_number = open_port(*ports, dpdk_port("to", "vhost:" + path("to"), mtu)).number;
    wait_guest(*ports, "from", from_guest);
    wait_guest(*ports, "to", to_guest);
  }
  /// By the only worker; what it saw of it.
  network::Packet pass_on() {
    std::array<network::Packet, 1> packet;
    ports->quiesce(0);
    REQUIRE(wait_until([&] { return ports->receive(0, 0, packet) == 1; }));
    packet[0].port = to_number;
    ports->send(0, packet);
    ports->leave(0);
    return packet[0];
  }
  std::string path(const std::string& name) const { return (scratch.path() / name).string(); }

  const ScratchDirectory scratch;
  const std::unique_ptr<network::Ports> ports = dpdk_ports({.buffers = 4096});
  std::uint32_t to_number = 0;
  VhostGuest from_guest;
  VhostGuest to_guest;
};

/// Forwards between all ports, as metalnetd's worker does it, and sleeps when there is nothing to do.
class Reflector {
 public:
  explicit Reflector(network::Ports& ports, std::optional<std::uint32_t> to = {})
      : thread_([&ports, to](std::stop_token stop) {
          const std::stop_callback wake(stop, [&ports] { ports.wake(0); });
          std::array<network::Packet, 32> packets;
          while (!stop.stop_requested()) {
            ports.quiesce(0);
            std::size_t count = 0;
            for (const auto number : ports.polled(0)) {
              const auto came = std::span(packets).first(ports.receive(number, 0, packets));
              for (auto& packet : came) packet.port = to.value_or(packet.port);
              ports.send(0, came);
              count += came.size();
            }
            if (count == 0) ports.wait(0, 50'000'000);
          }
          ports.leave(0);
        }) {}

 private:
  std::jthread thread_;
};

Bytes ethernet(const Bytes& packet) {
  const auto type = packet[0] >> 4 == 4 ? Bytes{8, 0} : Bytes{0x86, 0xdd};
  return Bytes{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2} + type + packet;
}
/// Of the pseudo header and `transport`.
std::uint16_t transport_sum(const Bytes& ip, const Bytes& transport) {
  const bool is_v6 = ip[0] >> 4 == 6;
  Bytes pseudo(ip.begin() + (is_v6 ? 8 : 12), ip.begin() + (is_v6 ? 40 : 20));
  const auto length = static_cast<std::uint16_t>(transport.size());
  pseudo = pseudo +
           Bytes{0, is_v6 ? ip[6] : ip[9], static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)};
  return checksum_of(pseudo + transport);
}
constexpr std::size_t payload_bytes = 4000;
constexpr std::uint16_t segment = 1400;
Bytes payload() {
  Bytes out(payload_bytes);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i * 5);
  return out;
}
/// A driver leaves the sum of the pseudo header in the field.
Bytes unfinished(Bytes ip, Bytes transport, std::size_t field) {
  Bytes pseudo_only = transport;
  std::fill(pseudo_only.begin(), pseudo_only.end(), std::uint8_t{0});
  put16(transport, field, static_cast<std::uint16_t>(~transport_sum(ip, pseudo_only)));
  ip.resize(ip.size() - transport.size());
  return ethernet(ip + transport);
}

constexpr std::uint8_t needs_checksum = 1;
constexpr std::uint8_t gso_tcp4 = 1;
constexpr std::uint8_t gso_udp = 3;
constexpr std::uint8_t gso_tcp6 = 4;

}  // namespace
}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::VhostBody);

namespace ironcore::tests {

IRONCORE_PORTS_CONFORMANCE(VhostBody);

TEST_CASE("a guest comes, goes and comes back") {
  const ScratchDirectory scratch;
  const auto path = (scratch.path() / "guest").string();
  const auto ports = dpdk_ports();
  // A link is up in the list before that is told.
  std::atomic<bool> is_told_up = true;
  ports->on_change([&] { is_told_up = ports->list()[0].is_up; });
  const auto port = open_port(*ports, dpdk_port("g", "vhost:" + path));
  CHECK_FALSE(port.is_up);
  CHECK_FALSE(is_told_up);
  for (int again = 0; again < 3; ++again) {
    {
      VhostGuest guest(path);
      wait_guest(*ports, "g", guest);
      CHECK(wait_until([&] { return is_told_up.load(); }));
      for (int boot = 0; boot < 2; ++boot) {
        AllQueues workers(*ports);
        REQUIRE(guest.send(test_frame(1)));
        auto packet = workers.receive_one();
        CHECK(bytes_of(packet) == test_frame(1));
        ports->send(0, {&packet, 1});
        CHECK(take(guest).bytes == test_frame(1));
        for (std::size_t i = 0; i < ports->queues(); ++i) ports->leave(i);
        guest.reboot();
        wait_guest(*ports, "g", guest);
      }
    }
    CHECK(wait_until([&] { return !is_told_up && !ports->list()[0].is_up; }));
  }
  ports->on_change({});
}

TEST_CASE("a guest that stays is found by ports that come after it, as when a dataplane is started anew") {
  const ScratchDirectory scratch;
  const auto path = (scratch.path() / "guest").string();
  VhostGuest guest(path);
  for (int again = 0; again < 3; ++again) {
    const auto ports = dpdk_ports();
    open_port(*ports, dpdk_port("g", "vhost:" + path));
    wait_guest(*ports, "g", guest);
    const Reflector worker(*ports);
    REQUIRE(guest.send(test_frame(1)));
    CHECK(take(guest).bytes == test_frame(1));
  }
}

TEST_CASE("a guest may go or start anew while a worker is at it") {
  const ScratchDirectory scratch;
  const auto path = (scratch.path() / "guest").string();
  const auto ports = dpdk_ports();
  open_port(*ports, dpdk_port("g", "vhost:" + path));
  const Reflector worker(*ports);
  for (int again = 0; again < 3; ++again) {
    {
      VhostGuest guest(path);
      for (int boot = 0; boot < 10; ++boot) {
        wait_guest(*ports, "g", guest);
        for (std::uint8_t i = 0; i < 100; ++i) guest.send(test_frame(i));
        CHECK(is_test_frame(take(guest).bytes.data(), 14));
        for (std::uint8_t i = 0; i < 100; ++i) guest.send(test_frame(i));
        guest.reboot();
      }
    }
    CHECK(wait_until([&] { return !ports->list()[0].is_up; }));
  }
}

TEST_CASE("many guests come and go at once") {
  const ScratchDirectory scratch;
  const auto ports = dpdk_ports({.buffers = 8192});
  const Reflector worker(*ports);
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same in each run
  constexpr std::size_t most = 24;
  std::array<std::unique_ptr<VhostGuest>, most> guests;
  const auto path = [&](std::size_t i) { return (scratch.path() / std::to_string(i)).string(); };
  for (int step = 0; step < 300; ++step) {
    const auto i = random() % most;
    const auto name = "g" + std::to_string(i);
    switch (random() % 4) {
      case 0:
        guests[i].reset();
        break;
      case 1:
        if (guests[i] == nullptr) guests[i] = std::make_unique<VhostGuest>(path(i));
        break;
      case 2:
        REQUIRE(ports->close(name).has_value());
        break;
      default:
        open_port(*ports, dpdk_port(name, "vhost:" + path(i)));
        if (guests[i] != nullptr && guests[i]->is_up()) guests[i]->send(test_frame(static_cast<std::uint8_t>(i)));
    }
  }
  for (std::size_t i = 0; i < most; ++i) {
    if (guests[i] == nullptr) guests[i] = std::make_unique<VhostGuest>(path(i));
    open_port(*ports, dpdk_port("g" + std::to_string(i), "vhost:" + path(i)));
  }
  for (std::size_t i = 0; i < most; ++i) {
    wait_guest(*ports, "g" + std::to_string(i), *guests[i]);
    const auto frame = test_frame(static_cast<std::uint8_t>(100 + i));
    REQUIRE(wait_until([&] {
      guests[i]->send(frame);
      GuestFrame came;
      return guests[i]->take_one(came) && came.bytes == frame;
    }));
  }
}

TEST_CASE("a port may be closed in the moment in which its guest hangs up") {
  const ScratchDirectory scratch;
  const auto ports = dpdk_ports();
  constexpr std::size_t most = 24;
  std::array<std::unique_ptr<VhostGuest>, most> guests;
  const auto path = [&](std::size_t i) { return (scratch.path() / std::to_string(i)).string(); };
  const auto name = [](std::size_t i) { return "g" + std::to_string(i); };
  for (int again = 0; again < 10; ++again) {
    for (std::size_t i = 0; i < most; ++i) {
      guests[i] = std::make_unique<VhostGuest>(path(i));
      open_port(*ports, dpdk_port(name(i), "vhost:" + path(i)));
    }
    for (std::size_t i = 0; i < most; ++i) wait_guest(*ports, name(i), *guests[i]);
    for (std::size_t i = 0; i < most; ++i) {
      guests[i].reset();
      REQUIRE(ports->close(name(i)).has_value());
    }
  }
  // Who still called for one of them would find this one.
  const VhostGuest guest(path(0));
  open_port(*ports, dpdk_port(name(0), "vhost:" + path(0)));
  wait_guest(*ports, name(0), guest);
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
    VhostGuest guest(path, {.queues = queues});
    const auto port = open_port(*ports, dpdk_port("g", "vhost:" + path));
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

TEST_CASE("large packets that a guest leaves uncut reach one that takes them as they are, and any other in pieces") {
  for (const bool is_v6 : {false, true}) {
    CAPTURE(is_v6);
    const auto segment_header = tcp(40000, 80, 0x18, payload());
    const auto ip = is_v6 ? v6(segment_header, {.next_header = 6}) : v4(segment_header, {.protocol = 6});
    const auto headers = 14 + (is_v6 ? 40U : 20U) + 20U;
    const auto frame = unfinished(ip, segment_header, 16);
    const NetHeader asks{.flags = needs_checksum,
                         .gso_type = is_v6 ? gso_tcp6 : gso_tcp4,
                         .header_bytes = static_cast<std::uint16_t>(headers),
                         .segment_bytes = segment,
                         .checksum_start = static_cast<std::uint16_t>(headers - 20),
                         .checksum_offset = 16};
    for (const std::uint64_t refused :
         {std::uint64_t{0}, tso_to_guest, tso_to_guest | checksum_to_guest, tso_to_guest | mergeable_buffers}) {
      CAPTURE(refused);
      TwoGuests guests({.refused = refused});
      REQUIRE(guests.from_guest.send(frame, 0, asks));
      const auto seen = guests.pass_on();
      CHECK(seen.offload.needs_checksum);
      CHECK(seen.offload.segment_bytes == segment);
      CHECK(seen.frame_bytes == frame.size());
      if (refused == 0) {
        const auto came = take(guests.to_guest);
        CHECK(came.needs_checksum());
        CHECK(came.header.gso_type == asks.gso_type);
        CHECK(came.header.segment_bytes == segment);
        CHECK(came.header.checksum_start == asks.checksum_start);
        CHECK(came.header.checksum_offset == 16);
        CHECK(came.header.buffers == 2);
        CHECK(came.bytes == frame);
        continue;
      }
      Bytes joined;
      for (std::size_t i = 0; i < 3; ++i) {
        const auto came = take(guests.to_guest);
        CHECK_FALSE(came.needs_checksum());
        CHECK(came.header.gso_type == 0);
        const auto bytes = came.bytes.size();
        REQUIRE(bytes > headers);
        CHECK(bytes - headers == std::min<std::size_t>(segment, payload_bytes - i * segment));
        const Bytes inner(came.bytes.begin() + 14, came.bytes.end());
        const Bytes transport(inner.begin() + static_cast<std::ptrdiff_t>(headers) - 34, inner.end());
        if (!is_v6) CHECK(checksum_of(Bytes(inner.begin(), inner.begin() + 20)) == 0);
        CHECK(transport_sum(inner, transport) == 0);
        joined.insert(joined.end(), came.bytes.begin() + static_cast<std::ptrdiff_t>(headers), came.bytes.end());
      }
      CHECK(joined == payload());
    }
  }
}

TEST_CASE("a checksum that a guest leaves out is finished for who does not take it so") {
  for (const bool is_tcp : {false, true}) {
    CAPTURE(is_tcp);
    const auto inner = is_tcp ? tcp(1, 2, 2) : udp(1, 2, Bytes(33, 7));
    const auto ip = v4(inner, {.protocol = static_cast<std::uint8_t>(is_tcp ? 6 : 17)});
    const std::uint16_t field = is_tcp ? 16 : 6;
    const auto frame = unfinished(ip, inner, field);
    const NetHeader asks{.flags = needs_checksum, .checksum_start = 34, .checksum_offset = field};
    for (const std::uint64_t refused : {std::uint64_t{0}, checksum_to_guest | tso_to_guest}) {
      TwoGuests guests({.refused = refused});
      REQUIRE(guests.from_guest.send(frame, 0, asks));
      CHECK(guests.pass_on().offload.needs_checksum);
      const auto came = take(guests.to_guest);
      REQUIRE(came.bytes.size() == frame.size());
      CHECK(came.needs_checksum() == (refused == 0));
      if (refused == 0) {
        CHECK(came.bytes == frame);
        CHECK(came.header.checksum_start == 34);
        CHECK(came.header.checksum_offset == field);
      } else {
        CHECK(transport_sum(Bytes(came.bytes.begin() + 14, came.bytes.end()),
                            Bytes(came.bytes.begin() + 34, came.bytes.end())) == 0);
      }
    }
  }
}

TEST_CASE("long frames fill several buffers of a guest, or one that is large enough; else they are not sent") {
  const auto frame = test_frame(3, 9014);
  SUBCASE("several") {
    TwoGuests guests({}, 9000);
    REQUIRE(guests.from_guest.send(frame));
    guests.pass_on();
    const auto came = take(guests.to_guest);
    CHECK(came.bytes == frame);
    CHECK(came.header.buffers == 5);
  }
  SUBCASE("one") {
    TwoGuests guests({.refused = mergeable_buffers, .buffer_bytes = 9100}, 9000);
    REQUIRE(guests.from_guest.send(frame));
    guests.pass_on();
    CHECK(take(guests.to_guest).bytes == frame);
  }
  SUBCASE("too small ones") {
    TwoGuests guests({.refused = mergeable_buffers}, 9000);
    REQUIRE(guests.from_guest.send(frame));
    guests.pass_on();
    CHECK(guests.ports->counters("to").value().unsent == 1);
    REQUIRE(guests.from_guest.send(test_frame(4)));
    guests.pass_on();
    CHECK(take(guests.to_guest).bytes == test_frame(4));
  }
}

TEST_CASE("what does not fit into a guest's rings is not sent, and it gets the rest when it has made room") {
  TwoGuests guests;
  for (int i = 0; i < 300; ++i) {
    REQUIRE(guests.from_guest.send(test_frame(static_cast<std::uint8_t>(i))));
    guests.pass_on();
  }
  CHECK(guests.ports->counters("to").value().unsent == 300 - ring_size);
  CHECK(guests.to_guest.take().size() == ring_size);
  REQUIRE(guests.from_guest.send(test_frame(7)));
  guests.pass_on();
  CHECK(take(guests.to_guest).bytes == test_frame(7));
}

// ---- guests that lie ----

TEST_CASE("a frame whose header lies is refused, or leaves as an ordinary frame that says nothing wrong") {
  const auto segment_header = tcp(40000, 80, 0x18, payload());
  const auto large = unfinished(v4(segment_header, {.protocol = 6}), segment_header, 16);
  const auto datagram_inside = udp(1, 2, Bytes(33, 7));
  const auto datagram = unfinished(v4(datagram_inside), datagram_inside, 6);
  const NetHeader right{.flags = needs_checksum,
                        .gso_type = gso_tcp4,
                        .header_bytes = 54,
                        .segment_bytes = segment,
                        .checksum_start = 34,
                        .checksum_offset = 16};
  const auto with = [&](auto change) {
    auto header = right;
    change(header);
    return header;
  };
  enum class Fate { gone, refused, unsent, leaves };
  struct Lie {
    Bytes frame;
    NetHeader header;
    Fate fate;
  };
  const std::vector<Lie> lies = {
      {datagram, right, Fate::leaves},
      {datagram, with([](auto& h) { h.gso_type = gso_udp; }), Fate::refused},
      {test_frame(1), right, Fate::leaves},
      {test_frame(1, 20), right, Fate::leaves},
      {test_frame(1), with([](auto& h) { h.checksum_start = 65535; }), Fate::leaves},
      {test_frame(1), with([](auto& h) { h.checksum_offset = 65535; }), Fate::leaves},
      {Bytes(large.begin(), large.begin() + 40), right, Fate::leaves},
      {Bytes(large.begin(), large.begin() + 53), right, Fate::leaves},
      {large, {}, Fate::unsent},
      {large, with([](auto& h) { h.segment_bytes = 0; }), Fate::unsent},
      {large, with([](auto& h) { h.segment_bytes = 1; }), Fate::unsent},
      {large, with([](auto& h) { h.segment_bytes = 65535; }), Fate::unsent},
      {large, with([](auto& h) { h.gso_type = 0; }), Fate::unsent},
      {large, with([](auto& h) { h.gso_type = 77; }), Fate::unsent},
      {{}, {}, Fate::gone},
      {Bytes(5, 1), {}, Fate::refused},
  };
  TwoGuests guests({.refused = tso_to_guest | checksum_to_guest});
  const Reflector worker(*guests.ports, guests.to_number);
  std::uint64_t refused = 0;
  std::uint64_t unsent = 0;
  std::uint8_t number = 0;
  for (const auto& lie : lies) {
    CAPTURE(number);
    REQUIRE(guests.from_guest.send(lie.frame, 0, lie.header));
    const auto mark = test_frame(++number, 200);
    REQUIRE(guests.from_guest.send(mark));
    auto came = take(guests.to_guest);
    CHECK((came.bytes != mark) == (lie.fate == Fate::leaves));
    if (came.bytes != mark) {
      CHECK(came.bytes.size() == lie.frame.size());
      CHECK(came.header.flags == 0);
      CHECK(came.header.gso_type == 0);
      CHECK(take(guests.to_guest).bytes == mark);
    }
    refused += lie.fate == Fate::refused ? 1 : 0;
    unsent += lie.fate == Fate::unsent ? 1 : 0;
    CHECK(guests.ports->counters("from").value().errors == refused);
    CHECK(guests.ports->counters("to").value().unsent == unsent);
  }
}

TEST_CASE("rings that lie harm nobody else, and work when they start anew") {
  constexpr std::size_t receiving = 0;
  constexpr std::size_t sending = 1;
  constexpr std::uint64_t nowhere = 0x7fffffff0000;
  constexpr std::uint16_t more = Descriptor::has_next;
  const auto one = [](std::size_t ring, const Descriptor& descriptor) {
    return [=](VhostGuest& guest) {
      guest.ring(ring).descriptors[0] = descriptor;
      guest.offer(ring, 0);
    };
  };
  const auto here = [](std::size_t ring, Descriptor descriptor) {
    return [=](VhostGuest& guest) {
      auto mine = descriptor;
      mine.address += guest.buffer_address(ring, 0);
      guest.ring(ring).descriptors[0] = mine;
      guest.offer(ring, 0);
    };
  };
  const auto jump = [](std::size_t ring, std::uint16_t by) {
    return [=](VhostGuest& guest) {
      guest.ring(ring).available_index = static_cast<std::uint16_t>(guest.ring(ring).available_index + by);
      guest.kick(ring);
    };
  };
  const auto entry = [](std::size_t ring, std::uint16_t head) {
    return [=](VhostGuest& guest) { guest.offer(ring, head); };
  };
  const auto all = [](std::size_t ring, const Descriptor& descriptor) {
    return [=](VhostGuest& guest) {
      for (std::uint16_t i = 0; i < ring_size; ++i) {
        auto mine = descriptor;
        mine.next = static_cast<std::uint16_t>(i + 1);
        guest.ring(ring).descriptors[i] = mine;
      }
      guest.offer(ring, 0);
    };
  };
  const std::uint64_t end = std::uint64_t{ring_size} * 2 * VhostGuest::piece_bytes;
  const std::vector<std::function<void(VhostGuest&)>> lies = {
      one(sending, {0, 100, 0, 0}),
      one(sending, {nowhere, 100, 0, 0}),
      one(sending, {~std::uint64_t{0}, 100, 0, 0}),
      one(sending, {VhostGuest::buffers_at + end - 50, 100, 0, 0}),
      one(sending, {VhostGuest::buffers_at - 50, 100, 0, 0}),
      here(sending, {0, 0xffffffff, 0, 0}),
      here(sending, {0, 0, 0, 0}),
      here(sending, {0, 11, 0, 0}),
      here(sending, {0, 100, more, 0}),
      here(sending, {0, 100, more, 60000}),
      here(sending, {0, 0, more, 0}),
      here(sending, {0, 100, Descriptor::is_writable, 0}),
      here(sending, {0, 160, Descriptor::is_indirect, 0}),
      here(sending, {0, 7, Descriptor::is_indirect, 0}),
      here(sending, {0, 0xfffffff0, Descriptor::is_indirect, 0}),
      one(sending, {nowhere, 160, Descriptor::is_indirect, 0}),
      all(sending, {VhostGuest::buffers_at, 2048, more, 0}),
      all(sending, {VhostGuest::buffers_at, 0, more, 0}),
      all(sending, {VhostGuest::buffers_at, 0xffffffff, more, 0}),
      entry(sending, ring_size),
      entry(sending, 60000),
      jump(sending, 1),
      jump(sending, ring_size + 1),
      jump(sending, 40000),
      jump(sending, 65535),
      [&](VhostGuest& guest) {
        for (auto& descriptor : guest.ring(receiving).descriptors) descriptor.address = nowhere;
      },
      [&](VhostGuest& guest) {
        for (auto& descriptor : guest.ring(receiving).descriptors) descriptor.bytes = 0;
      },
      [&](VhostGuest& guest) {
        for (auto& descriptor : guest.ring(receiving).descriptors) descriptor.bytes = 0xffffffff;
      },
      [&](VhostGuest& guest) {
        for (auto& descriptor : guest.ring(receiving).descriptors) descriptor.flags = more;
      },
      [&](VhostGuest& guest) {
        for (auto& descriptor : guest.ring(receiving).descriptors) descriptor.flags = Descriptor::is_indirect;
      },
      [&](VhostGuest& guest) {
        for (auto& descriptor : guest.ring(receiving).descriptors) descriptor.flags = 0;
      },
      [&](VhostGuest& guest) { guest.ring(receiving).available.fill(60000); },
      jump(receiving, 40000),
      jump(receiving, 65535),
  };
  const ScratchDirectory scratch;
  const auto path = [&](const std::string& name) { return (scratch.path() / name).string(); };
  VhostGuest liar(path("liar"));
  VhostGuest honest(path("honest"));
  const auto ports = dpdk_ports({.buffers = 4096});
  open_port(*ports, dpdk_port("liar", "vhost:" + path("liar")));
  open_port(*ports, dpdk_port("honest", "vhost:" + path("honest")));
  const std::size_t before = AllQueues(*ports).free_buffers();
  {
    const Reflector worker(*ports);
    std::size_t number = 0;
    for (const auto& lie : lies) {
      CAPTURE(number);
      wait_guest(*ports, "liar", liar);
      wait_guest(*ports, "honest", honest);
      lie(liar);
      liar.send(test_frame(1));  // it may have no way any more
      for (std::uint8_t i = 0; i < 3; ++i) {
        REQUIRE(honest.send(test_frame(i)));
        CHECK(take(honest).bytes == test_frame(i));
      }
      liar.reboot();
      wait_guest(*ports, "liar", liar);
      REQUIRE(wait_until([&] {
        liar.send(test_frame(77));
        GuestFrame came;
        return liar.take_one(came) && came.bytes == test_frame(77);
      }));
      ++number;
    }
  }
  AllQueues workers(*ports);
  CHECK(wait_until([&] { return workers.free_buffers() >= before; }));
}

TEST_CASE("a worker may sleep although a ring holds what cannot be taken") {
  const ScratchDirectory scratch;
  const auto path = (scratch.path() / "guest").string();
  VhostGuest guest(path);
  const auto ports = dpdk_ports();
  open_port(*ports, dpdk_port("g", "vhost:" + path));
  wait_guest(*ports, "g", guest);
  guest.ring(1).descriptors[0] = {~std::uint64_t{0}, 100, 0, 0};
  guest.offer(1, 0);
  std::array<network::Packet, 4> packets;
  const auto start = std::chrono::steady_clock::now();
  for (int again = 0; again < 10; ++again) {
    ports->quiesce(0);
    CHECK(ports->receive(0, 0, packets) == 0);
    ports->wait(0, 10'000'000);
  }
  ports->leave(0);
  CHECK(std::chrono::steady_clock::now() - start > std::chrono::microseconds(300));
}

TEST_CASE(
    "who says nonsense on a guest's socket, or hangs up, does no harm, and the guest that comes after him is served") {
  const ScratchDirectory scratch;
  const auto path = [&](const std::string& name) { return (scratch.path() / name).string(); };
  VhostGuest honest(path("honest"));
  const auto ports = dpdk_ports({.buffers = 4096});
  open_port(*ports, dpdk_port("liar", "vhost:" + path("liar")));
  open_port(*ports, dpdk_port("honest", "vhost:" + path("honest")));
  const Reflector worker(*ports);
  wait_guest(*ports, "honest", honest);
  const auto check_honest = [&] {
    REQUIRE(honest.send(test_frame(1)));
    CHECK(take(honest).bytes == test_frame(1));
  };

  SUBCASE("before he is a guest") {
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path("liar").copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener.get(), 4) == 0);
    for (const auto& nonsense :
         {Bytes(), Bytes(5, 1), Bytes(12, 0xff), Bytes(4096, 0xaa), Bytes{1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1},
          Bytes{5, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0}}) {
      const UniqueFd caller(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      REQUIRE(caller.get() >= 0);
      static_cast<void>(::send(caller.get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL));
      CHECK_FALSE(is_port_up(*ports, "liar"));
      check_honest();
    }
    std::filesystem::remove(path("liar"));
  }
  SUBCASE("as a guest") {
    const UniqueFd file(::memfd_create("file", MFD_CLOEXEC));
    REQUIRE(::ftruncate(file.get(), 1 << 20) == 0);
    const auto region = [](MemoryRegion one, std::uint32_t count = 1) {
      struct {
        std::uint32_t count = 0;
        std::uint32_t padding = 0;
        MemoryRegion region;
      } table;
      table.count = count;
      table.region = one;
      return table;
    };
    constexpr std::uint64_t nowhere = 0x7fffffff0000;
    constexpr std::uint64_t most = ~std::uint64_t{0};
    // No memory that cannot be mapped: DPDK, up to its present day, leaves the rings in what it has unmapped.
    const std::vector<std::function<void(VhostGuest&)>> lies = {
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_addresses, RingAddresses{1, 0, nowhere, nowhere, nowhere, 0});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_addresses, RingAddresses{0, 0, 0, 0, 0, 0});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_addresses, RingAddresses{0, 0, most, most, most, most});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_addresses, RingAddresses{255, 0, 0, 0, 0, 0});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_addresses, RingAddresses{256, 0, 0, 0, 0, 0});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_size, RingState{1, 0});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_size, RingState{1, 255});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_size, RingState{1, 65536});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_base, RingState{1, 60000});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_base, RingState{0, 60000});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_enable, RingState{200, 1});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_enable, RingState{0xffffffff, 1});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_enable, RingState{0, 0});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_ring_enable, RingState{1, 0});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::get_ring_base, RingState{0, 0});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::get_ring_base, RingState{1, 0});
        },
        [&](VhostGuest& g) { g.tell(Ask::set_kick, std::uint64_t{1}); },
        [&](VhostGuest& g) { g.tell(Ask::set_kick, std::uint64_t{1}, {file.get()}); },
        [&](VhostGuest& g) {
          g.tell(Ask::set_kick, std::uint64_t{1}, {file.get(), file.get(), file.get()});
        },
        [&](VhostGuest& g) { g.tell(Ask::set_call, std::uint64_t{0}, {file.get()}); },
        [&](VhostGuest& g) { g.tell(Ask::set_call, std::uint64_t{0x1ff}, {file.get()}); },
        [&](VhostGuest& g) { g.tell(Ask::set_memory, region({}, 0)); },
        [&](VhostGuest& g) { g.tell(Ask::set_memory, region({}, 9), std::vector<int>(8, file.get())); },
        [&](VhostGuest& g) {
          g.tell(Ask::set_memory, region({0, 1 << 20, 4096, 0}), {file.get()});
        },
        [&](VhostGuest& g) {
          g.tell(Ask::set_memory, region({0, 1 << 20, 4096, 0}));
        },
        [&](VhostGuest& g) { g.tell(Ask::set_features, most); },
        [&](VhostGuest& g) { g.tell(Ask::set_features, std::uint64_t{0}); },
        [&](VhostGuest& g) { g.tell(Ask::reset_owner, std::uint64_t{0}); },
    };
    std::size_t number = 0;
    for (const auto& lie : lies) {
      CAPTURE(number);
      {
        VhostGuest liar(path("liar"), {.queues = static_cast<std::uint16_t>(1 + number % 2)});
        wait_guest(*ports, "liar", liar);
        lie(liar);
        for (int again = 0; again < 3; ++again) {
          liar.send(test_frame(1));
          liar.kick(1);
          check_honest();
        }
      }
      ++number;
    }
  }
  SUBCASE("as a guest, at random") {
    std::mt19937_64 random(2);  // NOLINT(cert-msc51-cpp): the same in each run
    const UniqueFd file(::memfd_create("file", MFD_CLOEXEC));
    REQUIRE(::ftruncate(file.get(), 1 << 20) == 0);
    for (int again = 0; again < 20; ++again) {
      VhostGuest liar(path("liar"), {.queues = 2});
      REQUIRE(wait_until([&] { return liar.is_up(); }));
      for (int message = 0; message < 100 && liar.is_up(); ++message) {
        std::array<std::uint64_t, 8> payload{};
        for (auto& word : payload) {
          word = random();
          if (word % 2 == 0) word = word >> 8 & 0x3ffffffff;
          if (word % 4 == 1) word &= 0x700000003;
        }
        // The payload has a length of its own for most of them; the wrong one makes the next message nonsense.
        const auto what = static_cast<Ask>(random() % 48);
        if (what == Ask::set_memory) continue;
        std::vector<int> fds(random() % 4 == 0 ? 1 + random() % 3 : 0, file.get());
        if (random() % 2 == 0)
          liar.tell(what, payload[0], fds);
        else
          liar.tell(what, payload, fds);
        liar.kick(1);
      }
      check_honest();
    }
  }

  VhostGuest guest(path("liar"));
  wait_guest(*ports, "liar", guest);
  REQUIRE(wait_until([&] {
    guest.send(test_frame(77));
    GuestFrame came;
    return guest.take_one(came) && came.bytes == test_frame(77);
  }));
  check_honest();
}

}  // namespace ironcore::tests
