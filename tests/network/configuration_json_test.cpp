// SPDX-License-Identifier: Apache-2.0
// JSON of the configuration: round trips, names, and what is refused.
#include "ironcore/network/configuration_json.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "configuration_objects.hpp"

namespace ironcore::network {
namespace {

using namespace tests;

std::vector<FieldError> errors_of(std::string_view json) {
  const auto parsed = parse_changes(json);
  REQUIRE_FALSE(parsed.has_value());
  REQUIRE(parsed.error().code() == ErrorCode::invalid);
  return parsed.error().fields();
}

template <class T>
T read(std::string_view json) {
  const auto parsed = parse_change(json);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error());
  REQUIRE(std::holds_alternative<T>(*parsed));
  return std::get<T>(*parsed);
}

TEST_CASE("an interface has the names of its field errors") {
  Interface object = interface("web-1");
  object.ipv6 = ip("2001:db8::1");
  object.mac = MacAddress::parse("02:00:00:00:00:01").value();
  object.hostname = "web";
  object.pxe = Pxe{ip("10.0.0.9"), "/boot\"\n"};
  object.total = {1'000'000, UINT64_MAX};
  object.public_traffic.egress = 5;
  object.underlay = ip("2001:db8:1::5");
  const std::string json =
      R"({"kind":"Interface","id":"web-1","port":"port-web-1","vni":100,"ipv4":"10.0.0.1","ipv6":"2001:db8::1",)"
      R"("mac":"02:00:00:00:00:01","hostname":"web","pxe":{"server":"10.0.0.9","path":"/boot\"\u000a"},)"
      R"("total":{"egress":1000000,"ingress":18446744073709551615},"publicTraffic":{"egress":5,"ingress":0},)"
      R"("underlay":"2001:db8:1::5"})";
  CHECK(to_json(Change(object)) == json);
  CHECK(read<Interface>(json) == object);
}

TEST_CASE("rates are told by one number for a direction, or with bursts and excess") {
  Interface object = interface("a");
  object.total.egress = 1'000'000;
  object.total.burst.egress = 100'000;
  object.total.excess = {500'000, 0};
  object.total.excess_burst = {70'000, 0};
  const std::string begin = R"({"kind":"Interface","id":"a","port":"port-a","vni":100,"ipv4":"10.0.0.1","total":)";
  const std::string json =
      begin +
      R"({"egress":1000000,"ingress":0,"burst":{"egress":100000,"ingress":0},"excess":{"egress":500000,"ingress":0},)"
      R"("excessBurst":{"egress":70000,"ingress":0}}})";
  CHECK(to_json(Change(object)) == json);
  CHECK(read<Interface>(json) == object);
  CHECK(read<Interface>(begin + R"({"egress":1000000,"burst":{"egress":100000},"excess":{"egress":500000},)"
                                R"("excessBurst":{"egress":70000}}})") == object);
  object.total = {.egress = 1'000'000};
  CHECK(read<Interface>(begin + R"({"egress":1000000}})") == object);
  const auto wrong = parse_change(begin + R"({"egress":1,"excess":{"egres":5}}})");
  REQUIRE(!wrong.has_value());
  CHECK(wrong.error().fields().at(0).field == "total.excess.egres");
  CHECK(wrong.error().message().find("egress") != std::string::npos);
}

TEST_CASE("what has a default may be left out, and null means absent") {
  const auto rule = read<FirewallRule>(
      R"({"kind":"FirewallRule","interface":"a","id":"r","source":"0.0.0.0/0","destination":"10.0.0.0/8","protocol":null})");
  FirewallRule expected = tests::rule("a", "r");
  expected.destination = prefix("10.0.0.0/8");
  CHECK(rule == expected);
}

TEST_CASE("protocols are words or numbers") {
  const auto read_service = [](const std::string& protocol) {
    return read<LoadBalancer>(
               R"({"kind":"LoadBalancer","id":"b","vni":1,"address":"192.0.2.1","services":[{"protocol":)" + protocol +
               R"(,"firstPort":80,"lastPort":81}]})")
        .services.front()
        .protocol;
  };
  CHECK(read_service("\"UDP\"") == protocol_udp);
  CHECK(read_service("132") == protocol_sctp);
  FirewallRule object = rule("a", "r");
  object.protocol = 47;
  CHECK(read<FirewallRule>(to_json(Change(object))) == object);
  object.protocol = protocol_icmpv6;
  CHECK(to_json(Change(object)).find(R"("protocol":"ICMPv6")") != std::string::npos);
}

TEST_CASE("a NAT's filters have the names of RFC 4787") {
  for (const auto& [filtering, word] :
       {std::pair{Nat::Filtering::address_and_port_dependent, "AddressAndPortDependent"},
        std::pair{Nat::Filtering::address_dependent, "AddressDependent"},
        std::pair{Nat::Filtering::endpoint_independent, "EndpointIndependent"}}) {
    auto object = nat("a", 1, 2);
    object.filtering = filtering;
    const auto json = to_json(Change(object));
    CHECK(json.find("\"filtering\":\"" + std::string(word) + '"') != std::string::npos);
    CHECK(read<Nat>(json) == object);
  }
}

TEST_CASE("a virtual service") {
  const auto json = R"({"kind":"VirtualService","id":"dns","protocol":"UDP","address":"169.254.1.53","port":53,)"
                    R"("serviceAddress":"2001:db8:5::53","servicePort":5353})";
  CHECK(to_json(Change(virtual_service("dns"))) == json);
  CHECK(read<VirtualService>(json) == virtual_service("dns"));
  CHECK(to_json(Change(VirtualServiceKey{"dns"})) == R"({"delete":"VirtualService","id":"dns"})");
  std::vector<std::string> fields;
  for (const auto& error : errors_of(R"({"kind":"VirtualService","id":"dns","adress":"10.0.0.1","port":"x"})"))
    fields.push_back(error.field);
  CHECK(fields == std::vector<std::string>{"changes[0].adress", "changes[0].address", "changes[0].port",
                                           "changes[0].serviceAddress", "changes[0].servicePort"});
}

TEST_CASE("keys say what shall not be there") {
  CHECK(to_json(Change(InterfaceKey{"a"})) == R"({"delete":"Interface","id":"a"})");
  CHECK(read<VirtualIpKey>(R"({"delete":"VirtualIp","interface":"a","family":"IPv6"})") == VirtualIpKey{"a", true});
  CHECK(read<VirtualIpKey>(R"({"delete":"VirtualIp","interface":"a"})") == VirtualIpKey{"a", false});
  const InterfacePrefixKey key{"a", prefix("10.0.0.0/24"), InterfacePrefix::Use::load_balancer};
  CHECK(to_json(Change(key)) ==
        R"({"delete":"InterfacePrefix","interface":"a","prefix":"10.0.0.0/24","use":"LoadBalancer"})");
  CHECK(read<InterfacePrefixKey>(to_json(Change(key))) == key);
}

TEST_CASE("every kind of change comes back as it was") {
  std::vector<std::size_t> seen(std::variant_size_v<Change>);
  const auto check_same = [&](const std::vector<Change>& batch) {
    const auto json = to_json(batch);
    const auto parsed = parse_changes(json);
    REQUIRE_MESSAGE(parsed.has_value(), parsed.error());
    REQUIRE(parsed->size() == batch.size());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      ++seen[batch[i].index()];
      const bool is_same = std::visit(
          [&](const auto& object) {
            const auto* const other = std::get_if<std::remove_cvref_t<decltype(object)>>(&(*parsed)[i]);
            return other != nullptr && *other == object;
          },
          batch[i]);
      REQUIRE_MESSAGE(is_same, json);
    }
    CHECK(to_json(*parsed) == json);
  };
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    RandomBatches batches(seed);
    for (int i = 0; i < 50; ++i) check_same(batches.next());
  }
  check_same({InterfacePrefixKey{"a", prefix("10.0.0.0/24"), {}}, NeighbourNatKey{vni(5), ip("192.0.2.1"), 7},
              LoadBalancerTargetKey{"b", ip("2001:db8::1")}, FirewallRuleKey{"a", "r"}, VirtualServiceKey{"dns"}});
  CHECK(std::count(seen.begin(), seen.end(), 0) == 0);
}

TEST_CASE("a list may be a document of kind List") {
  const auto parsed = parse_changes(R"({"kind":"List","items":[{"delete":"Nat","interface":"a"}]})");
  REQUIRE(parsed.has_value());
  CHECK(parsed->size() == 1);
  CHECK(parse_changes("[]")->empty());
}

TEST_CASE("everything that is wrong is named with its path and the nearest name") {
  const auto errors = errors_of(
      R"([{"delete":"Nat","interface":"a"},
          {"kind":"Nat","interfce":"a","address":"192.0.2","firstPort":70000,"lastPort":-1,"ports":"shared"},
          {"kind":"Route","vni":16777216,"prefix":5,"nextHops":[{"underlay":"::1","weigth":2},{"weight":1.5}]}])");
  const auto find = [&](std::string_view field) {
    const auto at = std::find_if(errors.begin(), errors.end(), [&](const auto& error) { return error.field == field; });
    return at == errors.end() ? std::string("nothing") : std::string(name(at->reason)) + ": " + at->message;
  };
  CHECK(find("changes[1].interfce") == "unknown: unknown field (did you mean \"interface\"?)");
  CHECK(find("changes[1].interface") == "required: is required");
  CHECK(find("changes[1].address").starts_with("invalid: "));
  CHECK(find("changes[1].firstPort") == "invalid: must be a whole number from 0 to 65535");
  CHECK(find("changes[1].lastPort") == "invalid: must be a whole number from 0 to 65535");
  CHECK(find("changes[1].ports") == "not_supported: must be one of Own, Shared (did you mean \"Shared\"?)");
  CHECK(find("changes[2].vni").starts_with("invalid: "));
  CHECK(find("changes[2].prefix") == "invalid: must be a text, such as 10.0.0.0/24");
  CHECK(find("changes[2].nextHops[0].weigth") == "unknown: unknown field (did you mean \"weight\"?)");
  CHECK(find("changes[2].nextHops[1].underlay") == "required: is required");
  CHECK(find("changes[2].nextHops[1].weight") == "invalid: must be a whole number from 0 to 65535");
  CHECK(errors.size() == 11);
}

TEST_CASE("kinds are known or refused") {
  CHECK(errors_of(R"({"kind":"Interfaces"})").front().message.find("did you mean \"Interface\"") != std::string::npos);
  CHECK(errors_of(R"({"id":"a"})").front().field == "changes[0].kind");
  CHECK(errors_of(R"({"kind":"Nat","delete":"Nat"})").front().field == "changes[0].kind");
  CHECK(errors_of("[7]").front().field == "changes[0]");
}

TEST_CASE("what is no JSON, comes twice, or is too deep or too large is refused") {
  const auto code = [](const std::string& text) {
    const auto parsed = parse_changes(text);
    return parsed ? "accepted" : std::string(name(parsed.error().code())) + " " + parsed.error().message();
  };
  CHECK(code("").starts_with("invalid no JSON"));
  CHECK(code("[{]").starts_with("invalid no JSON at byte"));
  CHECK(code("[] x").starts_with("invalid no JSON"));
  CHECK(code(R"([{"kind":"Nat","kind":"Nat"}])").find("the member \"kind\" comes twice") != std::string::npos);
  CHECK(code("[[[[[[[[[[]]]]]]]]]]").starts_with("invalid"));
  CHECK(code("\"\xff\"").starts_with("invalid"));
  std::string many = "{\"a\":1";
  for (int i = 0; i < 64; ++i) many += ",\"a" + std::to_string(i) + "\":1";
  CHECK(code(many + "}").find("more than 64 members") != std::string::npos);
  CHECK(code(std::string(max_configuration_json + 1, ' ')).starts_with("exhausted"));
  // Not more errors than anybody reads.
  std::string wrong = "[1";
  for (int i = 0; i < 1000; ++i) wrong += ",1";
  const auto first_ones = errors_of(wrong + "]");
  REQUIRE(first_ones.size() == 65);
  CHECK(first_ones.back().message.find("… and ") != std::string::npos);
  CHECK(first_ones.back().message.ends_with(" more"));
}

}  // namespace
}  // namespace ironcore::network
