// SPDX-License-Identifier: Apache-2.0
// Pages to lists, lists to rows.
#include "ironcorectl/dataplane_vnis.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <optional>

#include "ironcorectl/table.hpp"

namespace ironcore::ctl {
namespace {

using network::VniUse;

struct Count {
  const char* header;
  const char* member;
  std::uint64_t VniUse::*count;
};
constexpr std::array<Count, 6> counts{{{"Interfaces", "interfaces", &VniUse::interfaces},
                                       {"IPv4 routes", "routesV4", &VniUse::routes_v4},
                                       {"IPv6 routes", "routesV6", &VniUse::routes_v6},
                                       {"Load balancers", "loadBalancers", &VniUse::load_balancers},
                                       {"NATs", "nats", &VniUse::nats},
                                       {"Neighbour NATs", "neighbourNats", &VniUse::neighbour_nats}}};

}  // namespace

Result<VniList> list_vnis(network::zmq::Client& client, std::size_t limit) {
  constexpr std::size_t page_vnis = 1000;
  VniList all;
  for (std::optional<Vni> after;;) {
    IRONCORE_TRY(auto page, client.vnis(std::min(page_vnis, limit - all.vnis.size()), after));
    if (!after) all.revision = page.revision;
    all.vnis.insert(all.vnis.end(), page.objects.begin(), page.objects.end());
    all.has_more = page.has_more;
    if (!page.has_more || page.objects.empty() || all.vnis.size() >= limit) return all;
    after = page.objects.back().vni;
  }
}

Result<VniUse> get_vni(network::zmq::Client& client, const std::string& word) {
  IRONCORE_TRY(const auto vni, within(Vni::parse(word), "expected vni NUMBER"));
  std::optional<Vni> before;
  if (vni != Vni()) before = Vni::make(vni.value() - 1).value();
  IRONCORE_TRY(const auto page, client.vnis(1, before));
  if (!page.objects.empty() && page.objects.front().vni == vni) return page.objects.front();
  return Error(ErrorCode::not_found,
               "no interface, route, load balancer or neighbour's NAT names it: `ironcorectl dataplane get vnis`");
}

void print_table(Session& session, std::span<const VniUse> vnis) {
  if (vnis.empty()) return;
  std::vector<std::string> head{"VNI"};
  for (const auto& one : counts) head.emplace_back(one.header);
  Table table(head);
  for (const auto& vni : vnis) {
    std::vector<std::string> cells{vni.vni.to_text()};
    for (const auto& one : counts) cells.push_back(std::to_string(vni.*one.count));
    table.add(std::move(cells));
  }
  table.print(session.out(), session.terminal());
}

std::string line_of(const VniUse& vni) {
  std::string line = "VNI " + vni.vni.to_text();
  for (const auto& one : counts)
    if (vni.*one.count != 0) line += std::string(", ") + one.header + " " + std::to_string(vni.*one.count);
  return line;
}

std::string to_json(const VniUse& vni) {
  boost::json::object out{{"kind", "Vni"}, {"vni", vni.vni.value()}};
  for (const auto& one : counts) out[one.member] = vni.*one.count;
  return boost::json::serialize(out);
}

}  // namespace ironcore::ctl
