// SPDX-License-Identifier: Apache-2.0
// Captures of a dataplane on ports in memory, read back by libpcap.
#include "ironcore/network/capture.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <pcap/pcap.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "configuration_objects.hpp"
#include "dataplane/capture_ring.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/network/pcap.hpp"
#include "ironcore/sim/ports.hpp"
#include "ironcore/sim/virtual_clock.hpp"
#include "packets.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

template <class T>
T good(Result<T> result) {
  REQUIRE_MESSAGE(result.has_value(), result.error().message());
  return *std::move(result);
}

struct Directory {
  std::filesystem::path path = [] {
    std::string name = (std::filesystem::temp_directory_path() / "capture-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    return name;
  }();
  ~Directory() { std::filesystem::remove_all(path); }
};

MacAddress machine_mac(std::uint32_t number) {
  return MacAddress({2, 0, 0, 1, 0, static_cast<std::uint8_t>(number)});
}

/// Two machines, `a` and `b`, that may talk to each other.
struct Host {
  explicit Host(std::size_t workers = 1, Clock* other_clock = nullptr, std::size_t ring_bytes = 256 * 1024)
      : ports(clock, ports_options(workers)) {
    DataplaneOptions options;
    options.underlay = prefix("2001:db8:0:1::/64");
    options.connections = 1000;
    options.maglev_size = 251;
    options.seed = 1;
    options.announces = false;
    options.captures = {.directory = directory.path.string(),
                        .compile = pcap::compile_filter,
                        .ring_bytes = ring_bytes,
                        .most_file_bytes = 1024 * 1024};
    dataplane = good(Dataplane::create(options, ports, other_clock != nullptr ? *other_clock : clock, log));
    add("a", "10.0.0.1", 1);
    add("b", "10.0.0.2", 2);
  }
  static sim::Ports::Options ports_options(std::size_t workers) {
    sim::Ports::Options options;
    options.queues = workers;
    options.steer = [](std::span<const std::uint8_t> frame) { return frame.size(); };
    return options;
  }
  void add(const std::string& id, std::string_view address, std::uint32_t number) {
    auto machine = interface(id, address);
    machine.mac = machine_mac(number);
    const std::vector<Change> batch{machine, rule(id, "all")};
    good(dataplane->apply(batch));
    open("port-" + id);
  }
  void open(const std::string& port) { good(ports.open({port, "memory:" + port, 1500, std::nullopt})); }

  /// From `a` to `b`, or back.
  Bytes frame(std::uint16_t to_port = 53, std::size_t payload = 3, bool is_back = false) const {
    const std::string from = is_back ? "port-b" : "port-a";
    Bytes out;
    for (const auto& port : ports.list())
      if (port.spec.name == from) out.assign(port.mac.bytes().begin(), port.mac.bytes().end());
    const auto mac = machine_mac(is_back ? 2 : 1);
    out.insert(out.end(), mac.bytes().begin(), mac.bytes().end());
    return out + Bytes{0x08, 0x00} +
           v4(udp(1000, to_port, Bytes(payload, 7)),
              {.source = is_back ? "10.0.0.2" : "10.0.0.1", .destination = is_back ? "10.0.0.1" : "10.0.0.2"});
  }
  /// Sends it through and gives what came out, if anything did.
  std::vector<sim::Frame> pass(const Bytes& bytes, bool is_back = false) {
    REQUIRE(ports.inject(is_back ? "port-b" : "port-a", bytes));
    for (int i = 0; i < 2; ++i)
      for (std::size_t worker = 0; worker < dataplane->workers(); ++worker) dataplane->step(worker);
    return ports.take(is_back ? "port-a" : "port-b");
  }
  CaptureState state(const std::string& id = "c") const {
    for (auto& one : dataplane->captures())
      if (one.spec.id == id) return one;
    FAIL("there is no capture " << id);
    return {};
  }
  std::string path(const std::string& name = "c.pcapng") const { return (directory.path / name).string(); }

  Directory directory;
  SystemClock clock;
  NullLog log;
  sim::Ports ports;
  std::unique_ptr<Dataplane> dataplane;
};

CaptureSpec to_file(const std::string& name = "c.pcapng", CaptureFormat format = CaptureFormat::pcapng) {
  CaptureSpec spec;
  spec.id = "c";
  spec.sink = CaptureFile{.name = name, .format = format};
  return spec;
}

Bytes slice_of(const Bytes& bytes, std::size_t from, std::size_t to) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(to)};
}

struct Read {
  std::int64_t time_ns = 0;
  std::uint32_t frame_bytes = 0;
  Bytes bytes;
};

/// Everything in it; fails unless libpcap finds it whole.
std::vector<Read> read_file(const std::string& path) {
  char why[PCAP_ERRBUF_SIZE] = {};
  const std::unique_ptr<pcap_t, decltype(&pcap_close)> file(
      pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, why), &pcap_close);
  REQUIRE_MESSAGE(file != nullptr, why);
  CHECK(pcap_datalink(file.get()) == DLT_EN10MB);
  std::vector<Read> out;
  pcap_pkthdr* header = nullptr;
  const u_char* bytes = nullptr;
  int got = 0;
  while ((got = pcap_next_ex(file.get(), &header, &bytes)) == 1)
    out.push_back(
        {header->ts.tv_sec * 1'000'000'000LL + header->ts.tv_usec, header->len, Bytes(bytes, bytes + header->caplen)});
  CHECK_MESSAGE(got == PCAP_ERROR_BREAK, pcap_geterr(file.get()));
  return out;
}

/// Port and direction of each frame of a pcapng file: `port-a in`.
std::vector<std::string> origins(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(in), {}};
  const auto word = [&](std::size_t at) {
    std::uint32_t value = 0;
    REQUIRE(at + 4 <= all.size());
    std::memcpy(&value, all.data() + at, 4);
    return value;
  };
  std::vector<std::string> names;
  std::vector<std::string> out;
  for (std::size_t at = 0; at < all.size(); at += word(at + 4)) {
    REQUIRE(word(at + 4) >= 12);
    CHECK(word(at + word(at + 4) - 4) == word(at + 4));
    if (word(at) == 1) names.push_back(all.substr(at + 20, word(at + 16) >> 16));
    if (word(at) != 6) continue;
    const auto options = at + 28 + (word(at + 20) + 3) / 4 * 4;
    CHECK(word(options) == (4U << 16 | 2U));
    out.push_back(names.at(word(at + 8)) + (word(options + 4) == 1 ? " in" : " out"));
  }
  return out;
}

struct UdpReceiver {
  explicit UdpReceiver(int family) : fd(::socket(family, SOCK_DGRAM, 0)) {
    REQUIRE(fd);
    sockaddr_storage at{};
    at.ss_family = static_cast<sa_family_t>(family);
    socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (family == AF_INET)
      reinterpret_cast<sockaddr_in&>(at).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
      reinterpret_cast<sockaddr_in6&>(at).sin6_addr = in6addr_loopback;
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), length) == 0);
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &length) == 0);
    port = ntohs(family == AF_INET ? reinterpret_cast<sockaddr_in&>(at).sin_port
                                   : reinterpret_cast<sockaddr_in6&>(at).sin6_port);
    const timeval patience{5, 0};
    REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
  }
  Bytes receive() {
    Bytes out(4096);
    const auto count = ::recv(fd.get(), out.data(), out.size(), 0);
    REQUIRE(count > 0);
    out.resize(static_cast<std::size_t>(count));
    return out;
  }
  UniqueFd fd;
  std::uint16_t port = 0;
};

/// Files of this process cannot be longer, as on a disk that is full.
struct LongestFile {
  explicit LongestFile(rlim_t bytes) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~LongestFile() {
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
  }
  rlimit before{};
  void (*handler)(int) = SIG_DFL;
};

}  // namespace

TEST_CASE("a frame is captured as it came and as it left, with its port and the time") {
  for (const auto format : {CaptureFormat::pcapng, CaptureFormat::pcap}) {
    Host host;
    const auto before = host.clock.wall();
    CHECK(good(host.dataplane->start_capture(to_file("c.pcapng", format))).phase == CaptureState::Phase::running);
    const auto sent = host.frame();
    const auto came = host.pass(sent);
    REQUIRE(came.size() == 1);
    CHECK(host.dataplane->write_captures() == 2);
    CHECK(host.dataplane->write_captures() == 0);
    const auto read = read_file(host.path());
    REQUIRE(read.size() == 2);
    CHECK(read[0].bytes == sent);
    CHECK(read[1].bytes == came[0].bytes);
    for (const auto& one : read) {
      CHECK(one.frame_bytes == one.bytes.size());
      CHECK(one.time_ns >= before.time_since_epoch().count() - 1'000'000);
      CHECK(one.time_ns <= host.clock.wall().time_since_epoch().count());
    }
    if (format == CaptureFormat::pcapng)
      CHECK(origins(host.path()) == std::vector<std::string>{"port-a in", "port-b out"});
    const auto state = good(host.dataplane->stop_capture("c"));
    CHECK(state.seen == 2);
    CHECK(state.written == 2);
    CHECK(state.lost == 0);
    CHECK(state.bytes == std::filesystem::file_size(host.path()));
    CHECK(state.reason == "it was stopped");
    // Nothing is captured any more.
    CHECK(host.pass(sent).size() == 1);
    CHECK(host.dataplane->write_captures() == 0);
    CHECK(host.dataplane->captures().empty());
  }
}

TEST_CASE("what is dropped is seen as it came") {
  Host host;
  good(host.dataplane->start_capture(to_file()));
  auto spoofed = host.frame();
  spoofed[14 + 15] = 99;
  CHECK(host.pass(spoofed).empty());
  good(host.dataplane->stop_capture("c"));
  CHECK(origins(host.path()) == std::vector<std::string>{"port-a in"});
}

TEST_CASE("ports and direction choose what is captured, also at ports that come later") {
  Host host;
  const auto start = [&](const std::string& id, std::vector<std::string> ports, CaptureDirection direction) {
    auto spec = to_file(id + ".pcapng");
    spec.id = id;
    spec.ports = std::move(ports);
    spec.direction = direction;
    good(host.dataplane->start_capture(spec));
  };
  start("all", {}, CaptureDirection::both);
  start("in", {}, CaptureDirection::in);
  start("out", {}, CaptureDirection::out);
  start("b", {"port-b"}, CaptureDirection::both);
  start("b-in", {"port-b"}, CaptureDirection::in);
  host.pass(host.frame());
  host.pass(host.frame(1000, 3, true), true);
  // A port that goes and comes again, and one more.
  good(host.ports.close("port-b"));
  host.add("d", "10.0.0.4", 4);
  host.open("port-b");
  host.pass(host.frame());
  REQUIRE(host.ports.inject("port-d", host.frame()));
  host.dataplane->step(0);
  for (const auto* id : {"all", "in", "out", "b", "b-in"}) good(host.dataplane->stop_capture(id));
  using Origins = std::vector<std::string>;
  CHECK(origins(host.path("all.pcapng")) ==
        Origins{"port-a in", "port-b out", "port-b in", "port-a out", "port-a in", "port-b out", "port-d in"});
  CHECK(origins(host.path("in.pcapng")) == Origins{"port-a in", "port-b in", "port-a in", "port-d in"});
  CHECK(origins(host.path("out.pcapng")) == Origins{"port-b out", "port-a out", "port-b out"});
  CHECK(origins(host.path("b.pcapng")) == Origins{"port-b out", "port-b in", "port-b out"});
  CHECK(origins(host.path("b-in.pcapng")) == Origins{"port-b in"});
  // libpcap reads interfaces that were told between frames.
  CHECK(read_file(host.path("all.pcapng")).size() == 7);
}

TEST_CASE("a filter in tcpdump's words chooses frames, and a snap length what is kept of them") {
  Host host;
  auto spec = to_file();
  spec.filter = "udp dst port 53 and (host 10.0.0.1 or net 192.0.2.0/24) and ip[8] > 1";
  spec.direction = CaptureDirection::in;
  spec.snap_length = 64;
  good(host.dataplane->start_capture(spec));
  host.pass(host.frame(80));
  host.pass(host.frame(53, 500));
  host.pass(host.frame(54));
  const auto state = good(host.dataplane->stop_capture("c"));
  CHECK(state.seen == 1);
  const auto read = read_file(host.path());
  REQUIRE(read.size() == 1);
  CHECK(read[0].bytes.size() == 64);
  CHECK(read[0].frame_bytes == 14 + 20 + 8 + 500);
}

TEST_CASE("filters that people write are understood") {
  const Bytes frame = Bytes{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00} +
                      v4(tcp(4000, 80, 0x12), {.source = "10.0.0.1", .destination = "10.0.0.2", .protocol = 6});
  const auto matches = [&](const std::string& text) {
    const auto filter = good(pcap::compile_filter(text));
    return filter->matches(frame, static_cast<std::uint32_t>(frame.size()));
  };
  for (const char* text : {"tcp",
                           "tcp port 80",
                           "port http",
                           "src port 4000 and dst port http",
                           "tcp portrange 80-90",
                           "host 10.0.0.1",
                           "net 10.0",
                           "net 10.0.0.0/8",
                           "src net 10.0.0.0 mask 255.0.0.0",
                           "ether src 02:00:00:00:00:02",
                           "ether host 02:00:00:00:00:01",
                           "tcp[tcpflags] & (tcp-syn|tcp-ack) != 0",
                           "tcp[13] & 0x12 == 0x12",
                           "ip proto \\tcp",
                           "not udp and !arp",
                           "len > 40",
                           "less 100",
                           "ip[2:2] - 20 = 20",
                           "ether[0:4]=0x02000000",
                           "(tcp or icmp6) and not host fe80::1",
                           "not ip6 net 2001:db8::/32",
                           "not vlan 7",
                           "ether proto 0x800"})
    CHECK_MESSAGE(matches(text), text);
  for (const char* text : {"udp", "port 53", "host 10.0.0.3", "ip6", "arp", "tcp[tcpflags] = tcp-syn", "greater 200",
                           "vlan", "icmp[icmptype] = icmp-echo", "icmp6[icmp6type]=icmp6-echo", "ip6 host ::1"})
    CHECK_MESSAGE(!matches(text), text);
  // A machine's packet on the wire.
  Bytes outer(40);
  outer[0] = 0x60;
  outer[6] = 4;
  const Bytes wire = slice_of(frame, 0, 12) + Bytes{0x86, 0xdd} + outer + slice_of(frame, 14, frame.size());
  CHECK(good(pcap::compile_filter("ip6 proto 4 and ip6[52:4] = 0x0a000001"))
            ->matches(wire, static_cast<std::uint32_t>(wire.size())));
  // What is cut off does not match, and is not read.
  const auto deep = good(pcap::compile_filter("ip[2000] = 7 or tcp[100:4] = 0"));
  CHECK_FALSE(deep->matches(frame, 9000));
  CHECK_FALSE(deep->matches({}, 0));
}

TEST_CASE("a hostile filter is refused, and nobody is asked about names") {
  for (const std::string text : {"host www.example.com",
                                 "host localhost",
                                 "cafe",
                                 "host cafe",
                                 "host \\tcp",
                                 "net example",
                                 "host 10-20",
                                 "host 1abc.example.com",
                                 "ip proto \\evil.example.com",
                                 "ether host evil",
                                 "host a:b",
                                 "gateway evil",
                                 "protochain 6",
                                 "ip protochain 6",
                                 "host 0.0.0.1.example",
                                 "tcp or udp)",
                                 "(((((",
                                 "port",
                                 "tcp tcp",
                                 "&&",
                                 "port 99999",
                                 "host 300.1.1.1",
                                 "ip[1",
                                 "len > ",
                                 "tcp[0:3] = 1",
                                 "port -1",
                                 "inbound",
                                 "on eth0",
                                 "type mgt",
                                 "host 10.0.0.1/8",
                                 "\"tcp\"",
                                 "tcp; reboot",
                                 "tcp\x01",
                                 "t\xc3\xa4st",
                                 "1/0",
                                 "len-4=0",
                                 "portrange a-b",
                                 "port evil.example.com",
                                 "wlan host 1",
                                 "0x",
                                 "\\",
                                 "tcp \\"}) {
    const auto filter = pcap::compile_filter(text);
    REQUIRE_MESSAGE(!filter.has_value(), text);
    CHECK_MESSAGE(filter.error().code() == ErrorCode::invalid, text);
    CHECK_FALSE(filter.error().message().empty());
  }
  CHECK(pcap::compile_filter(std::string("tcp\0or udp", 10)).error().code() == ErrorCode::invalid);
  CHECK_FALSE(pcap::compile_filter(std::string(1500, '(')).has_value());
  CHECK_FALSE(pcap::compile_filter(std::string(1500, '!')).has_value());
  CHECK(pcap::compile_filter(std::string(5000, ' ')).error().code() == ErrorCode::exhausted);
  std::string many = "ip6 host 2001:db8::1";
  for (int i = 2; many.size() < 1480; ++i) many += " or 2001:db8:" + std::to_string(i) + "::" + std::to_string(i);
  const auto long_one = pcap::compile_filter(many);
  if (!long_one) CHECK(long_one.error().code() == ErrorCode::exhausted);
  CHECK(pcap::compile_filter("").has_value());
}

TEST_CASE("a capture that cannot be is refused with the field that is wrong, and leaves nothing behind") {
  Host host;
  const auto refused = [&](const CaptureSpec& spec, ErrorCode code, std::string_view word) {
    const auto started = host.dataplane->start_capture(spec);
    REQUIRE_FALSE(started.has_value());
    CHECK_MESSAGE(started.error().code() == code, started.error().message());
    CHECK_MESSAGE(started.error().message().find(word) != std::string::npos, started.error().message());
  };
  for (const char* name : {"", "../c", "/etc/passwd", "a/b", ".hidden", "..", "a b", "a\n"})
    refused(to_file(name), ErrorCode::invalid, "sink.name");
  auto spec = to_file();
  spec.id = "a/b";
  spec.snap_length = 63;
  spec.ports = {"port-a", "port-a"};
  spec.filter = std::string(1025, ' ');
  const auto all = host.dataplane->start_capture(spec).error();
  std::vector<std::string> fields;
  for (const auto& field : all.fields()) fields.push_back(field.field);
  CHECK(fields == std::vector<std::string>{"id", "ports[1]", "filter", "snap_length"});

  spec = to_file();
  spec.ports = {"port-a", "port-x"};
  refused(spec, ErrorCode::not_found, "port-x");
  spec = to_file();
  spec.filter = "tcp prot 80";
  refused(spec, ErrorCode::invalid, "filter: \"prot\"");
  spec = to_file();
  spec.sink = CaptureUdp{.address = ip("0.0.0.0")};
  refused(spec, ErrorCode::invalid, "sink.address");
  spec.sink = CaptureUdp{.address = ip("192.0.2.1"), .port = 0, .vni = 1 << 24};
  refused(spec, ErrorCode::invalid, "sink.vni");
  // The way out of brackets leads nowhere.
  spec.sink = CaptureUdp{.address = ip("127.0.0.1")};
  spec.filter = "tcp) or (udp";
  refused(spec, ErrorCode::invalid, "filter");
  CHECK(host.dataplane->captures().empty());
  CHECK(std::filesystem::is_empty(host.directory.path));
}

TEST_CASE("a file is only ours, takes nobody's place unless it is told to, and follows no link") {
  Host host;
  good(host.dataplane->start_capture(to_file()));
  struct stat seen {};
  REQUIRE(::stat(host.path().c_str(), &seen) == 0);
  CHECK((seen.st_mode & 07777) == 0600);
  // The same once more is no change; another one of the same id, or into the same file, is refused.
  CHECK(good(host.dataplane->start_capture(to_file())).phase == CaptureState::Phase::running);
  auto other = to_file("d.pcapng");
  CHECK(host.dataplane->start_capture(other).error().code() == ErrorCode::already_exists);
  other = to_file();
  other.id = "d";
  std::get<CaptureFile>(other.sink).existing = CaptureFile::Existing::replace;
  CHECK(host.dataplane->start_capture(other).error().code() == ErrorCode::already_exists);
  host.pass(host.frame());
  good(host.dataplane->stop_capture("c"));
  CHECK(host.dataplane->stop_capture("c").error().code() == ErrorCode::not_found);

  const auto again = host.dataplane->start_capture(to_file());
  CHECK(again.error().code() == ErrorCode::already_exists);
  CHECK(read_file(host.path()).size() == 2);
  good(host.dataplane->start_capture(other));
  good(host.dataplane->stop_capture("d"));
  CHECK(read_file(host.path()).empty());

  const auto target = host.directory.path / "target";
  std::ofstream(target) << "mine";
  std::filesystem::create_symlink(target, host.directory.path / "link");
  std::filesystem::create_hard_link(target, host.directory.path / "hard");
  CHECK(host.dataplane->start_capture(to_file("link")).error().code() == ErrorCode::already_exists);
  for (const auto* name : {"link", "hard"}) {
    auto replacing = to_file(name);
    std::get<CaptureFile>(replacing.sink).existing = CaptureFile::Existing::replace;
    good(host.dataplane->start_capture(replacing));
    good(host.dataplane->stop_capture("c"));
  }
  CHECK(std::filesystem::file_size(target) == 4);
  CHECK_FALSE(std::filesystem::is_symlink(host.directory.path / "link"));
}

TEST_CASE("a name that is odd is refused by a sentence that says what to do, and nothing is overwritten") {
  Host host;
  const auto inside = host.directory.path / "inside";
  std::filesystem::create_directory(inside);
  std::ofstream(inside / "kept") << "mine";
  const Directory elsewhere;
  const auto outside = (elsewhere.path / "file").string();
  std::ofstream(outside) << "mine";
  std::filesystem::create_symlink(outside, host.directory.path / "out");
  std::filesystem::create_symlink(inside, host.directory.path / "in");
  std::filesystem::create_symlink("/nowhere/at/all", host.directory.path / "broken");
  REQUIRE(::mkfifo((host.directory.path / "fifo").c_str(), 0600) == 0);
  const auto refused = [&](const std::string& name, CaptureFile::Existing existing, ErrorCode code,
                           std::string_view word) {
    CAPTURE(name);
    auto spec = to_file(name);
    std::get<CaptureFile>(spec.sink).existing = existing;
    const auto started = host.dataplane->start_capture(spec);
    REQUIRE_FALSE(started.has_value());
    CHECK(started.error().code() == code);
    CHECK_MESSAGE(started.error().message().find(word) != std::string::npos, started.error().message());
    CHECK(host.dataplane->captures().empty());
  };
  for (const auto existing : {CaptureFile::Existing::refuse, CaptureFile::Existing::replace}) {
    refused("inside", existing, ErrorCode::already_exists, "is a directory");
    refused("inside/kept", existing, ErrorCode::invalid, "letters");
    refused("in/kept", existing, ErrorCode::invalid, "letters");
    refused("../" + elsewhere.path.filename().string() + "/file", existing, ErrorCode::invalid, "letters");
    refused(outside, existing, ErrorCode::invalid, "letters");
    refused(".", existing, ErrorCode::invalid, "'.' at the front");
    refused(std::string(129, 'x'), existing, ErrorCode::invalid, "1 to 128");
    refused(std::string(100'000, 'x'), existing, ErrorCode::invalid, "1 to 128");
    refused(std::string("a\0b", 3), existing, ErrorCode::invalid, "letters");
  }
  for (const auto* name : {"out", "in", "broken", "fifo"})
    refused(name, CaptureFile::Existing::refuse, ErrorCode::already_exists, "give another name");
  CHECK(std::filesystem::file_size(inside / "kept") == 4);
  CHECK(std::filesystem::file_size(outside) == 4);
  CHECK_FALSE(std::filesystem::exists("/nowhere"));
  // The longest name that there can be is one.
  good(host.dataplane->start_capture(to_file(std::string(128, 'x'))));
}

TEST_CASE("without a directory, or with one that is none, there are no files") {
  SystemClock clock;
  NullLog log;
  sim::Ports ports(clock);
  DataplaneOptions options;
  options.underlay = prefix("2001:db8:0:1::/64");
  options.connections = 100;
  options.maglev_size = 251;
  const auto code = [&](const CaptureSpec& spec) {
    return good(Dataplane::create(options, ports, clock, log))->start_capture(spec).error().code();
  };
  CHECK(code(to_file()) == ErrorCode::unsupported);
  auto filtered = to_file();
  filtered.filter = "tcp";
  CHECK(code(filtered) == ErrorCode::unsupported);
  options.captures.directory = "/nowhere/at/all";
  CHECK(code(to_file()) == ErrorCode::not_found);
  const Directory directory;
  options.captures.directory = (directory.path / "file").string();
  std::ofstream(options.captures.directory) << "x";
  CHECK(code(to_file()) == ErrorCode::not_found);
  options.captures.ring_bytes = 100'000;
  const auto made = Dataplane::create(options, ports, clock, log);
  REQUIRE_FALSE(made.has_value());
  CHECK(made.error().message().find("captures.ring_bytes") != std::string::npos);
}

TEST_CASE("a capture ends by itself at its limits") {
  Host host;
  auto spec = to_file();
  spec.most_packets = 3;
  good(host.dataplane->start_capture(spec));
  for (int i = 0; i < 4; ++i) host.pass(host.frame());
  host.dataplane->write_captures();
  CHECK(host.state().phase == CaptureState::Phase::ended);
  CHECK(host.state().written == 3);
  CHECK(host.state().reason == "it has as many packets as it was asked for");
  CHECK(read_file(host.path()).size() == 3);
  const auto seen = host.state().seen;
  host.pass(host.frame());
  CHECK(host.state().seen == seen);
  // It holds its id until it is stopped.
  CHECK(host.dataplane->start_capture(spec).error().code() == ErrorCode::already_exists);
  good(host.dataplane->stop_capture("c"));

  for (const std::uint64_t most : {1U, 200U, 1000U, 1001U, 1002U, 1003U, 1004U}) {
    spec = to_file("bytes-" + std::to_string(most));
    spec.most_bytes = most;
    good(host.dataplane->start_capture(spec));
    for (int i = 0; i < 20; ++i) host.pass(host.frame());
    host.dataplane->write_captures();
    CHECK(host.state().phase == CaptureState::Phase::ended);
    CHECK(host.state().reason == "it has as many bytes as it may have");
    const auto bytes = std::filesystem::file_size(host.path("bytes-" + std::to_string(most)));
    CHECK(bytes == host.state().bytes);
    if (most >= 200) CHECK(bytes <= most);
    CHECK(read_file(host.path("bytes-" + std::to_string(most))).size() == host.state().written);
    good(host.dataplane->stop_capture("c"));
  }

  // The host's own limit holds for all.
  spec = to_file("host");
  spec.most_bytes = 100 * 1024 * 1024;
  good(host.dataplane->start_capture(spec));
  for (int i = 0; i < 1500; ++i) {
    host.pass(host.frame(53, 1000));
    if (i % 50 == 0) host.dataplane->write_captures();
  }
  CHECK(host.state().phase == CaptureState::Phase::ended);
  CHECK(std::filesystem::file_size(host.path("host")) <= 1024 * 1024);
}

TEST_CASE("a full disk ends the capture, leaves whole frames and does not touch forwarding") {
  Host host;
  good(host.dataplane->start_capture(to_file()));
  for (int i = 0; i < 4; ++i) host.pass(host.frame(53, 500));
  host.dataplane->write_captures();
  const auto before = std::filesystem::file_size(host.path());
  {
    const LongestFile full(before + 700);
    for (int i = 0; i < 4; ++i) CHECK(host.pass(host.frame(53, 500)).size() == 1);
    host.dataplane->write_captures();
  }
  const auto state = host.state();
  CHECK(state.phase == CaptureState::Phase::failed);
  CHECK_MESSAGE(state.reason.find("write " + host.path()) != std::string::npos, state.reason);
  CHECK(state.written == 8);
  CHECK(state.lost == 8);
  CHECK(std::filesystem::file_size(host.path()) == before);
  CHECK(read_file(host.path()).size() == 8);
  CHECK(host.pass(host.frame()).size() == 1);
  {
    const LongestFile full(10);
    CHECK_FALSE(host.dataplane
                    ->start_capture([] {
                      auto spec = to_file("new");
                      spec.id = "new";
                      return spec;
                    }())
                    .has_value());
  }
  CHECK_FALSE(std::filesystem::exists(host.path("new")));
}

TEST_CASE("what nobody writes in time is lost and counted, and forwarded all the same") {
  Host host(1, nullptr, 64 * 1024);
  good(host.dataplane->start_capture(to_file()));
  for (int i = 0; i < 200; ++i) CHECK(host.pass(host.frame(53, 1000)).size() == 1);
  CHECK(host.state().seen == 400);
  CHECK(host.state().lost > 300);
  CHECK(host.state().written == 0);
  const auto state = good(host.dataplane->stop_capture("c"));
  CHECK(state.written + state.lost == state.seen);
  CHECK(state.written > 50);
  CHECK(read_file(host.path()).size() == state.written);
}

TEST_CASE("frames go to somebody else as datagrams, but not those that go there already") {
  for (const int family : {AF_INET, AF_INET6}) {
    UdpReceiver receiver(family);
    Host host;
    CaptureSpec spec;
    spec.id = "c";
    spec.direction = CaptureDirection::in;
    spec.sink =
        CaptureUdp{.address = ip(family == AF_INET ? "127.0.0.1" : "::1"), .port = receiver.port, .vni = 0x010203};
    good(host.dataplane->start_capture(spec));
    auto plain = spec;
    plain.id = "plain";
    plain.filter = "udp port 53 or vlan";
    std::get<CaptureUdp>(plain.sink).encapsulation = CaptureUdp::Encapsulation::plain;
    const auto sent = host.frame();
    host.pass(sent);
    CHECK(host.dataplane->write_captures() == 1);
    CHECK(receiver.receive() == Bytes{8, 0, 0, 0, 1, 2, 3, 0} + sent);
    good(host.dataplane->stop_capture("c"));
    good(host.dataplane->start_capture(plain));
    host.pass(host.frame(54));
    host.pass(sent);
    if (family == AF_INET) {
      auto own = host.frame(receiver.port);
      put_address(own, 14 + 16, "127.0.0.1");
      host.pass(own);
    }
    CHECK(host.dataplane->write_captures() == 1);
    CHECK(receiver.receive() == sent);
    CHECK(host.state("plain").written == 1);
  }
}

TEST_CASE("datagrams that cannot be sent are lost and counted") {
  std::uint16_t nobody = 0;
  {
    const UdpReceiver gone(AF_INET);
    nobody = gone.port;
  }
  Host host;
  CaptureSpec spec;
  spec.id = "c";
  spec.sink = CaptureUdp{.address = ip("127.0.0.1"), .port = nobody};
  good(host.dataplane->start_capture(spec));
  for (int i = 0; i < 5; ++i) host.pass(host.frame());
  host.dataplane->write_captures();
  const auto state = host.state();
  CHECK(state.phase == CaptureState::Phase::running);
  CHECK(state.seen == 10);
  CHECK(state.lost >= 4);
  CHECK(state.written + state.lost == 10);
}

TEST_CASE("a stream is read in pieces, each as often as it takes, and ends") {
  Host host;
  CaptureSpec spec;
  spec.id = "c";
  spec.sink = CaptureStream{CaptureFormat::pcap};
  spec.most_packets = 4;
  good(host.dataplane->start_capture(spec));
  std::string all = good(host.dataplane->read_capture("c", 0)).bytes;
  CHECK(all.size() == 24);
  host.pass(host.frame());
  host.dataplane->write_captures();
  const auto first = good(host.dataplane->read_capture("c", all.size()));
  CHECK_FALSE(first.bytes.empty());
  CHECK(good(host.dataplane->read_capture("c", all.size())).bytes == first.bytes);
  CHECK(host.dataplane->read_capture("c", 0).error().code() == ErrorCode::gone);
  CHECK(host.dataplane->read_capture("c", 10'000).error().code() == ErrorCode::invalid);
  CHECK(host.dataplane->read_capture("x", 0).error().code() == ErrorCode::not_found);
  all += first.bytes;
  host.pass(host.frame());
  host.dataplane->write_captures();
  for (;;) {
    const auto chunk = good(host.dataplane->read_capture("c", all.size()));
    all += chunk.bytes;
    if (chunk.is_last) break;
    REQUIRE_FALSE(chunk.bytes.empty());
  }
  std::ofstream(host.path("stream"), std::ios::binary) << all;
  CHECK(read_file(host.path("stream")).size() == 4);
  CHECK(host.state().phase == CaptureState::Phase::ended);

  auto file = to_file();
  file.id = "file";
  good(host.dataplane->start_capture(file));
  CHECK(host.dataplane->read_capture("file", 0).error().code() == ErrorCode::wrong_state);
}

TEST_CASE("a stream that is full loses the new ones, and one that nobody reads ends") {
  sim::VirtualClock clock;
  Host host(1, &clock, 64 * 1024);
  CaptureSpec spec;
  spec.id = "c";
  spec.sink = CaptureStream{};
  good(host.dataplane->start_capture(spec));
  for (int i = 0; i < 3000; ++i) {
    host.pass(host.frame(53, 1000));
    host.dataplane->write_captures();
  }
  const auto state = host.state();
  CHECK(state.seen == 6000);
  CHECK(state.lost > 1000);
  CHECK(state.bytes <= 4 * 1024 * 1024);
  CHECK(state.bytes > 3 * 1024 * 1024);
  CHECK(good(host.dataplane->read_capture("c", 0)).bytes.size() == 1024 * 1024);
  clock.advance(std::chrono::seconds(9));
  host.dataplane->write_captures();
  CHECK(host.dataplane->captures().size() == 1);
  clock.advance(std::chrono::seconds(2));
  host.dataplane->write_captures();
  CHECK(host.dataplane->captures().empty());
}

TEST_CASE("there are so many captures and no more") {
  Host host;
  for (std::size_t i = 0; i < most_captures; ++i) {
    auto spec = to_file("f" + std::to_string(i));
    spec.id = "c" + std::to_string(i);
    good(host.dataplane->start_capture(spec));
  }
  CHECK(host.dataplane->start_capture(to_file()).error().code() == ErrorCode::exhausted);
  CHECK_FALSE(std::filesystem::exists(host.path()));
  host.pass(host.frame());
  CHECK(host.dataplane->write_captures() == 2 * most_captures);
  good(host.dataplane->stop_capture("c3"));
  CHECK(good(host.dataplane->start_capture(to_file())).phase == CaptureState::Phase::running);
}

TEST_CASE("captures start and stop while workers forward, and each frame is written or counted as lost") {
  Host host(2);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < 2; ++i)
    threads.emplace_back([&host, i](std::stop_token stop) { host.dataplane->run(i, stop); });
  threads.emplace_back([&host](std::stop_token stop) { host.dataplane->run_captures(stop); });
  std::atomic<std::uint64_t> injected = 0;
  threads.emplace_back([&](std::stop_token stop) {
    for (std::size_t i = 0; !stop.stop_requested(); ++i) {
      if (host.ports.inject("port-a", host.frame(53, 10 + i % 7))) injected.fetch_add(1);
      host.ports.take("port-b");
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  std::uint64_t all_seen = 0;
  for (int i = 0; i < 20; ++i) {
    auto spec = to_file("f" + std::to_string(i));
    if (i % 2 == 0) spec.filter = "udp port 53";
    good(host.dataplane->start_capture(spec));
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (host.state().written < 10 && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto state = good(host.dataplane->stop_capture("c"));
    CHECK(state.written >= 10);
    CHECK(state.written + state.lost == state.seen);
    const auto read = read_file(host.path("f" + std::to_string(i)));
    CHECK(read.size() == state.written);
    all_seen += state.seen;
  }
  threads.clear();
  CHECK(all_seen <= 2 * injected.load());
}

TEST_CASE("a ring gives back what went in, of any sizes, and says when there is no room") {
  network::dataplane::CaptureRing ring(4096);
  std::uint32_t next_in = 0;
  std::uint32_t next_out = 0;
  std::uint32_t random = 1;
  const auto size_of = [](std::uint32_t number) { return number * 2654435761U % 700; };
  bool was_full = false;
  for (int i = 0; i < 20'000; ++i) {
    random = random * 1664525 + 1013904223;
    if ((random >> 16) % 3 != 0) {
      const Bytes bytes(size_of(next_in), static_cast<std::uint8_t>(next_in));
      if (ring.push({.time_ns = next_in, .bytes = static_cast<std::uint32_t>(bytes.size())}, bytes.data()))
        ++next_in;
      else
        was_full = true;
    } else if (const auto head = ring.front()) {
      REQUIRE(head->time_ns == next_out);
      const auto frame = ring.frame(*head);
      REQUIRE(Bytes(frame.begin(), frame.end()) == Bytes(size_of(next_out), static_cast<std::uint8_t>(next_out)));
      ring.pop(*head);
      ++next_out;
    }
  }
  CHECK(was_full);
  CHECK(next_out > 1000);
  while (const auto head = ring.front()) {
    CHECK(head->time_ns == next_out++);
    ring.pop(*head);
  }
  CHECK(next_out == next_in);
  CHECK_FALSE(ring.push({.bytes = 4096}, Bytes(4096).data()));
}
