// SPDX-License-Identifier: Apache-2.0
// NetworkInterface as a kind, with its table.
#include "kind_of.hpp"
#include "tables.hpp"

namespace ironcore::api {

namespace {

constexpr Column nic_columns[] = {{"NAME", false},  {"NETWORK", false},  {"MACHINE", false},
                                  {"IPS", false},   {"PREFIXES", false}, {"VIRTUALIP", false},
                                  {"STATE", false}, {"AGE", false},      {"PROVIDERID", true}};

std::vector<std::string> nic_cells(const NetworkInterface& object, WallTime now) {
  return {object.metadata.name,
          or_none(object.spec.network_ref.name),
          name_or_none(object.spec.machine_ref),
          list_or_none(object.status.ips),
          list_or_none(object.status.prefixes),
          or_none(object.status.virtual_ip),
          state_or_terminating(object.metadata, json::enumerator_name(object.status.state)),
          age(object.metadata, now),
          or_none(object.spec.provider_id)};
}

}  // namespace

template <>
const Kind& kind_of<NetworkInterface>() {
  static constexpr KindOf<NetworkInterface> kind(NameRule::dns_subdomain, {nic_columns, nic_cells});
  return kind;
}

}  // namespace ironcore::api
