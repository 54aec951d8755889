// SPDX-License-Identifier: Apache-2.0
// Who has which port, against plain maps.
#include "dataplane/nat_ports.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "dataplane/headers.hpp"
#include "dataplane/nat_peers.hpp"
#include "dataplane/nat_pool.hpp"

using namespace ironcore::network::dataplane;

namespace {

Inside inside(std::uint32_t host, std::uint16_t port, PortSpace space = PortSpace::tcp) {
  return {.address = {std::uint64_t{0x0a00'0000 + host} << 32, 0}, .vni = 7, .port = port, .space = space};
}

Outside outside(std::uint32_t host, std::uint16_t port = 443, PortSpace space = PortSpace::tcp) {
  return {.address = {std::uint64_t{0xc633'6400 + host} << 32, 0}, .port = port, .space = space};
}

using Socket = std::tuple<PrefixBits, std::uint32_t, std::uint16_t>;

Socket key(const Inside& from) {
  return {from.address, from.vni, from.port};
}

}  // namespace

TEST_CASE("an inside keeps its port until its last flow ends") {
  NatPorts ports({1024, 1031}, 1);
  const auto port = ports.take(inside(1, 5000));
  REQUIRE(port);
  CHECK(*port >= 1024);
  CHECK(*port <= 1031);
  CHECK(ports.take(inside(1, 5000)) == port);
  CHECK(ports.used(PortSpace::tcp) == 1);
  CHECK(ports.find(PortSpace::tcp, *port) == inside(1, 5000));
  CHECK(!ports.find(PortSpace::udp, *port));
  CHECK(!ports.find(PortSpace::tcp, 1023));
  CHECK(!ports.find(PortSpace::tcp, 1032));
  ports.release(PortSpace::tcp, *port);
  CHECK(ports.find(PortSpace::tcp, *port) == inside(1, 5000));
  ports.release(PortSpace::tcp, *port);
  CHECK(!ports.find(PortSpace::tcp, *port));
  CHECK(ports.used(PortSpace::tcp) == 0);
}

TEST_CASE("address, port, network and protocol each make another inside") {
  NatPorts ports({1, 100}, 1);
  auto other_network = inside(1, 1);
  other_network.vni = 8;
  auto v6 = inside(1, 1);
  v6.address.low = 1;
  std::set<std::uint16_t> taken;
  for (const auto& each : {inside(1, 1), inside(2, 1), inside(1, 2), other_network, v6})
    taken.insert(*ports.take(each));
  CHECK(taken.size() == 5);
  CHECK(ports.take(inside(1, 1, PortSpace::udp)));
  CHECK(ports.used(PortSpace::tcp) == 5);
  CHECK(ports.used(PortSpace::udp) == 1);
}

TEST_CASE("an exhausted space says so, refuses newcomers only, and leaves the others alone") {
  for (const PortRange range :
       {PortRange{0, 0}, PortRange{0, 0xffff}, PortRange{0xffff, 0xffff}, PortRange{5000, 5099}}) {
    NatPorts ports(range, 3);
    for (std::uint32_t i = 0; i < range.size(); ++i) {
      REQUIRE(!ports.is_exhausted(PortSpace::sctp));
      REQUIRE(ports.take(inside(i, 9, PortSpace::sctp)));
    }
    CHECK(ports.is_exhausted(PortSpace::sctp));
    CHECK(!ports.is_exhausted(PortSpace::icmp));
    CHECK(!ports.take(inside(range.size(), 9, PortSpace::sctp)));
    const auto known = ports.take(inside(0, 9, PortSpace::sctp));
    REQUIRE(known);
    CHECK(ports.take(inside(0, 9, PortSpace::icmp)));
    ports.release(PortSpace::sctp, *known);
    CHECK(ports.is_exhausted(PortSpace::sctp));
    ports.release(PortSpace::sctp, *known);
    CHECK(ports.take(inside(range.size(), 9, PortSpace::sctp)) == known);
  }
}

TEST_CASE("the order of the ports depends on the secret") {
  NatPorts a({1024, 65'535}, 1), b({1024, 65'535}, 2), again({1024, 65'535}, 1);
  int same = 0, neighbours = 0;
  std::uint16_t before = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const auto port = *a.take(inside(i, 1));
    if (port == *b.take(inside(i, 1))) ++same;
    if (port == before + 1) ++neighbours;
    CHECK(port == again.take(inside(i, 1)));
    before = port;
  }
  CHECK(same < 5);
  CHECK(neighbours < 5);
}

TEST_CASE("random flows have the ports of the model, and a freed port is the last to come again") {
  for (const unsigned seed : {1U, 2U, 3U}) {
    std::mt19937_64 random(seed);  // NOLINT: the same in every run
    const PortRange range{static_cast<std::uint16_t>(1000 * seed), static_cast<std::uint16_t>(1000 * seed + 99)};
    NatPorts ports(range, random());
    struct Model {
      std::map<Socket, std::pair<std::uint16_t, std::uint32_t>> of;  // port, flows
      std::set<std::uint16_t> fresh;                                 // not taken yet
      std::deque<std::uint16_t> freed;
    } models[port_spaces];
    for (auto& model : models)
      for (std::uint32_t port = range.first; port <= range.last; ++port)
        model.fresh.insert(static_cast<std::uint16_t>(port));
    std::size_t refused = 0;
    for (int round = 0; round < 200'000; ++round) {
      const auto space = static_cast<PortSpace>(random() % port_spaces);
      auto& model = models[static_cast<std::size_t>(space)];
      // Now more flows begin, now more end.
      if (random() % 100 < (round / 2000 % 2 == 0 ? 70U : 30U)) {
        auto from = inside(static_cast<std::uint32_t>(random() % 15), static_cast<std::uint16_t>(random() % 15), space);
        from.vni = static_cast<std::uint32_t>(random() % 2);
        const auto port = ports.take(from);
        const auto known = model.of.find(key(from));
        if (known != model.of.end()) {
          REQUIRE(port == known->second.first);
          ++known->second.second;
        } else if (model.of.size() == range.size()) {
          REQUIRE(!port);
          ++refused;
        } else {
          REQUIRE(port);
          if (model.fresh.empty()) {
            REQUIRE(port == model.freed.front());
            model.freed.pop_front();
          } else {
            REQUIRE(model.fresh.erase(*port) == 1);
          }
          model.of[key(from)] = {*port, 1};
        }
        if (port) REQUIRE(ports.find(space, *port) == from);
      } else if (!model.of.empty()) {
        auto ending = model.of.begin();
        std::advance(ending, random() % model.of.size());
        const auto port = ending->second.first;
        ports.release(space, port);
        if (--ending->second.second == 0) {
          model.freed.push_back(port);
          model.of.erase(ending);
          REQUIRE(!ports.find(space, port));
        }
      }
      REQUIRE(ports.used(space) == model.of.size());
      REQUIRE(ports.is_exhausted(space) == (model.of.size() == range.size()));
    }
    CHECK(refused > 100);
  }
}

TEST_CASE("a claimed port is its inside's until its last flow ends, and nobody else gets it") {
  for (const std::uint32_t claimed : {0U, 1U, 4U, 7U}) {
    NatPorts ports({1024, 1031}, 1);
    const auto port = static_cast<std::uint16_t>(1024 + claimed);
    ports.claim(inside(9, 9), port);
    ports.claim(inside(9, 9), port);
    CHECK(ports.find(PortSpace::tcp, port) == inside(9, 9));
    CHECK(ports.take(inside(9, 9)) == port);
    CHECK(ports.used(PortSpace::tcp) == 1);
    std::set<std::uint16_t> others;
    for (std::uint32_t i = 0; i < 7; ++i) others.insert(*ports.take(inside(i, 1)));
    CHECK(others.size() == 7);
    CHECK(others.count(port) == 0);
    CHECK_FALSE(ports.take(inside(8, 1)));
    for (int flow = 0; flow < 3; ++flow) ports.release(PortSpace::tcp, port);
    CHECK(ports.take(inside(8, 1)) == port);
  }
}

TEST_CASE("a port that two insides claim is with their flows, but of no inside, until all of these end") {
  NatPorts ports({1024, 1025}, 1);
  ports.claim(inside(1, 1), 1024);
  ports.claim(inside(2, 2), 1024);
  ports.claim(inside(1, 1), 1024);
  CHECK_FALSE(ports.find(PortSpace::tcp, 1024));
  CHECK(ports.take(inside(1, 1)) == 1025);
  CHECK_FALSE(ports.take(inside(2, 2)));
  CHECK(ports.used(PortSpace::tcp) == 2);
  for (int flow = 0; flow < 3; ++flow) {
    CHECK_FALSE(ports.take(inside(2, 2)));
    ports.release(PortSpace::tcp, 1024);
  }
  CHECK(ports.take(inside(2, 2)) == 1024);
}

TEST_CASE("all ports can be claimed in any order, and come back") {
  std::mt19937_64 random(4);  // NOLINT: the same in every run
  for (int round = 0; round < 100; ++round) {
    NatPorts ports({5000, 5063}, random());
    std::set<std::uint16_t> claimed;
    const auto count = random() % 65;
    while (claimed.size() < count) {
      const auto port = static_cast<std::uint16_t>(5000 + random() % 64);
      if (claimed.insert(port).second) ports.claim(inside(port, 1), port);
    }
    std::set<std::uint16_t> all = claimed;
    for (std::uint32_t i = 0; i < 64 - count; ++i) REQUIRE(all.insert(*ports.take(inside(i, 2))).second);
    REQUIRE(ports.is_exhausted(PortSpace::tcp));
    for (const auto port : claimed) REQUIRE(ports.take(inside(port, 1)) == port);
  }
}

TEST_CASE("a claimed shared port is not given away towards the same outside") {
  SharedNatPorts ports({1024, 1055}, 100, 1);
  for (std::uint16_t port = 1024; port < 1055; ++port) CHECK(ports.claim(port, outside(1)));
  CHECK_FALSE(ports.claim(1024, outside(1)));
  CHECK(ports.claim(1024, outside(2)));
  CHECK(ports.take(inside(1, 1), outside(1)) == 1055);
  CHECK_FALSE(ports.take(inside(2, 2), outside(1)));
  ports.release(1030, outside(1));
  CHECK(ports.take(inside(2, 2), outside(1)) == 1030);
  SharedNatPorts full({1024, 1055}, 1, 1);
  CHECK(full.claim(1024, outside(1)));
  CHECK_FALSE(full.claim(1025, outside(1)));
}

TEST_CASE("peers are known while there are flows with them") {
  NatPeers peers(100, 3);
  peers.add(1000, outside(1, 1));
  peers.add(1000, outside(1, 2));
  CHECK(peers.has(1000, outside(1, 99)));
  CHECK_FALSE(peers.has(1001, outside(1)));
  CHECK_FALSE(peers.has(1000, outside(2)));
  CHECK_FALSE(peers.has(1000, outside(1, 1, PortSpace::udp)));
  peers.remove(1000, outside(1, 2));
  CHECK(peers.has(1000, outside(1)));
  peers.remove(1000, outside(1, 1));
  CHECK_FALSE(peers.has(1000, outside(1)));
  NatPeers none(0, 3);
  none.add(1000, outside(1));
  CHECK_FALSE(none.has(1000, outside(1)));
  none.remove(1000, outside(1));
}

TEST_CASE("peers are those of the model; what has no room is not known, and never somebody else") {
  std::mt19937_64 random(8);  // NOLINT: the same in every run
  constexpr std::uint32_t room = 50;
  NatPeers peers(room, random());
  std::map<std::tuple<std::uint16_t, PrefixBits, PortSpace>, std::uint32_t> model;
  std::size_t without_room = 0;
  for (int round = 0; round < 100'000; ++round) {
    const auto port = static_cast<std::uint16_t>(random() % 5);
    const auto space = static_cast<PortSpace>(random() % port_spaces);
    const auto to = outside(static_cast<std::uint32_t>(random() % 6), static_cast<std::uint16_t>(random()), space);
    const auto known = model.find({port, to.address, space});
    REQUIRE(peers.has(port, to) == (known != model.end()));
    if (random() % 100 < (round / 1000 % 2 == 0 ? 70U : 30U)) {
      peers.add(port, to);
      if (known != model.end() || model.size() < room)
        ++model[{port, to.address, space}];
      else
        ++without_room;
    } else {
      peers.remove(port, to);
      if (known != model.end() && --known->second == 0) model.erase(known);
    }
  }
  CHECK(without_room > 1000);
}

TEST_CASE("a port belongs to the same worker in every range") {
  using ironcore::network::Nat;
  Nat told;
  told.first_port = 1000;
  told.last_port = 1099;
  NatPool narrow(told, 1, 3, 1000, 1);
  told.first_port = 900;
  told.last_port = 1999;
  NatPool wide(told, 1, 3, 1000, 1);
  for (std::uint16_t port = 1000; port < 1100; ++port) CHECK(narrow.worker_of(port) == wide.worker_of(port));
}

namespace {

using ironcore::network::Nat;

std::shared_ptr<NatPool> pool_of(std::uint16_t first, std::uint16_t last, Nat::Ports ports, std::size_t workers = 1,
                                 Nat::Filtering filtering = Nat::Filtering::address_and_port_dependent) {
  Nat told;
  told.first_port = first;
  told.last_port = last;
  told.ports = ports;
  told.filtering = filtering;
  return std::make_shared<NatPool>(told, 1, workers, 1000, 1);
}

/// Of a fresh pool all flows were checked with this configuration.
constexpr std::uint64_t fresh = 1;

}  // namespace

TEST_CASE("a pool awaits each worker's flows, and takes only those of its ports") {
  for (const auto mode : {Nat::Ports::own, Nat::Ports::shared}) {
    const auto followed = std::make_shared<FollowedNats>(2);
    const auto former = pool_of(990, 1009, mode, 2);
    const auto pool = pool_of(1000, 1009, mode, 2);
    CHECK_FALSE(pool->is_awaiting(0));
    pool->succeed(former, 4, followed);
    CHECK(pool->born() == 1);
    CHECK(pool->since() == 4);
    CHECK(pool->is_awaiting(0));
    CHECK(pool->is_awaiting(1));
    CHECK(pool->claim(0, 1004, inside(1, 1), outside(1), Opener::inside));
    CHECK_FALSE(pool->claim(0, 1005, inside(1, 1), outside(1), Opener::inside));
    CHECK_FALSE(pool->claim(0, 1010, inside(1, 1), outside(1), Opener::inside));
    CHECK_FALSE(pool->claim(0, 998, inside(1, 1), outside(1), Opener::inside));
    followed->set(0, 5);
    CHECK_FALSE(pool->is_awaiting(0));
    CHECK(pool->is_awaiting(1));
    CHECK_FALSE(pool->let_go());
    followed->set(1, 5);
    CHECK_FALSE(pool->is_awaiting(1));
    CHECK(former.use_count() == 2);
    CHECK(pool->let_go());
    CHECK(former.use_count() == 1);
    std::set<std::uint16_t> others;
    for (std::uint32_t i = 2; i < 6; ++i) others.insert(*pool->take(0, inside(i, 1), outside(1), Opener::inside));
    CHECK(others == std::set<std::uint16_t>{1000, 1002, 1006, 1008});
    CHECK_FALSE(pool->take(0, inside(7, 1), outside(1), Opener::inside));
    pool->release(0, 1004, outside(1), Opener::inside, 5);
    CHECK(pool->take(0, inside(7, 1), outside(1), Opener::inside) == 1004);
  }
}

TEST_CASE("a pool that awaits flows gives away no port that the former one says is taken") {
  for (const auto before : {Nat::Ports::own, Nat::Ports::shared}) {
    for (const auto after : {Nat::Ports::own, Nat::Ports::shared}) {
      CAPTURE(static_cast<int>(before));
      CAPTURE(static_cast<int>(after));
      const auto followed = std::make_shared<FollowedNats>(1);
      const auto former = pool_of(1000, 1007, before);
      std::set<std::uint16_t> held;
      for (std::uint32_t i = 0; i < 4; ++i) held.insert(*former->take(0, inside(i, 1), outside(1), Opener::inside));
      REQUIRE(held.size() == 4);
      const auto pool = pool_of(1004, 1011, after);
      pool->succeed(former, 4, followed);
      std::set<std::uint16_t> given;
      while (const auto port =
                 pool->take(0, inside(100 + static_cast<std::uint32_t>(given.size()), 1), outside(1), Opener::inside))
        REQUIRE(given.insert(*port).second);
      for (const auto port : held) CHECK(given.count(port) == 0);
      // Which ports are not used by anybody is not known of those that were shared.
      const bool knows_free_ones = before == Nat::Ports::own || after == Nat::Ports::shared;
      const auto held_still = static_cast<std::size_t>(std::distance(held.lower_bound(1004), held.end()));
      CHECK(given.size() == (knows_free_ones ? 8 - held_still : 4));
      // What ends without having followed is free for all.
      for (const auto port : held) {
        pool->release(0, port, outside(1), Opener::inside, fresh);
        if (port < 1004 || !knows_free_ones) continue;
        CHECK(pool->take(0, inside(200U + port, 1), outside(1), Opener::inside) == port);
      }
      CHECK(former
                ->use(0, before == Nat::Ports::own ? ironcore::network::Resource::nat_tcp
                                                   : ironcore::network::Resource::nat_flows)
                .used == 0);
    }
  }
}

TEST_CASE("a port that two insides share is of neither, also while one of them has not followed yet") {
  const auto followed = std::make_shared<FollowedNats>(1);
  const auto former = pool_of(1000, 1003, Nat::Ports::own);
  for (std::uint16_t i = 1; i <= 2; ++i) REQUIRE(former->claim(0, 1001, inside(i, i), outside(i), Opener::inside));
  const auto shared = pool_of(1000, 1003, Nat::Ports::shared);
  for (std::uint16_t i = 1; i <= 2; ++i) REQUIRE(shared->claim(0, 1001, inside(i, i), outside(i), Opener::inside));
  for (const auto& before : {former, shared}) {
    const auto pool = pool_of(1000, 1003, Nat::Ports::own);
    pool->succeed(before, 4, followed);
    REQUIRE(pool->follow(0, 1001, inside(1, 1), outside(1), Opener::inside, fresh));
    CHECK_FALSE(pool->find(0, PortSpace::tcp, 1001));
    CHECK(pool->take(0, inside(1, 1), outside(2), Opener::inside) != 1001);
    REQUIRE(pool->follow(0, 1001, inside(2, 2), outside(2), Opener::inside, fresh));
    CHECK_FALSE(pool->find(0, PortSpace::tcp, 1001));
    CHECK(pool->take(0, inside(2, 2), outside(1), Opener::inside) != 1001);
  }
}

TEST_CASE("a flow follows with its port, and leaves nothing in the former pool") {
  using ironcore::network::Resource;
  const auto followed = std::make_shared<FollowedNats>(1);
  const auto former = pool_of(1000, 1007, Nat::Ports::own, 1, Nat::Filtering::address_dependent);
  const auto port = *former->take(0, inside(1, 1), outside(1), Opener::inside);
  REQUIRE(former->take(0, inside(1, 1), outside(2), Opener::inside) == port);
  const auto pool = pool_of(1000, 1015, Nat::Ports::own, 1, Nat::Filtering::address_dependent);
  pool->succeed(former, 4, followed);
  // Packets from outside find the machine all the time, and a further flow of the socket has the same port.
  CHECK(pool->find(0, PortSpace::tcp, port) == inside(1, 1));
  CHECK(pool->knows(0, port, outside(1)));
  CHECK(pool->take(0, inside(1, 1), outside(3), Opener::inside) == port);
  CHECK(pool->follow(0, port, inside(1, 1), outside(1), Opener::inside, fresh));
  CHECK(former->use(0, Resource::nat_tcp).used == 1);
  CHECK(former->use(0, Resource::nat_peers).used == 1);
  CHECK(pool->follow(0, port, inside(1, 1), outside(2), Opener::inside, fresh));
  CHECK(former->use(0, Resource::nat_tcp).used == 0);
  CHECK(former->use(0, Resource::nat_peers).used == 0);
  CHECK(pool->use(0, Resource::nat_tcp).used == 1);
  CHECK(pool->use(0, Resource::nat_peers).used == 3);
  for (std::uint32_t to = 1; to <= 3; ++to) pool->release(0, port, outside(to), Opener::inside, 5);
  CHECK_FALSE(pool->find(0, PortSpace::tcp, port));
  CHECK_FALSE(pool->knows(0, port, outside(1)));
  CHECK(pool->use(0, Resource::nat_tcp).used == 0);
}

TEST_CASE("a pool whose former one awaited flows itself gives no port away until all have followed") {
  for (const auto mode : {Nat::Ports::own, Nat::Ports::shared}) {
    const auto followed = std::make_shared<FollowedNats>(1);
    const auto first = pool_of(1000, 1007, mode);
    const auto port = *first->take(0, inside(1, 1), outside(1), Opener::inside);
    const auto second = pool_of(1100, 1107, mode);
    second->succeed(first, 4, followed);
    const auto third = pool_of(1000, 1007, mode);
    third->succeed(second, 6, followed);
    CHECK(second.use_count() == 1);  // its flows and those of the first one cannot be told apart
    CHECK_FALSE(third->take(0, inside(2, 2), outside(2), Opener::inside));
    CHECK_FALSE(third->find(0, PortSpace::tcp, port));
    // A flow that the second pool has never seen has its port of the first one.
    CHECK(third->follow(0, port, inside(1, 1), outside(1), Opener::inside, fresh));
    CHECK_FALSE(third->take(0, inside(1, 1), outside(2), Opener::inside));
    const auto fourth = pool_of(1000, 1009, mode);
    fourth->succeed(third, 8, followed);
    CHECK(third.use_count() == 2);
    CHECK_FALSE(fourth->take(0, inside(2, 2), outside(1), Opener::inside));
    // All that the third one awaited have come, or have followed to the fourth one at once.
    followed->set(0, 7);
    CHECK(fourth->is_awaiting(0));
    std::set<std::uint16_t> given;
    while (const auto taken =
               fourth->take(0, inside(10 + static_cast<std::uint32_t>(given.size()), 1), outside(1), Opener::inside))
      given.insert(*taken);
    CHECK(given.size() == 9);
    CHECK(given.count(port) == 0);
    followed->set(0, 9);
    CHECK(fourth->let_go());
    CHECK(third.use_count() == 1);
  }
}

TEST_CASE("a pool tells how much of each worker's slice is used") {
  using ironcore::network::Nat;
  using ironcore::network::Resource;
  using Part = ironcore::network::ResourceUse::Part;
  Nat told;
  told.first_port = 1000;
  told.last_port = 1004;
  told.filtering = Nat::Filtering::address_dependent;
  NatPool own(told, 1, 2, 3000, 1);
  CHECK(own.use(0, Resource::nat_tcp) == Part{0, 3});
  CHECK(own.use(1, Resource::nat_tcp) == Part{0, 2});
  CHECK(own.use(0, Resource::nat_flows) == Part{0, 0});
  CHECK(own.use(0, Resource::nat_peers) == Part{0, 1024});
  const auto port = *own.take(0, inside(1, 1, PortSpace::sctp), outside(1, 9, PortSpace::sctp), Opener::inside);
  REQUIRE(own.take(0, inside(1, 1, PortSpace::sctp), outside(2, 9, PortSpace::sctp), Opener::inside) == port);
  CHECK(own.use(0, Resource::nat_sctp) == Part{1, 3});
  CHECK(own.use(0, Resource::nat_tcp) == Part{0, 3});
  CHECK(own.use(1, Resource::nat_sctp) == Part{0, 2});
  CHECK(own.use(0, Resource::nat_peers) == Part{2, 1024});
  own.release(0, port, outside(1, 9, PortSpace::sctp), Opener::inside, 1);
  own.release(0, port, outside(2, 9, PortSpace::sctp), Opener::inside, 1);
  CHECK(own.use(0, Resource::nat_sctp) == Part{0, 3});
  CHECK(own.use(0, Resource::nat_peers) == Part{0, 1024});
  CHECK(own.claim(1, 1001, inside(1, 1), outside(1), Opener::outside));
  CHECK(own.use(1, Resource::nat_tcp) == Part{1, 2});
  CHECK(own.use(1, Resource::nat_peers) == Part{0, 1024});

  told.ports = Nat::Ports::shared;
  NatPool shared(told, 1, 8, 1000, 1);
  CHECK(shared.use(7, Resource::nat_flows) == Part{0, 0});  // of 5 ports
  const auto worker = shared.worker_of(1000);
  CHECK(shared.use(worker, Resource::nat_flows) == Part{0, 64});
  REQUIRE(shared.take(worker, inside(1, 1), outside(1), Opener::inside));
  REQUIRE(shared.take(worker, inside(1, 1), outside(2), Opener::inside));
  CHECK(shared.use(worker, Resource::nat_flows) == Part{2, 64});
  shared.release(worker, 1000, outside(2), Opener::inside, 1);
  CHECK(shared.use(worker, Resource::nat_flows) == Part{1, 64});
}

TEST_CASE("a shared port serves several insides while their outsides differ") {
  SharedNatPorts ports({2000, 2000}, 100, 1);
  for (std::uint32_t i = 0; i < 50; ++i) CHECK(ports.take(inside(i, 1), outside(i)) == 2000);
  CHECK(!ports.take(inside(50, 1), outside(0)));
  CHECK(ports.take(inside(50, 1), outside(0, 444)) == 2000);
  CHECK(ports.take(inside(50, 1, PortSpace::udp), outside(0, 443, PortSpace::udp)) == 2000);
  ports.release(2000, outside(0));
  CHECK(ports.take(inside(50, 1), outside(0)) == 2000);
  CHECK(ports.used() == 52);
}

// In the original such a flow is dropped though ports are free.
TEST_CASE("an inside whose port is taken towards an outside gets another one there") {
  SharedNatPorts ports({1024, 1279}, 10'000, 1);
  std::set<std::uint16_t> taken;
  for (std::uint32_t i = 0; i < 256; ++i) {
    const auto port = ports.take(inside(i, 1), outside(1));
    REQUIRE(port);
    CHECK(taken.insert(*port).second);
  }
  CHECK(!ports.take(inside(256, 1), outside(1)));
  CHECK(ports.take(inside(256, 1), outside(2)));
}

TEST_CASE("an inside has the same port towards all outsides that nobody else talks to") {
  SharedNatPorts ports({1024, 65'535}, 100'000, 1);
  std::set<std::uint16_t> different;
  for (std::uint32_t host = 0; host < 20; ++host) {
    const auto port = *ports.take(inside(host, 1), outside(0));
    different.insert(port);
    std::size_t others = 0;
    for (std::uint32_t i = 1; i < 2000; ++i)
      if (ports.take(inside(host, 1), outside(host * 10'000 + i)) != port) ++others;
    CHECK(others <= 2);
  }
  CHECK(different.size() > 15);
}

TEST_CASE("flows beyond the limit are refused, and up to it they are not") {
  SharedNatPorts ports({1024, 65'535}, 100'000, 5);
  CHECK(ports.bytes() == 800'000);
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    REQUIRE(!ports.is_exhausted());
    REQUIRE(ports.take(inside(i % 1000, 1), outside(i)));
  }
  CHECK(ports.is_exhausted());
  CHECK(!ports.take(inside(1, 1), outside(100'001)));
  CHECK(!SharedNatPorts({1, 2}, 0, 1).take(inside(1, 1), outside(1)));
}

TEST_CASE("nearly all ports of a large range can be had towards one outside") {
  SharedNatPorts ports({1024, 65'535}, 100'000, 9);
  std::set<std::uint16_t> taken;
  std::uint32_t first_refused = 0, refused = 0;
  for (std::uint32_t i = 0; i < 64'512; ++i) {
    const auto port = ports.take(inside(i, 1), outside(1));
    if (port) REQUIRE(taken.insert(*port).second);
    if (!port && refused++ == 0) first_refused = i;
  }
  CHECK(first_refused > 64'512 * 85 / 100);
  CHECK(refused < 64'512 / 100);
}

TEST_CASE("no two random flows share a port and an outside, and what ends is free again") {
  // Ends of groups, a part of a group, and more groups than are tried.
  for (const PortRange range : {PortRange{0, 15}, PortRange{100, 116}, PortRange{65'000, 65'535}, PortRange{7, 7}}) {
    std::mt19937_64 random(range.first);  // NOLINT: the same in every run
    SharedNatPorts ports(range, 3000, random());
    using Place = std::tuple<std::uint16_t, PrefixBits, std::uint16_t, PortSpace>;
    std::set<Place> taken;
    std::map<std::tuple<PrefixBits, std::uint16_t, PortSpace>, std::uint32_t> of_outside;
    std::vector<std::pair<std::uint16_t, Outside>> flows;
    std::size_t refused_early = 0, begun = 0;
    for (int round = 0; round < 100'000; ++round) {
      if (random() % 100 < (round / 5000 % 2 == 0 ? 70U : 30U)) {
        const auto space = static_cast<PortSpace>(random() % port_spaces);
        const auto from =
            inside(static_cast<std::uint32_t>(random() % 1000), static_cast<std::uint16_t>(random()), space);
        const auto to =
            outside(static_cast<std::uint32_t>(random() % 3), static_cast<std::uint16_t>(random() % 4), space);
        const auto port = ports.take(from, to);
        auto& count = of_outside[{to.address, to.port, space}];
        if (!port) {
          if (count < range.size() && taken.size() < 3000) ++refused_early;
          continue;
        }
        ++begun;
        REQUIRE(*port >= range.first);
        REQUIRE(*port <= range.last);
        REQUIRE(taken.insert({*port, to.address, to.port, space}).second);
        ++count;
        flows.emplace_back(*port, to);
      } else if (!flows.empty()) {
        std::swap(flows[random() % flows.size()], flows.back());
        const auto [port, to] = flows.back();
        flows.pop_back();
        ports.release(port, to);
        taken.erase({port, to.address, to.port, to.space});
        --of_outside[{to.address, to.port, to.space}];
      }
      REQUIRE(ports.used() == taken.size());
    }
    CHECK(refused_early * 1000 <= begun);
    for (const auto& [port, to] : flows) ports.release(port, to);
    CHECK(ports.used() == 0);
    // All free: as many as there are can be had at once.
    for (std::uint32_t i = 0; i < std::min(range.size(), 256U); ++i) REQUIRE(ports.take(inside(i, 1), outside(9)));
  }
}

TEST_CASE("protocols and their ports") {
  CHECK(port_space(protocol_tcp) == PortSpace::tcp);
  CHECK(port_space(protocol_udp) == PortSpace::udp);
  CHECK(port_space(protocol_icmp) == PortSpace::icmp);
  CHECK(port_space(protocol_icmpv6) == PortSpace::icmp);
  CHECK(port_space(protocol_sctp) == PortSpace::sctp);
  CHECK(!port_space(47));
}
