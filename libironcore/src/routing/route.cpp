// SPDX-License-Identifier: Apache-2.0
// Routes as text.
#include "ironcore/routing/route.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "../base/digits.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::routing {

namespace {

Error wrong(std::string_view field, std::string message) {
  return Error({FieldError{std::string(field), FieldError::Reason::invalid, std::move(message)}});
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Result<std::uint32_t> number(std::string_view text, std::string_view field, std::uint32_t max) {
  if (const auto value = strict_decimal(text, max)) return *value;
  return wrong(field, in_quotes(text) + " is no number from 0 to " + std::to_string(max));
}

}  // namespace

std::string_view name(RouteType type) noexcept {
  switch (type) {
    case RouteType::standard:
      return "standard";
    case RouteType::nat:
      return "nat";
    case RouteType::load_balancer_target:
      return "load-balancer-target";
  }
  return "unknown";
}

Result<RouteType> parse_route_type(std::string_view text) {
  if (text == "standard" || text == "STD") return RouteType::standard;
  if (text == "nat" || text == "NAT") return RouteType::nat;
  if (text == "load-balancer-target" || text == "LB") return RouteType::load_balancer_target;
  return Error(ErrorCode::invalid, in_quotes(text) + " is no type of a route: standard, nat or load-balancer-target");
}

Result<void> check(const Route& route) {
  if (route.destination != route.destination.network())
    return wrong("destination",
                 route.destination.to_text() + " has host bits: " + route.destination.network().to_text());
  if (route.next_hop.is_unspecified() || route.next_hop.is_multicast())
    return wrong("next hop", route.next_hop.to_text() + " is no address of a host");
  const auto [from, to] = route.nat_ports;
  if (route.type == RouteType::nat) {
    if (from == 0 || from > to)
      return wrong("nat ports", std::to_string(from) + "-" + std::to_string(to) + " is no range from 1 to 65535");
  } else if (from != 0 || to != 0) {
    return wrong("nat ports", "only routes of type nat have ports");
  }
  if (route.type != RouteType::standard && route.type != RouteType::nat &&
      route.type != RouteType::load_balancer_target)
    return wrong("type", "there is no such type of route");
  if (route.weight == 0) return wrong("weight", "a weight is a number from 1 to 255");
  if (route.mobility > max_mobility)
    return wrong("mobility", std::to_string(route.mobility) + " is more than " + std::to_string(max_mobility));
  return {};
}

Result<Route> parse_route(std::string_view text) {
  const auto words = split(text, ',');
  const auto parts = split(words[0], '#');
  if (parts.size() < 3 || parts.size() == 5 || parts.size() > 6)
    return Error(
        ErrorCode::invalid,
        in_quotes(text) + " is no route: write VNI#PREFIX#NEXT-HOP, with #nat#FROM#TO or another type behind it");
  Route route;
  IRONCORE_TRY(route.vni, Vni::parse(parts[0]));
  IRONCORE_TRY(route.destination, Prefix::parse(parts[1]));
  IRONCORE_TRY(route.next_hop, IpAddress::parse(parts[2]));
  if (parts.size() > 3) {
    IRONCORE_TRY(route.type, parse_route_type(parts[3]));
  }
  if (parts.size() == 6) {
    IRONCORE_TRY(const auto from, number(parts[4], "nat ports", 65'535));
    IRONCORE_TRY(const auto to, number(parts[5], "nat ports", 65'535));
    route.nat_ports = {static_cast<std::uint16_t>(from), static_cast<std::uint16_t>(to)};
  }
  for (std::size_t i = 1; i < words.size(); ++i) {
    const auto key = words[i].substr(0, words[i].find('='));
    const auto value = key.size() == words[i].size() ? std::string_view() : words[i].substr(key.size() + 1);
    if (key == "target") {
      IRONCORE_TRY(route.target_vni, Vni::parse(value));
    } else if (key == "weight") {
      IRONCORE_TRY(const auto weight, number(value, "weight", 255));
      route.weight = static_cast<std::uint8_t>(weight);
    } else if (key == "mobility") {
      IRONCORE_TRY(route.mobility, number(value, "mobility", max_mobility));
    } else {
      return Error(ErrorCode::invalid,
                   in_quotes(words[i]) + " is no part of a route: target=VNI, weight=N or mobility=N");
    }
  }
  IRONCORE_CHECK(check(route));
  return route;
}

std::string to_text(const Route& route) {
  auto text = route.vni.to_text() + "#" + route.destination.to_text() + "#" + route.next_hop.to_text();
  if (route.type != RouteType::standard) text += "#" + std::string(name(route.type));
  if (route.type == RouteType::nat)
    text += "#" + std::to_string(route.nat_ports.from) + "#" + std::to_string(route.nat_ports.to);
  if (route.target_vni.value() != 0) text += ",target=" + route.target_vni.to_text();
  if (route.weight != 1) text += ",weight=" + std::to_string(route.weight);
  if (route.mobility != 0) text += ",mobility=" + std::to_string(route.mobility);
  return text;
}

}  // namespace ironcore::routing
