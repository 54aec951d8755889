// SPDX-License-Identifier: Apache-2.0
// Routes as text and records, messages as bytes.
#include "messages.hpp"

#include <doctest/doctest.h>

using namespace ironcore;
using namespace ironcore::routing;

namespace {

std::string_view body_of(std::string_view message, MessageType type) {
  const auto envelope = read_envelope(message);
  REQUIRE(envelope.has_value());
  CHECK(envelope->type == type);
  CHECK(envelope->session == 42);
  return envelope->body;
}

/// No shorter message, and none with a byte more, is taken for it.
template <class T>
void check_length(std::string_view message) {
  for (std::size_t bytes = 0; bytes < message.size(); ++bytes) {
    T value;
    const auto envelope = read_envelope(message.substr(0, bytes));
    CHECK(!envelope.has_value());
    if (bytes >= 24) CHECK(!decode(message.substr(24, bytes - 24), value).has_value());
  }
  T value;
  const auto longer = std::string(message.substr(24)) + '\0';
  CHECK(!decode(longer, value).has_value());
}

}  // namespace

TEST_CASE("routes are written as the original writes them") {
  for (const auto* const text :
       {"100#10.0.0.1/32#fd00::1", "100#10.0.0.0/8#fd00::1#load-balancer-target",
        "100#2001:db8::/64#fd00::1#nat#1024#2047", "0#0.0.0.0/0#192.0.2.1,target=7,weight=3,mobility=9"}) {
    CAPTURE(text);
    const auto route = parse_route(text);
    REQUIRE(route.has_value());
    CHECK(to_text(*route) == text);
    const auto record = announcement(*route, origin_id("host-1"), 5);
    CHECK(fault_of(record) == nullptr);
    CHECK(route_of(record) == *route);
    const auto end = withdrawal(record, 6);
    CHECK(fault_of(end) == nullptr);
    CHECK(is_same_key(record, end));
    CHECK(!is_same_content(record, end));
  }
  CHECK(parse_route("100#10.0.0.1/32#fd00::1#STD").has_value());
  CHECK(to_text(*parse_route("100#10.0.0.1/32#fd00::1#NAT#40000#65535")) == "100#10.0.0.1/32#fd00::1#nat#40000#65535");
}

TEST_CASE("what is no route is refused with the reason") {
  const auto error = [](std::string_view text) {
    const auto route = parse_route(text);
    REQUIRE(!route.has_value());
    CHECK(route.error().code() == ErrorCode::invalid);
    return route.error().message();
  };
  CHECK(error("").find("is no route") != std::string::npos);
  CHECK(error("100#10.0.0.1/32").find("is no route") != std::string::npos);
  CHECK(error("100#10.0.0.1/8#fd00::1").find("10.0.0.0/8") != std::string::npos);
  CHECK(error("100#10.0.0.1/32#::").find("no address of a host") != std::string::npos);
  CHECK(error("100#10.0.0.1/32#fd00::1#NAT").find("range from 1 to 65535") != std::string::npos);
  CHECK(error("100#10.0.0.1/32#fd00::1#NAT#7#6").find("range from 1 to 65535") != std::string::npos);
  CHECK(error("100#10.0.0.1/32#fd00::1#STD#7#8").find("only routes of type nat") != std::string::npos);
  CHECK(error("16777216#10.0.0.1/32#fd00::1").size() > 0);
  CHECK(error("1#10.0.0.1/32#fd00::1#XX").find("standard, nat or load-balancer-target") != std::string::npos);
  CHECK(error("1#10.0.0.1/32#fd00::1,weight=0").find("weight") != std::string::npos);
  CHECK(error("1#10.0.0.1/32#fd00::1,colour=3").find("target=VNI") != std::string::npos);
}

TEST_CASE("a record is valid as a whole or not at all: flipping any reserved or checked bit is seen") {
  const auto good = announcement(*parse_route("100#10.1.0.0/16#fd00::1"), origin_id("a"), 5);
  CHECK(fault_of(good) == nullptr);
  auto bad = good;
  bad.prefix[2] = 1;
  CHECK(fault_of(bad) != nullptr);
  bad = good;
  bad.prefix[9] = 1;
  CHECK(fault_of(bad) != nullptr);
  bad = good;
  bad.vni_and_length = 100 | 33U << 24;
  CHECK(fault_of(bad) != nullptr);
  bad = good;
  bad.origin = 0;
  CHECK(fault_of(bad) != nullptr);
  bad = good;
  bad.version = 0;
  CHECK(fault_of(bad) != nullptr);
  bad = good;
  bad.nat_to = 5;
  CHECK(fault_of(bad) != nullptr);
  bad = good;
  bad.target_and_weight = 0;
  CHECK(fault_of(bad) != nullptr);
  for (const unsigned bit : {24U, 26U, 30U, 31U}) {
    bad = good;
    bad.mobility_and_kind ^= 1U << bit;
    CHECK(fault_of(bad) != nullptr);
  }
  CHECK(fault_of(Record{}) != nullptr);
  CHECK(fault_of(gone(5, OriginId{3})) == nullptr);
  bad = gone(5, OriginId{3});
  bad.nat_to = 1;
  CHECK(fault_of(bad) != nullptr);
}

TEST_CASE("messages come back as they went out, and no other length passes") {
  {
    const auto message = encode(42, Open{.name = "host-1", .instance = 7, .sequence = 8, .digest = 9});
    Open read;
    REQUIRE(decode(body_of(message, MessageType::open), read).has_value());
    CHECK(read.name == "host-1");
    CHECK(read.instance == 7);
    CHECK(read.sequence == 8);
    CHECK(read.digest == 9);
    check_length<Open>(message);
  }
  {
    const auto message = encode(42, Welcome{.name = "r1",
                                            .epoch = 1,
                                            .instance = 2,
                                            .sequence = 3,
                                            .digest = 4,
                                            .lease_ms = 3000,
                                            .heartbeat_ms = 1000,
                                            .is_ready = 1,
                                            .has_relayed = 0,
                                            .bulk = "tcp://b",
                                            .publications = "tcp://c"});
    Welcome read;
    REQUIRE(decode(body_of(message, MessageType::welcome), read).has_value());
    CHECK(read.name == "r1");
    CHECK(read.lease_ms == 3000);
    CHECK(read.is_ready == 1);
    CHECK(read.publications == "tcp://c");
    check_length<Welcome>(message);
  }
  {
    const auto message = encode(42, Refuse{.reason = Refuse::Reason::replaced, .detail = 3, .text = "gone"});
    Refuse read;
    REQUIRE(decode(body_of(message, MessageType::refuse), read).has_value());
    CHECK(read.reason == Refuse::Reason::replaced);
    CHECK(read.text == "gone");
    check_length<Refuse>(message);
  }
  {
    Heartbeat beat{.is_ready = 1, .has_relayed = 1, .positions = {{{5, View::direct}, 9}, {{6, View::relayed}, 10}}};
    const auto message = encode(42, beat);
    Heartbeat read;
    REQUIRE(decode(body_of(message, MessageType::heartbeat), read).has_value());
    REQUIRE(read.positions.size() == 2);
    CHECK(read.positions[1].stream == StreamName{6, View::relayed});
    CHECK(read.positions[1].sequence == 10);
    check_length<Heartbeat>(message);
  }
  {
    const auto message = encode(42, Close{Close::Reason::leaving});
    Close read;
    REQUIRE(decode(body_of(message, MessageType::close), read).has_value());
    CHECK(read.reason == Close::Reason::leaving);
    check_length<Close>(message);
  }
  {
    const auto message = encode(
        42,
        routing::Position{.stream = {5, View::direct}, .epoch = 1, .sequence = 2, .base = 3, .refused = 4, .wants = 1});
    routing::Position read;
    REQUIRE(decode(body_of(message, MessageType::position), read).has_value());
    CHECK(read.base == 3);
    CHECK(read.wants == 1);
    check_length<routing::Position>(message);
  }
  {
    const auto record = announcement(*parse_route("100#10.1.0.0/16#fd00::1"), origin_id("a"), 5);
    ChangesWriter writer(2);
    writer.add(record);
    writer.add(withdrawal(record, 6));
    CHECK(writer.count() == 2);
    const auto message = std::move(writer).finish(
        42, {.stream = {100, View::direct}, .epoch = 3, .from = 4, .to = 6, .head = 6, .digest = 11});
    Changes read;
    REQUIRE(decode(body_of(message, MessageType::changes), read).has_value());
    CHECK(read.count() == 2);
    CHECK(read.record(0) == record);
    CHECK(read.record(1) == withdrawal(record, 6));
    CHECK(read.digest == 11);
    check_length<Changes>(message);
  }
}

TEST_CASE("changes that cannot be are refused") {
  const auto refused = [](Changes changes, std::size_t records = 0) {
    ChangesWriter writer;
    for (std::size_t i = 0; i < records; ++i) writer.add(Record{});
    const auto message = std::move(writer).finish(42, changes);
    Changes read;
    return !decode(std::string_view(message).substr(24), read).has_value();
  };
  CHECK(!refused({.stream = {5, View::direct}, .epoch = 1, .from = 2, .to = 3, .head = 3}, 1));
  CHECK(refused({.stream = {5, View::direct}, .epoch = 0}));
  CHECK(refused({.stream = {5, View::direct}, .epoch = 1, .from = 4, .to = 3, .head = 4}));
  CHECK(refused({.stream = {5, View::direct}, .epoch = 1, .from = 2, .to = 3, .head = 2}));
  CHECK(refused({.stream = {5, View::direct}, .epoch = 1, .from = 2, .to = 3, .head = 3}, 2));
  CHECK(refused({.stream = {5, View::direct}, .epoch = 1, .from = 2, .to = 3, .head = 3, .is_restart = 1}));
  CHECK(refused({.stream = {0x1000000, View::direct}, .epoch = 1}));
  CHECK(refused({.stream = {5, View::direct}, .epoch = 1, .to = 2'000, .head = 2'000}, max_records + 1));
}

TEST_CASE("messages of other versions and of nobody are told apart") {
  auto message = encode(42, Close{});
  message[4] = 9;
  CHECK(read_envelope(message).error().code() == ErrorCode::unsupported);
  CHECK(read_envelope(message).error().message().find("protocol version 9") != std::string::npos);
  message[0] = 'x';
  CHECK(read_envelope(message).error().code() == ErrorCode::corrupt);
}
