// SPDX-License-Identifier: Apache-2.0
// A dataplane over ZeroMQ: what it tells is what it would tell in this process, and nothing that a peer sends harms it.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <random>
#include <string>
#include <thread>

#include "remote_dataplane.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;

namespace {

template <class Object>
std::vector<Change> all(const Dataplane& dataplane) {
  std::vector<Change> out;
  for (auto& object : dataplane.list<Object>().objects) out.emplace_back(std::move(object));
  return out;
}
std::vector<Change> all(const Dataplane& dataplane) {
  std::vector<Change> out;
  const auto add = [&](std::vector<Change> more) { out.insert(out.end(), more.begin(), more.end()); };
  add(all<Interface>(dataplane));
  add(all<InterfacePrefix>(dataplane));
  add(all<VirtualIp>(dataplane));
  add(all<Nat>(dataplane));
  add(all<NeighbourNat>(dataplane));
  add(all<LoadBalancer>(dataplane));
  add(all<LoadBalancerTarget>(dataplane));
  add(all<Route>(dataplane));
  add(all<FirewallRule>(dataplane));
  add(all<VirtualService>(dataplane));
  return out;
}
Change key_of_change(const Change& change) {
  return std::visit(
      [](const auto& object) -> Change {
        if constexpr (requires { key_of(object); })
          return key_of(object);
        else
          return object;
      },
      change);
}
/// Page by page.
std::vector<Change> all(network::zmq::Client& client, std::size_t page) {
  std::vector<Change> out;
  for (const auto kind : configuration_kinds()) {
    std::optional<Change> after;
    for (bool has_more = true; has_more;) {
      auto found = good(client.list(kind, page, after));
      has_more = found.has_more;
      REQUIRE(found.objects.size() <= page);
      if (!found.objects.empty()) after = key_of_change(found.objects.back());
      out.insert(out.end(), found.objects.begin(), found.objects.end());
    }
  }
  return out;
}

}  // namespace

TEST_CASE("a remote dataplane does what a local one does") {
  Remote remote;
  Local local;
  RandomBatches batches(7);
  int accepted = 0;
  for (int i = 0; i < 300; ++i) {
    const auto batch = batches.next();
    const auto here = local.dataplane->apply(batch);
    const auto there = remote.client->apply(batch);
    REQUIRE(here.has_value() == there.has_value());
    if (here) {
      ++accepted;
    } else {
      CHECK(here.error() == there.error());
    }
  }
  CHECK(accepted > 50);
  const auto expected = to_json(all(*local.dataplane));
  CHECK(to_json(all(*remote.client, 3)) == expected);
  CHECK(to_json(all(*remote.client, 1000)) == expected);
  for (const auto& object : all(*local.dataplane))
    CHECK(to_json(good(remote.client->get(key_of_change(object)))) == to_json(object));

  const auto vnis = local.dataplane->vnis().objects;
  CHECK(vnis.size() > 1);
  for (const std::size_t limit : {std::size_t{1}, std::size_t{3}, SIZE_MAX}) {
    std::vector<VniUse> told;
    std::optional<Vni> after;
    for (bool has_more = true; has_more;) {
      const auto page = good(remote.client->vnis(limit, after));
      CHECK(page.revision == remote.local.dataplane->revision());
      REQUIRE(page.objects.size() <= limit);
      told.insert(told.end(), page.objects.begin(), page.objects.end());
      if (!told.empty()) after = told.back().vni;
      has_more = page.has_more;
    }
    CHECK(told == vnis);
  }
}

TEST_CASE("a client is told who serves, and errors as they are") {
  Remote remote;
  const auto facts = good(remote.client->facts());
  CHECK(facts.program == "metalnetd 1");
  CHECK(facts.workers == 1);
  CHECK(facts.revision == remote.local.dataplane->revision());
  CHECK(remote.client->get(Change(InterfaceKey{"a"})).error().code() == ErrorCode::not_found);
  CHECK(remote.client->list("Interfaces", 5, {}).error().code() == ErrorCode::invalid);
  CHECK(remote.client->list("Interface", 5, Change(NatKey{"a"})).error().message() ==
        "after must be the key of kind Interface");
  struct stat info {};
  REQUIRE(::stat(remote.socket.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("a watch gets every batch, waits for the next one, and says when it missed some") {
  Remote remote;
  const auto first = good(remote.client->facts()).revision;
  CHECK(good(remote.client->watch(first, remote.soon(0))).empty());
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    static_cast<void>(remote.local.dataplane->apply(std::vector<Change>{interface("a")}));
  });
  auto batches = good(remote.client->watch(first, remote.soon()));
  later.join();
  REQUIRE(batches.size() == 1);
  REQUIRE(batches[0].changes->size() == 1);
  CHECK(to_json(*batches[0].changes) == to_json(all(*remote.local.dataplane)));
  CHECK(batches[0].revision == remote.local.dataplane->revision());

  good(remote.client->apply(std::vector<Change>{interface("b", "10.0.0.2")}));
  good(remote.client->apply(std::vector<Change>{InterfaceKey{"a"}}));
  CHECK(good(remote.client->watch(batches[0].revision, remote.soon())).size() == 2);
  CHECK(good(remote.client->watch(batches[0].revision, remote.soon(), {}, 1)).size() == 1);
  CHECK(remote.client->watch(1, remote.soon()).error().code() == ErrorCode::gone);

  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  CHECK(good(remote.client->watch(remote.local.dataplane->revision(), remote.soon(60'000), stop.get_token())).empty());
}

TEST_CASE("a watch that is asked for again does not last longer by that") {
  Remote remote;
  RawPeer peer(remote);
  const zmq::WatchRequest request{.after = good(remote.client->facts()).revision, .limit = 1};
  // As a client does that hears nothing: if each time counted anew, there would never be an answer.
  bool is_answered = false;
  for (int i = 0; i < 100 && !is_answered; ++i) {
    peer.send(wire::encode(7, 500, request));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    is_answered = peer.socket.receive().has_value();
  }
  CHECK(is_answered);
}

TEST_CASE("ports are opened, told and closed") {
  Remote remote;
  const PortSpec spec{"port-a", "memory:a", 1500, MacAddress::parse("02:00:00:00:00:07").value()};
  const auto state = good(remote.client->open_port(spec));
  CHECK(state.spec == spec);
  CHECK(state.mac == *spec.mac);
  CHECK(good(remote.client->open_port(spec)) == state);
  auto other = spec;
  other.mtu = 1400;
  CHECK(remote.client->open_port(other).error().code() == ErrorCode::already_exists);
  const auto ports = good(remote.client->ports());
  REQUIRE(ports.size() == 1);
  CHECK(ports[0].state == remote.local.ports.list().front());
  CHECK(ports[0].counters == good(remote.local.ports.counters("port-a")));
  REQUIRE(remote.client->close_port("port-a").has_value());
  REQUIRE(remote.client->close_port("port-a").has_value());
  CHECK(good(remote.client->ports()).empty());
}

TEST_CASE("counters are those of the dataplane") {
  Remote remote;
  good(remote.client->apply(std::vector<Change>{interface("a"), interface("b", "10.0.0.2")}));
  const auto counters = good(remote.client->counters());
  CHECK(counters.dataplane.connection_room == remote.local.dataplane->counters().connection_room);
  CHECK(counters.dataplane.packets == remote.local.dataplane->counters().packets);
  CHECK(counters.interfaces == remote.local.dataplane->interface_counters());
  REQUIRE(counters.interfaces.size() == 2);
  CHECK_FALSE(counters.interfaces[0].has_port);
  good(remote.client->open_port({"port-a", "memory:a", 1500, std::nullopt}));
  CHECK(good(remote.client->counters()).interfaces[0].has_port);
  CHECK_FALSE(good(remote.client->counters()).interfaces[1].has_port);
  good(remote.client->close_port("port-a"));
  CHECK_FALSE(good(remote.client->counters()).interfaces[0].has_port);
  CHECK(counters.dataplane.by_stage == remote.local.dataplane->counters().by_stage);
  CHECK(counters.dataplane.bursts == remote.local.dataplane->counters().bursts);
}

TEST_CASE("usage is that of the dataplane") {
  Remote remote;
  auto limited = interface("a");
  limited.total.egress = 8000;
  good(remote.client->apply(
      std::vector<Change>{limited, rule("a", "r"), nat("a", 1024, 1151), route("10.9.0.0/16", {"2001:db8::9"})}));
  const auto usage = good(remote.client->usage());
  CHECK(usage == remote.local.dataplane->usage());
  CHECK(usage.meters.size() == 1);
  CHECK(usage.objects.size() == configuration_kinds().size());
}

TEST_CASE("a packet is explained as here, by a worker that runs") {
  Remote remote;
  good(remote.client->apply(std::vector<Change>{interface("a")}));
  good(remote.client->open_port({"port-a", "memory:a", 1500, std::nullopt}));
  const std::vector<std::uint8_t> frame(60);
  CHECK(remote.client->explain("nobody", frame).error().code() == ErrorCode::not_found);
  CHECK(remote.client->explain("port-a", std::vector<std::uint8_t>(10'000)).error().code() == ErrorCode::invalid);
  std::jthread worker([&](std::stop_token stop) { remote.local.dataplane->run(0, std::move(stop)); });
  const auto here = good(remote.local.dataplane->explain("port-a", frame, remote.soon()));
  const auto there = good(remote.client->explain("port-a", frame));
  CHECK_FALSE(here.steps.empty());
  CHECK(there.drop != Drop::none);
  CHECK(there.to_json() == here.to_json());
  CHECK(remote.client->explain("port-a", frame, 5).error().code() == ErrorCode::not_found);
}

TEST_CASE("captures are started, read and stopped as here") {
  Remote remote;
  good(remote.client->open_port({"port-a", "memory:a", 1500, std::nullopt}));
  CaptureSpec spec;
  spec.id = "live";
  spec.ports = {"port-a"};
  spec.direction = CaptureDirection::in;
  spec.snap_length = 100;
  spec.sink = CaptureStream{CaptureFormat::pcap};
  spec.most_packets = 3;
  spec.most_bytes = 5000;
  CHECK(good(remote.client->start_capture(spec)).spec == spec);
  CHECK(good(remote.client->start_capture(spec)).phase == CaptureState::Phase::running);
  CaptureSpec to_udp;
  to_udp.id = "udp";
  to_udp.sink = CaptureUdp{ip("::1"), 4790, CaptureUdp::Encapsulation::plain, 7};
  CHECK(good(remote.client->start_capture(to_udp)).spec == to_udp);
  CHECK(good(remote.client->captures()) == remote.local.dataplane->captures());
  CHECK(good(remote.client->captures()).size() == 2);

  for (int i = 0; i < 3; ++i) REQUIRE(remote.local.ports.inject("port-a", std::vector<std::uint8_t>(200, 7)));
  remote.local.dataplane->step(0);
  CHECK(remote.local.dataplane->write_captures() == 6);
  const auto first = good(remote.client->read_capture("live", 0));
  CHECK_FALSE(first.is_last);
  CHECK(first.bytes.size() == 24 + 3 * (16 + 100));
  CHECK(good(remote.client->read_capture("live", 0)).bytes == first.bytes);
  CHECK(good(remote.client->read_capture("live", first.bytes.size())).is_last);
  CHECK(remote.client->read_capture("live", 0).error().code() == ErrorCode::gone);
  CHECK(remote.client->read_capture("udp", 0).error().code() == ErrorCode::wrong_state);
  const auto state = good(remote.client->stop_capture("live"));
  CHECK(state.phase == CaptureState::Phase::ended);
  CHECK(state.written == 3);
  CHECK(state.bytes == first.bytes.size());
  CHECK(remote.client->stop_capture("live").error().code() == ErrorCode::not_found);
  CHECK(remote.client->read_capture("live", 0).error().code() == ErrorCode::not_found);

  CaptureSpec file;
  file.id = "file";
  file.filter = "udp";
  file.sink = CaptureFile{"../file", CaptureFormat::pcap, CaptureFile::Existing::replace};
  const auto refused = remote.client->start_capture(file).error();
  CHECK(refused.code() == ErrorCode::invalid);
  CHECK(refused.fields().at(0).field == "sink.name");
  file.sink = CaptureFile{"file"};
  CHECK(remote.client->start_capture(file).error().code() == ErrorCode::unsupported);
}

TEST_CASE("a capture in words that nobody knows is refused") {
  Remote remote;
  RawPeer peer(remote);
  const network::zmq::CaptureSpecRecord right{
      .id = "c", .direction = "in", .snap_length = 100, .sink = "stream", .format = "pcap", .target = "::1"};
  const auto refused = [&](auto change, std::string_view word) {
    auto record = right;
    change(record);
    peer.send(wire::encode(1, 1000, network::zmq::StartCaptureRequest{record}));
    const auto error = peer.error();
    CHECK(error.code() == ErrorCode::invalid);
    CHECK_MESSAGE(error.message().find(word) != std::string::npos, error.message());
  };
  using Record = network::zmq::CaptureSpecRecord;
  refused([](Record& record) { record.direction = "inn"; }, "did you mean");
  refused([](Record& record) { record.sink = "pipe"; }, "there are file, udp and stream");
  refused([](Record& record) { record.format = "text"; }, "sink.format");
  refused([](Record& record) { record.sink = "udp"; }, "sink.encapsulation");
  refused([](Record& record) { record.sink = "udp", record.format = "plain", record.target = "localhost"; },
          "sink.address");
  refused([](Record& record) { record.snap_length = 0; }, "snap_length");
  refused([](Record& record) { record.ports.assign(10'000, "port"); }, "ports");
  CHECK(remote.local.dataplane->captures().empty());
}

TEST_CASE("a restart of the server is bridged") {
  Remote remote;
  remote.stop();
  std::jthread again([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    remote.start();
  });
  CHECK(remote.client->apply(std::vector<Change>{interface("a")}).has_value());
  again.join();
}

TEST_CASE("who serves nobody is unavailable, and a path that is taken is told") {
  Remote remote;
  CHECK(network::zmq::Server::create(*remote.context, *remote.local.dataplane, remote.local.ports,
                                     {.path = remote.socket.string()}, remote.local.clock, remote.local.log)
            .error()
            .code() == ErrorCode::wrong_state);
  const auto connect = [&](const std::string& endpoint) {
    return network::zmq::Client::connect(
               *remote.context, {.endpoint = endpoint, .timeout = std::chrono::milliseconds(50)}, remote.local.clock)
        .error()
        .code();
  };
  CHECK(connect("ipc://" + (remote.directory.path / "nobody").string()) == ErrorCode::unavailable);
  CHECK(connect("tcp://127.0.0.1:1") == ErrorCode::invalid);
  CHECK(connect("ipc://") == ErrorCode::invalid);
}

TEST_CASE("of a batch in which all is wrong the first errors are told") {
  Remote remote;
  const auto error = remote.client->apply(std::vector<Change>(70'000, VirtualIp())).error();
  CHECK(error.code() == ErrorCode::invalid);
  REQUIRE(error.fields().size() == 65);
  CHECK(error.fields().back().field.empty());
  CHECK(error.fields().back().message.find("more") != std::string::npos);
  CHECK(remote.client->apply(std::vector<Change>(400'000, interface("a"))).error().code() == ErrorCode::exhausted);
}

TEST_CASE("garbage, damage, other versions and too much harm nobody") {
  Remote remote;
  good(remote.client->apply(std::vector<Change>{interface("a")}));
  const auto before = to_json(all(*remote.local.dataplane));
  {
    RawPeer peer(remote);
    peer.send("");
    peer.send("ICZM");
    peer.send(std::string(100'000, '\xff'));
    peer.send("several", ZMQ_SNDMORE);
    peer.send("frames");
    auto other = wire::encode(1, 0, network::zmq::HelloRequest{});
    other[4] = 9;
    peer.send(other);
    CHECK(peer.error().code() == ErrorCode::unsupported);
    peer.send(wire::encode(2, 0, network::zmq::ApplyReply{}));
    CHECK(peer.error().code() == ErrorCode::unsupported);
    peer.send(wire::encode(3, 0, network::zmq::ApplyRequest{R"([{"kind":"Nat"}])"}));
    CHECK(peer.error().fields().front().field == "changes[0].interface");
    peer.send(wire::encode(4, 0, network::zmq::ApplyRequest{std::string(1000, '[')}));
    CHECK(peer.error().code() == ErrorCode::invalid);
    peer.send(wire::encode(5, 0, network::zmq::OpenPortRequest{{"p", "memory:p", 1500, "02"}}));
    CHECK(peer.error().code() == ErrorCode::invalid);
    CHECK(remote.server->counters().malformed == 4);
    CHECK(remote.server->counters().foreign_version == 1);
  }
  {
    RawPeer peer(remote);
    peer.send(std::string(network::zmq::max_request_bytes + 1, 'x'));  // it is cut off
  }
  std::mt19937 random(1);
  RawPeer peer(remote);
  for (int i = 0; i < 1000; ++i) {
    std::string body(random() % 100, '\0');
    for (auto& byte : body) byte = static_cast<char>(random());
    auto message = wire::encode(static_cast<std::uint64_t>(i), 1, network::zmq::HelloRequest{});
    message[6] = static_cast<char>(1 + random() % 8);
    message[20] = static_cast<char>(body.size());
    peer.send(message + body);
    static_cast<void>(peer.answer());
  }
  CHECK(to_json(all(*remote.local.dataplane)) == before);
  CHECK(remote.client->facts().has_value());
}
