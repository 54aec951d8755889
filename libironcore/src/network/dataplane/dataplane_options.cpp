// SPDX-License-Identifier: Apache-2.0
// Each option by itself; what a port or a file says of them is found out where it is opened.
#include "dataplane_options.hpp"

#include <algorithm>

#include "captures.hpp"
#include "flow_table.hpp"
#include "maglev.hpp"

namespace ironcore::network::dataplane {

namespace {

using Reason = FieldError::Reason;

void check_timeouts(const ConnectionTimeouts& timeouts, std::vector<FieldError>& errors) {
  const auto check_one = [&](std::chrono::seconds value, const char* field) {
    // Ticks are compared by their distance.
    if (value.count() < 1 || value > std::chrono::hours(24 * 365))
      errors.push_back({std::string("timeouts.") + field, Reason::invalid, "must be 1 second to 365 days"});
  };
  check_one(timeouts.tcp_established, "tcp_established");
  check_one(timeouts.tcp_transitory, "tcp_transitory");
  check_one(timeouts.tcp_closed, "tcp_closed");
  check_one(timeouts.tcp_reset, "tcp_reset");
  check_one(timeouts.tcp_one_sided, "tcp_one_sided");
  check_one(timeouts.udp, "udp");
  check_one(timeouts.icmp, "icmp");
  check_one(timeouts.other, "other");
}

void check_uplinks(const std::vector<Uplink>& uplinks, std::vector<FieldError>& errors) {
  for (std::size_t i = 0; i < uplinks.size(); ++i) {
    const auto add = [&](const char* field, Reason reason, std::string message) {
      errors.push_back({"uplinks[" + std::to_string(i) + "]." + field, reason, std::move(message)});
    };
    if (uplinks[i].port.empty()) add("port", Reason::required, "must name a port");
    for (std::size_t j = 0; j < i; ++j)
      if (uplinks[j].port == uplinks[i].port) add("port", Reason::duplicate, uplinks[i].port + " is named twice");
    if (const auto& address = uplinks[i].router_address) {
      const bool is_host = address->is_v6() && !address->is_multicast() && !address->is_unspecified();
      if (!is_host) add("router_address", Reason::invalid, "must be an IPv6 address that a router can have");
      if (uplinks[i].router != MacAddress())
        add("router", Reason::forbidden, "is told and to be asked for: choose one");
    } else if (uplinks[i].router.is_multicast() || uplinks[i].router == MacAddress())
      add("router", Reason::invalid, "must be the address of one station");
  }
}

/// What a load balancer's table may have, both primes: with less hardly anybody gets a fair share, more take 32 MiB for every load balancer.
constexpr std::uint32_t least_places = 101;
constexpr std::uint32_t most_places = 16'777'213;

std::uint32_t nearest_prime(std::uint32_t number) {
  for (std::uint32_t away = 0;; ++away) {
    if (number > away && is_prime(number - away)) return number - away;
    if (is_prime(number + away)) return number + away;
  }
}

}  // namespace

}  // namespace ironcore::network::dataplane

namespace ironcore::network {

Result<void> check(const DataplaneOptions& options) {
  using namespace dataplane;
  std::vector<FieldError> errors;
  const auto add = [&](std::string field, std::string message) {
    errors.push_back({std::move(field), Reason::invalid, std::move(message)});
  };
  constexpr unsigned host_bits = 64;
  if (options.underlay.is_v4() || options.underlay.length() != host_bits)
    add("underlay", "must be an IPv6 /64, and is " + options.underlay.to_text());
  if (options.underlay.address().is_multicast() || options.underlay.address().is_unspecified())
    add("underlay", "must be a prefix that one host can have");
  check_uplinks(options.uplinks, errors);
  if (options.mtu < 68 || options.mtu > 9000) add("mtu", "must be 68 to 9000, and is " + std::to_string(options.mtu));
  if (options.connections == 0 || options.connections > FlowTable::largest_capacity)
    add("connections", "must be 1 to " + std::to_string(FlowTable::largest_capacity));
  if (options.fragments == 0) add("fragments", "must be 1 at least");
  check_timeouts(options.timeouts, errors);
  const auto places = std::clamp(options.maglev_size, least_places, most_places);
  if (options.maglev_size != places || !is_prime(places)) {
    add("maglev_size", "must be a prime from " + std::to_string(least_places) + " to " + std::to_string(most_places) +
                           ", and is " + std::to_string(options.maglev_size) + "; the nearest is " +
                           std::to_string(nearest_prime(places)));
  }
  if (!options.flow_directory.empty() && options.configuration_directory.empty())
    add("flow_directory", "needs a configuration_directory: flows are nothing without what they belong to");
  if (!options.flow_directory.empty() && options.flow_directory == options.configuration_directory)
    add("flow_directory", "must be another one than configuration_directory, in memory");
  if (options.offload_packets_per_second == 0) add("offload_packets_per_second", "must be 1 at least");
  if (options.offload_connections == 0) add("offload_connections", "must be 1 at least");
  if (options.lease_seconds == 0) add("lease_seconds", "must be 1 at least");
  for (std::size_t i = 0; i < options.dns_v4.size(); ++i)
    if (options.dns_v4[i].is_v6()) add("dns_v4[" + std::to_string(i) + "]", "must be an IPv4 address");
  for (std::size_t i = 0; i < options.dns_v6.size(); ++i)
    if (options.dns_v6[i].is_v4()) add("dns_v6[" + std::to_string(i) + "]", "must be an IPv6 address");
  if (!errors.empty()) return Error(std::move(errors));
  return dataplane::check(options.captures);
}

}  // namespace ironcore::network
