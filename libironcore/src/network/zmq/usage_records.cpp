// SPDX-License-Identifier: Apache-2.0
// Usage by name, so that either side may know more of it.
#include "usage_records.hpp"

#include <array>
#include <utility>

namespace ironcore::network::zmq {

namespace {

constexpr std::array<std::pair<std::string_view, MeterCounters InterfaceMeterCounters::*>, 4> meters{
    {{"egress", &InterfaceMeterCounters::total_egress},
     {"ingress", &InterfaceMeterCounters::total_ingress},
     {"public egress", &InterfaceMeterCounters::public_egress},
     {"public ingress", &InterfaceMeterCounters::public_ingress}}};
constexpr std::array<std::pair<std::string_view, std::uint64_t VniUse::*>, 6> uses{
    {{"interfaces", &VniUse::interfaces},
     {"routes_v4", &VniUse::routes_v4},
     {"routes_v6", &VniUse::routes_v6},
     {"load_balancers", &VniUse::load_balancers},
     {"nats", &VniUse::nats},
     {"neighbour_nats", &VniUse::neighbour_nats}}};

}  // namespace

UsageReply to_record(const DataplaneUsage& usage) {
  UsageReply reply;
  for (const auto& use : usage.resources) {
    auto& record = reply.resources.emplace_back();
    record.what = name(use.what);
    record.of = use.of;
    for (const auto& part : use.workers) record.workers.push_back({part.used, part.room});
  }
  for (const auto& one : usage.meters) {
    auto& record = reply.interfaces.emplace_back();
    record.id = one.interface;
    for (const auto& [word, member] : meters) {
      const auto& counters = one.*member;
      for (std::size_t i = 0; i < colors; ++i)
        record.meters.push_back({word, name(static_cast<Color>(i)), counters.packets[i], counters.bytes[i]});
    }
  }
  for (const auto& one : usage.objects) reply.objects.push_back({one.kind, one.count});
  return reply;
}

DataplaneUsage usage_of(const UsageReply& record) {
  DataplaneUsage usage;
  for (const auto& one : record.resources) {
    for (std::size_t i = 0; i < resources; ++i) {
      if (name(static_cast<Resource>(i)) != one.what) continue;
      auto& use = usage.resources.emplace_back(ResourceUse{static_cast<Resource>(i), std::string(one.of), {}});
      for (const auto& part : one.workers) use.workers.push_back({part.used, part.room});
    }
  }
  for (const auto& one : record.interfaces) {
    auto& counters = usage.meters.emplace_back();
    counters.interface = std::string(one.id);
    for (const auto& said : one.meters) {
      for (const auto& [word, member] : meters) {
        for (std::size_t i = 0; i < colors; ++i) {
          if (said.meter != word || said.color != name(static_cast<Color>(i))) continue;
          (counters.*member).packets[i] = said.packets;
          (counters.*member).bytes[i] = said.bytes;
        }
      }
    }
  }
  for (const auto& one : record.objects) usage.objects.push_back({std::string(one.what), one.count});
  return usage;
}

VnisReply to_record(const ConfigurationPage<VniUse>& page) {
  VnisReply reply{.revision = page.revision, .has_more = page.has_more, .vnis = {}};
  for (const auto& use : page.objects) {
    auto& record = reply.vnis.emplace_back(VniRecord{use.vni.value(), {}});
    for (const auto& [word, member] : uses) record.counts.push_back({word, use.*member});
  }
  return reply;
}

Result<ConfigurationPage<VniUse>> vnis_of(const VnisReply& record) {
  ConfigurationPage<VniUse> page;
  page.revision = record.revision;
  page.has_more = record.has_more;
  for (const auto& one : record.vnis) {
    const auto vni = Vni::make(one.vni);
    if (!vni) return Error(ErrorCode::corrupt, "the server's answer names a VNI: " + vni.error().message());
    auto& use = page.objects.emplace_back();
    use.vni = *vni;
    for (const auto& count : one.counts)
      for (const auto& [word, member] : uses)
        if (count.what == word) use.*member = count.count;
  }
  return page;
}

}  // namespace ironcore::network::zmq
