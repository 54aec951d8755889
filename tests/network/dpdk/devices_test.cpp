// SPDX-License-Identifier: Apache-2.0
// Each kind of device with what is behind it.
#include <sched.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "../checked_packets.hpp"
#include "environment.hpp"
#include "tap_interface.hpp"

namespace ironcore::tests {

namespace {

/// One worker that hands everything from one port to another one, in both directions, on a thread of its own.
class Forwarder {
 public:
  Forwarder(network::Ports& ports, std::uint32_t one, std::uint32_t other)
      : thread_([this, &ports, one, other](std::stop_token stop) {
          std::array<network::Packet, 32> packets;
          while (!stop.stop_requested()) {
            ports.quiesce(0);
            std::size_t count = 0;
            for (const auto number : ports.polled(0)) {
              const auto some = std::span(packets).first(ports.receive(number, 0, packets));
              for (auto& packet : some) {
                packet.port = number == one ? other : one;
                if (packet.offload.needs_checksum) ++unfinished;
                if (packet.offload.segment_bytes != 0) ++to_be_cut;
              }
              ports.send(0, some);
              count += some.size();
            }
            if (count == 0) ports.wait(0, 10'000'000);
          }
          ports.leave(0);
        }) {}
  std::atomic<std::size_t> unfinished = 0;
  std::atomic<std::size_t> to_be_cut = 0;

 private:
  std::jthread thread_;
};

/// Frames in a file of the pcap format (little endian, microseconds, Ethernet).
Bytes pcap_of(const Frames& frames) {
  const auto put32 = [](Bytes& out, std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
  };
  Bytes out;
  for (const std::uint32_t word : {0xa1b2c3d4U, 0x00040002U, 0U, 0U, 65535U, 1U}) put32(out, word);
  for (const auto& frame : frames) {
    const auto bytes = static_cast<std::uint32_t>(frame.size());
    for (const std::uint32_t word : {0U, 0U, bytes, bytes}) put32(out, word);
    out.insert(out.end(), frame.begin(), frame.end());
  }
  return out;
}
Frames frames_of(const Bytes& file) {
  const auto get32 = [&](std::size_t at) {
    std::uint32_t value = 0;
    REQUIRE(at + 4 <= file.size());
    std::memcpy(&value, &file[at], 4);
    return value;
  };
  Frames out;
  for (std::size_t at = 24; at < file.size();) {
    const auto bytes = get32(at + 8);
    const auto begin = file.begin() + static_cast<std::ptrdiff_t>(at + 16);
    REQUIRE(at + 16 + bytes <= file.size());
    out.emplace_back(begin, begin + bytes);
    at += 16 + bytes;
  }
  return out;
}
Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write_file(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void send_frame(network::Ports& ports, std::uint32_t number, const Bytes& frame) {
  auto packet = ports.allocate(0);
  REQUIRE(packet.has_value());
  put(*packet, frame);
  packet->port = number;
  ports.send(0, {&*packet, 1});
}

/// Where a checksum is to be finished: from `start` on, at `offset` behind it.
struct OpenChecksum {
  std::uint16_t start = 0;
  std::uint16_t offset = 0;
};

/// Sends frames whose checksum is left to the card, as the kernel does with its own ones.
class OpenSender {
 public:
  explicit OpenSender(const std::string& interface) : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
    REQUIRE(socket_.get() >= 0);
    const int on = 1;
    REQUIRE(::setsockopt(socket_.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) == 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  void send(const OpenChecksum& open, const Bytes& frame) const {
    Bytes bytes(10);  // a virtio header: flags, and in the byte order of this machine both places
    bytes[0] = 1;
    std::memcpy(&bytes[6], &open.start, sizeof open.start);
    std::memcpy(&bytes[8], &open.offset, sizeof open.offset);
    bytes = bytes + frame;
    REQUIRE(::send(socket_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }

 private:
  UniqueFd socket_;
};

/// Ports 5000 and 6000, and something behind the header.
Bytes sctp_with(std::size_t payload) {
  Bytes out = sctp(5000, 6000);
  for (std::size_t i = 0; i < payload; ++i) out.push_back(static_cast<std::uint8_t>(i * 7));
  return out;
}

ErrorCode open_fails(network::Ports& ports, const network::PortSpec& spec) {
  const auto result = ports.open(spec);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().message().find("device") != std::string::npos);
  return result.error().code();
}

}  // namespace

TEST_CASE("null receives nothing and takes everything") {
  const auto ports = dpdk_ports();
  const auto port = open_port(*ports, dpdk_port("n", "null"));
  CHECK(port.is_up);
  AllQueues workers(*ports);
  const auto before = workers.free_buffers();
  for (std::uint8_t i = 0; i < 100; ++i) send_frame(*ports, port.number, test_frame(i));
  std::array<network::Packet, 4> packets;
  CHECK(ports->receive(port.number, 0, packets) == 0);
  CHECK(ports->counters("n").value() == network::PortCounters{.sent_packets = 100, .sent_bytes = 10000});
  CHECK(workers.free_buffers() == before);
}

TEST_CASE("frames of a capture file come in, and what is sent is in another one") {
  const ScratchDirectory scratch;
  const auto in = scratch.path() / "in.pcap";
  const auto out = scratch.path() / "out.pcap";
  Frames frames;
  for (const std::size_t bytes : {60, 61, 1514, 5000, 9014})
    frames.push_back(test_frame(static_cast<std::uint8_t>(frames.size()), bytes));
  write_file(in, pcap_of(frames));
  const auto ports = dpdk_ports();
  const auto source = open_port(*ports, dpdk_port("in", "pcap:rx=" + in.string(), 9000));
  const auto sink = open_port(*ports, dpdk_port("out", "pcap:tx=" + out.string(), 9000));
  {
    AllQueues workers(*ports);
    auto packets = workers.receive(frames.size());
    for (auto& packet : packets) packet.port = sink.number;
    ports->send(0, packets);
    std::array<network::Packet, 4> more;
    CHECK(ports->receive(source.number, 0, more) == 0);
  }
  REQUIRE(ports->close("out").has_value());
  CHECK(frames_of(read_file(out)) == frames);
}

TEST_CASE("a capture file can be repeated for ever") {
  const ScratchDirectory scratch;
  const auto in = scratch.path() / "in.pcap";
  write_file(in, pcap_of({test_frame(1), test_frame(2)}));
  const auto ports = dpdk_ports();
  open_port(*ports, dpdk_port("in", "pcap:rx=" + in.string() + ",infinite_rx=1"));
  AllQueues workers(*ports);
  const auto packets = workers.receive(1000);
  for (std::size_t i = 0; i < packets.size(); ++i) CHECK(packets[i].frame[5] == 1 + i % 2);
  ports->release(packets);
}

TEST_CASE("a capture file that is cut or lies about its lengths does no harm") {
  const ScratchDirectory scratch;
  const auto in = scratch.path() / "in.pcap";
  const auto whole = pcap_of({test_frame(1), test_frame(2, 5)});
  const auto ports = dpdk_ports();
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 7) {
    write_file(in, Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes)));
    if (!ports->open(dpdk_port("in", "pcap:rx=" + in.string())).has_value()) continue;
    {
      AllQueues workers(*ports);
      for (int i = 0; i < 3; ++i) {
        std::array<network::Packet, 4> packets;
        const auto count = ports->receive(ports->polled(0).front(), 0, packets);
        for (const auto& packet : std::span(packets).first(count)) CHECK(bytes_of(packet) == test_frame(1));
        ports->release(std::span(packets).first(count));
      }
    }
    REQUIRE(ports->close("in").has_value());
  }
  write_file(in, whole);
  open_port(*ports, dpdk_port("in", "pcap:rx=" + in.string()));
  AllQueues workers(*ports);
  const auto packet = workers.receive_one();
  ports->release({&packet, 1});
  CHECK(wait_until([&] {
    std::array<network::Packet, 4> packets;
    CHECK(ports->receive(ports->polled(0).front(), 0, packets) == 0);
    return ports->counters("in").value().errors == 1;  // no Ethernet header
  }));
}

TEST_CASE("devices that are not there are unavailable, and leave nothing behind") {
  const auto ports = dpdk_ports();
  for (int again = 0; again < 3; ++again) {
    CHECK(open_fails(*ports, dpdk_port("a", "pcap:rx=/proc/nonexistent/file.pcap")) == ErrorCode::unavailable);
    CHECK(open_fails(*ports, dpdk_port("a", "pcap:tx=/proc/nonexistent/file.pcap")) == ErrorCode::unavailable);
    CHECK(open_fails(*ports, dpdk_port("a", "af_packet:nonexistent")) == ErrorCode::unavailable);
    CHECK(open_fails(*ports, dpdk_port("a", "pci:0000:7f:1f.7")) == ErrorCode::unavailable);
  }
  const Interfaces pair("dv");
  run("ip link set dva mtu 1400");
  CHECK(open_fails(*ports, dpdk_port("a", "af_packet:dva")) == ErrorCode::unavailable);  // its MTU
  CHECK(ports->list().empty());
  CHECK(open_fails(*ports, dpdk_port("a", "tap:dva")) == ErrorCode::unavailable);  // another kind of interface
}

TEST_CASE("a tap that another one has is unavailable") {
  const auto one = dpdk_ports();
  const auto other = dpdk_ports();
  open_port(*one, dpdk_port("a", "tap:busy"));
  CHECK(open_fails(*other, dpdk_port("a", "tap:busy")) == ErrorCode::unavailable);
  REQUIRE(one->close("a").has_value());
  open_port(*other, dpdk_port("a", "tap:busy"));
  REQUIRE(other->close("a").has_value());
  CHECK(::if_nametoindex("busy") == 0);  // it was ours
}

TEST_CASE("there is room for so many devices of drivers, and again when one is closed") {
  const auto ports = dpdk_ports();
  Result<network::PortState> last = Error();
  int count = 0;
  while (last = ports->open(dpdk_port("n" + std::to_string(count), "null")), last.has_value()) ++count;
  CHECK(count == 31);
  CHECK(last.error().code() == ErrorCode::exhausted);
  open_port(*ports, dpdk_port("ring", "ring:beside"));  // of another kind
  REQUIRE(ports->close("n7").has_value());
  open_port(*ports, dpdk_port("m", "null"));
}

TEST_CASE("an interface of the kernel is used beside it") {
  const Interfaces pair("ap");
  const auto ports = dpdk_ports();
  const auto port = open_port(*ports, dpdk_port("a", "af_packet:apa"));
  wait_up(*ports, "a");
  FrameSocket outside("apb");
  AllQueues workers(*ports);
  for (const std::size_t bytes : {60, 1514}) {
    const auto frame = test_frame(1, bytes);
    REQUIRE(outside.send(frame));
    auto packet = workers.receive_one();
    CHECK(bytes_of(packet) == frame);
    packet.port = port.number;
    ports->send(0, {&packet, 1});
    Frames out;
    CHECK(wait_until([&] {
      for (auto& came : outside.take()) out.push_back(std::move(came));
      return !out.empty();
    }));
    CHECK(out == Frames{frame});
  }
  // Its peer goes down, and so does its link.
  outside.set_up(false);
  CHECK(wait_until([&] { return !ports->list()[0].is_up; }));
}

TEST_CASE("a checksum that the kernel leaves open to a virtual card is known to be open") {
  const Interfaces pair("ak");
  run("ip address add 192.0.2.1/24 dev akb && ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev akb");
  const auto ports = dpdk_ports();
  open_port(*ports, dpdk_port("a", "af_packet:aka"));
  wait_up(*ports, "a");
  const UniqueFd sender(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(7000);
  REQUIRE(::inet_pton(AF_INET, "192.0.2.2", &address.sin_addr) == 1);
  AllQueues workers(*ports);
  REQUIRE(::sendto(sender.get(), "open", 4, 0, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 4);
  std::size_t seen = 0;
  CHECK(wait_until([&] {
    std::array<network::Packet, 4> packets;
    const auto some = std::span(packets).first(ports->receive(ports->polled(0).front(), 0, packets));
    for (const auto& packet : some)
      seen += packet.bytes == 46 && packet.frame[23] == 17 && packet.offload.needs_checksum;
    ports->release(some);
    return seen != 0;
  }));
}

TEST_CASE("a checksum of SCTP that the kernel leaves open is finished as a CRC32c") {
  const Interfaces pair("as");
  const auto ports = dpdk_ports();
  const auto port = open_port(*ports, dpdk_port("a", "af_packet:asa", 9000));
  wait_up(*ports, "a");
  FrameSocket outside("asb");
  const OpenSender sender("asb");
  AllQueues workers(*ports);
  // What comes goes back as it is then, in one piece.
  const auto there_and_back = [&](const OpenChecksum& open, const Bytes& frame) {
    sender.send(open, frame);
    REQUIRE(wait_until([&] {
      std::array<network::Packet, 4> packets;
      const auto some = std::span(packets).first(ports->receive(ports->polled(0).front(), 0, packets));
      for (auto& packet : some) {
        CHECK_FALSE(packet.offload.needs_checksum);
        packet.port = port.number;
      }
      ports->send(0, some);
      return !some.empty();
    }));
    Frames out;
    CHECK(wait_until([&] {
      for (auto& came : outside.take()) out.push_back(std::move(came));
      return !out.empty();
    }));
    REQUIRE(out.size() == 1);
    return out.front();
  };
  const Bytes macs{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
  const Bytes type_v4{0x08, 0x00}, type_v6{0x86, 0xdd};
  constexpr std::uint8_t protocol = 132;
  for (const std::size_t payload : {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{5000}}) {
    CAPTURE(payload);
    Bytes packet = sctp_with(payload);
    const auto right = sctp_summed(packet);
    // Whatever is in the field is none of the sum.
    packet[8] = 0xee;
    const auto in_v4 = [&](const Bytes& sctp) {
      return v4(sctp, {.source = "10.0.0.1", .destination = "10.0.0.2", .protocol = protocol});
    };
    const auto in_v6 = [&](const Bytes& sctp) { return v6(sctp, {"fd00::1", "fd00::2", protocol}); };
    const auto in_tunnel = [&](const Bytes& sctp) { return v6(in_v4(sctp), {"fc00::1", "fc00::2", 4}); };
    const auto behind_extension = [&](const Bytes& sctp) {
      return v6(extension(protocol, 1, 4) + sctp, {"fd00::1", "fd00::2", 0});
    };
    CHECK(there_and_back({34, 8}, macs + type_v4 + in_v4(packet)) == macs + type_v4 + in_v4(right));
    CHECK(there_and_back({54, 8}, macs + type_v6 + in_v6(packet)) == macs + type_v6 + in_v6(right));
    CHECK(there_and_back({74, 8}, macs + type_v6 + in_tunnel(packet)) == macs + type_v6 + in_tunnel(right));
    CHECK(there_and_back({62, 8}, macs + type_v6 + behind_extension(packet)) ==
          macs + type_v6 + behind_extension(right));
    const Bytes padding(30, 0xaa);
    CHECK(there_and_back({34, 8}, macs + type_v4 + in_v4(packet) + padding) == macs + type_v4 + in_v4(right) + padding);
  }
  // Another field than that of SCTP's checksum is one of the Internet's, as before.
  const auto frame = macs + type_v4 + v4(sctp_with(16), {.protocol = protocol});
  auto expected = frame;
  const Bytes covered(frame.begin() + 46, frame.end());
  put16(expected, 46, checksum_of(covered));
  CHECK(there_and_back({46, 0}, frame) == expected);
}

TEST_CASE("long frames of an interface of the kernel come in pieces") {
  const Interfaces pair("aj");
  const auto ports = dpdk_ports();
  open_port(*ports, dpdk_port("a", "af_packet:aja", 9000));
  wait_up(*ports, "a");
  FrameSocket outside("ajb");
  AllQueues workers(*ports);
  const auto frame = test_frame(1, 9014);
  REQUIRE(outside.send(frame));
  const auto packet = workers.receive_one();
  CHECK(packet.frame_bytes == frame.size());
  CHECK(packet.bytes >= 2048);
  CHECK(std::equal(packet.frame, packet.frame + packet.bytes, frame.begin()));
  ports->release({&packet, 1});
}

TEST_CASE("two ends of shared memory find each other") {
  const ScratchDirectory scratch;
  const auto device = "memif:socket=" + (scratch.path() / "memif.sock").string();
  const auto ports = dpdk_ports();
  const auto server = open_port(*ports, dpdk_port("s", device + ",role=server"));
  const auto client = open_port(*ports, dpdk_port("c", device + ",role=client"));
  wait_up(*ports, "s");
  wait_up(*ports, "c");
  AllQueues workers(*ports);
  for (const auto& [from, to] : {std::pair(server, client), std::pair(client, server)}) {
    // Who receives gives the other end room by looking.
    std::array<network::Packet, 4> nothing;
    CHECK(ports->receive(to.number, 0, nothing) == 0);
    send_frame(*ports, from.number, test_frame(1, 1514));
    const auto packet = workers.receive_one();
    CHECK(packet.port == to.number);
    CHECK(bytes_of(packet) == test_frame(1, 1514));
    ports->release({&packet, 1});
  }
}

TEST_CASE("queues that are fewer than workers are shared, and each device is received by one of them") {
  const ScratchDirectory scratch;
  const auto file = scratch.path() / "out.pcap";
  const auto ports = dpdk_ports({.queues = 4, .buffers = 4096});
  std::set<std::uint32_t> numbers;
  for (int i = 0; i < 4; ++i) {
    const auto text = std::to_string(i);
    numbers.insert(open_port(*ports, dpdk_port("r" + text, "ring:" + text)).number);
  }
  std::set<std::uint32_t> polled;
  for (std::size_t queue = 0; queue < 4; ++queue) {
    ports->quiesce(queue);
    CHECK(ports->polled(queue).size() == 1);
    polled.insert(ports->polled(queue).begin(), ports->polled(queue).end());
    ports->leave(queue);
  }
  CHECK(polled == numbers);
  const auto sink = open_port(*ports, dpdk_port("out", "pcap:tx=" + file.string()));
  {
    std::vector<std::jthread> workers;
    for (std::size_t queue = 0; queue < 4; ++queue) {
      workers.emplace_back([&, queue] {
        ports->quiesce(queue);
        for (int round = 0; round < 1000; ++round) {
          if (auto packet = ports->allocate(queue)) {
            put(*packet, test_frame(static_cast<std::uint8_t>(queue)));
            packet->port = sink.number;
            ports->send(queue, {&*packet, 1});
          }
        }
        ports->leave(queue);
      });
    }
  }
  CHECK(ports->counters("out").value().sent_packets == 4000);
  REQUIRE(ports->close("out").has_value());
  std::array<std::size_t, 4> of_worker{};
  for (const auto& frame : frames_of(read_file(file))) {
    CHECK(frame == test_frame(frame[5]));
    ++of_worker.at(frame[5]);
  }
  CHECK(of_worker == std::array<std::size_t, 4>{1000, 1000, 1000, 1000});
}

TEST_CASE("TCP of the kernel passes two taps: checksums stay open and packets long on their way") {
  // The second machine is a network namespace that lives as long as this thread, and with it the interface.
  const auto ports = dpdk_ports({.buffers = 4096});
  const auto near = open_port(*ports, dpdk_port("near", "tap:near"));
  run("ip address add 192.0.2.1/24 dev near");
  std::atomic<std::size_t> received = 0;
  std::atomic<std::uint32_t> far = UINT32_MAX;
  std::atomic<bool> is_wrong = false;
  constexpr std::size_t total = 8'000'000;
  std::jthread machine([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    const auto state = ports->open(dpdk_port("far", "tap:far"));
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{30, 0};
    ::setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(7000);
    // Processes that it starts are in its namespace.
    if (!state || std::system("ip address add 192.0.2.2/24 dev far") != 0 ||
        ::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener, 1) != 0)
      return;
    far = state->number;
    const int connection = ::accept(listener, nullptr, nullptr);
    ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::vector<std::uint8_t> some(65536);
    while (true) {
      const auto bytes = ::read(connection, some.data(), some.size());
      if (bytes <= 0) break;
      for (ssize_t i = 0; i < bytes; ++i) {
        const auto expected = static_cast<std::uint8_t>((received + static_cast<std::size_t>(i)) % 251);
        if (some[static_cast<std::size_t>(i)] != expected) is_wrong = true;
      }
      received += static_cast<std::size_t>(bytes);
    }
    ::close(connection);
    ::close(listener);
  });
  REQUIRE(wait_until([&] { return far != UINT32_MAX; }));
  Forwarder forwarder(*ports, near.number, far);
  UniqueFd sender(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{30, 0};
  ::setsockopt(sender.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(7000);
  REQUIRE(::inet_pton(AF_INET, "192.0.2.2", &address.sin_addr) == 1);
  REQUIRE(::connect(sender.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  Bytes data(total);
  for (std::size_t i = 0; i < total; ++i) data[i] = static_cast<std::uint8_t>(i % 251);
  std::size_t sent = 0;
  while (sent < total) {
    const auto bytes = ::write(sender.get(), &data[sent], total - sent);
    REQUIRE(bytes > 0);
    sent += static_cast<std::size_t>(bytes);
  }
  REQUIRE(::shutdown(sender.get(), SHUT_WR) == 0);
  CHECK(wait_until([&] { return received == total; }));
  machine.join();
  CHECK_FALSE(is_wrong);
  CHECK(forwarder.unfinished > 0);
  CHECK(forwarder.to_be_cut > 0);
}

TEST_CASE("a thread that ends gives its number back: more threads than DPDK counts may come one after the other") {
  const auto ports = dpdk_ports();
  open_port(*ports, dpdk_port("n", "null"));
  const auto before = AllQueues(*ports).free_buffers();
  for (int i = 0; i < 300; ++i) {
    std::jthread([&] {
      ports->quiesce(0);
      if (auto packet = ports->allocate(0)) ports->release({&*packet, 1});
      ports->leave(0);
    });
  }
  CHECK(AllQueues(*ports).free_buffers() == before);
}

}  // namespace ironcore::tests
