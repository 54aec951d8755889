// SPDX-License-Identifier: Apache-2.0
// Entries as routes of the kernel, and back.
#include "ironcore/routing/kernel_routes.hpp"

#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/lwtunnel.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "netlink.hpp"

namespace ironcore::routing {

namespace {

using kernel::Answer;
using kernel::Bytes;
using kernel::MessageWriter;
using kernel::NetlinkSocket;
using kernel::read_as;

constexpr std::uint32_t metric = 1024;  // the kernel's own for IPv6
// The kernel lists a route in one message, of 32 KiB at most, and a hop with encapsulation takes about 120 bytes there.
constexpr std::size_t most_hops = 128;
// With the default buffer of a socket there is room for so many answers.
constexpr std::size_t batch_messages = 128;
constexpr std::size_t batch_bytes = 128 * 1024;
constexpr int listing_attempts = 10;

/// A route of the kernel needs a gateway to be one of several for IPv6. A tunnel asks nobody for it: the other end is that of the encapsulation.
constexpr std::array<std::uint8_t, 16> any_neighbor{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

std::uint64_t big_endian(std::uint64_t value) {
  if constexpr (std::endian::native == std::endian::little) return __builtin_bswap64(value);
  return value;
}

std::optional<IpAddress> address_of(Bytes bytes) {
  const auto address = IpAddress::from_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  if (!address) return std::nullopt;
  return *address;
}

/// What one next hop of a route says.
struct Ways {
  std::uint32_t device = 0;
  std::optional<IpAddress> gateway;
  std::uint16_t encapsulation = LWTUNNEL_ENCAP_NONE;
  std::optional<IpAddress> tunnel_end;
  std::uint64_t tunnel_id = 0;

  void take(std::uint16_t type, Bytes payload) {
    switch (type) {
      case RTA_OIF:
        device = read_as<std::uint32_t>(payload).value_or(0);
        break;
      case RTA_GATEWAY:
        gateway = address_of(payload);
        break;
      case RTA_VIA:
        if (payload.size() > sizeof(rtvia)) gateway = address_of(payload.subspan(sizeof(rtvia)));
        break;
      case RTA_ENCAP_TYPE:
        encapsulation = read_as<std::uint16_t>(payload).value_or(LWTUNNEL_ENCAP_NONE);
        break;
      case RTA_ENCAP:
        kernel::for_each_attribute(payload, [&](std::uint16_t inner, Bytes value) {
          if (inner == LWTUNNEL_IP6_DST) tunnel_end = address_of(value);
          if (inner == LWTUNNEL_IP6_ID) tunnel_id = big_endian(read_as<std::uint64_t>(value).value_or(0));
        });
        break;
      default:
        break;
    }
  }
};

}  // namespace

class KernelRoutes::Impl {
 public:
  Impl(KernelRoutesOptions options, NetlinkSocket socket) : options_(std::move(options)), socket_(std::move(socket)) {
    for (const auto& of : options_.tables) {
      tables_[of.vni] = of.table;
      vnis_[of.table] = of.vni;
    }
  }

  bool is_encapsulating() const { return options_.encapsulation == KernelRoutesOptions::Encapsulation::ip6; }

  // ---- what the host has ----

  struct Device {
    std::uint32_t index = 0;
    std::string kind;
    bool takes_ends_of_routes = false;
  };

  Result<Device> find_device() {
    Device device;
    MessageWriter message;
    message.begin(RTM_GETLINK, NLM_F_REQUEST, ifinfomsg{.ifi_family = AF_UNSPEC});
    message.attribute(IFLA_IFNAME, std::as_bytes(std::span(options_.device.c_str(), options_.device.size() + 1)));
    message.end();
    const auto got = socket_.get(message, [&](std::uint16_t type, Bytes body) {
      const auto link = read_as<ifinfomsg>(body);
      if (type != RTM_NEWLINK || !link) return;
      device.index = static_cast<std::uint32_t>(link->ifi_index);
      kernel::for_each_attribute(body.subspan(sizeof(ifinfomsg)), [&](std::uint16_t attribute, Bytes payload) {
        if (attribute == IFLA_LINKINFO) read_kind(payload, device);
      });
    });
    if (!got && got.error().code() != ErrorCode::wrong_state)
      return within(got, "interface " + options_.device).error();
    if (device.index == 0)
      return Error(ErrorCode::not_found, "interface " + options_.device + " does not exist: " +
                                             (is_encapsulating() ? "create it with `ip link add " + options_.device +
                                                                       " type ip6tnl mode any external`"
                                                                 : "create it, or name another one"));
    return device;
  }

  static void read_kind(Bytes information, Device& device) {
    kernel::for_each_attribute(information, [&](std::uint16_t type, Bytes payload) {
      if (type == IFLA_INFO_KIND) {
        device.kind.assign(reinterpret_cast<const char*>(payload.data()), payload.size());
        device.kind.resize(std::min(device.kind.size(), device.kind.find('\0')));
      } else if (type == IFLA_INFO_DATA) {
        kernel::for_each_attribute(payload, [&](std::uint16_t inner, Bytes value) {
          if (device.kind == "ip6tnl" && inner == IFLA_IPTUN_COLLECT_METADATA) device.takes_ends_of_routes = true;
          if (device.kind == "vxlan" && inner == IFLA_VXLAN_COLLECT_METADATA)
            device.takes_ends_of_routes = read_as<std::uint8_t>(value).value_or(0) != 0;
        });
      }
    });
  }

  Result<void> check_host() {
    if (options_.device.empty()) return {};
    IRONCORE_TRY(const auto device, find_device());
    if (!is_encapsulating()) return {};
    if (!device.takes_ends_of_routes)
      return Error(ErrorCode::unsupported,
                   "interface " + options_.device +
                       " is no tunnel that takes its other end from routes: make it with `ip link add " +
                       options_.device + " type ip6tnl mode any external`, or use no encapsulation");
    // The kernel looks at the kind of encapsulation before it looks for the route to be deleted, which is not there.
    MessageWriter message;
    begin(message, RTM_DELROUTE, 0, AF_INET, 32, options_.tables.front().table);
    message.attribute(RTA_DST, std::as_bytes(IpAddress().bytes()));
    message.number(RTA_PRIORITY, std::numeric_limits<std::uint32_t>::max());
    message.number(RTA_OIF, device.index);
    add_encapsulation(message, IpAddress::v6({}), {});
    message.end();
    IRONCORE_TRY(const auto answers, socket_.transact(message));
    const auto answer = answers.front().value_or(Answer{EAGAIN, {}});
    if (answer.error == 0 || answer.error == ESRCH) return {};
    auto error = kernel::to_error(answer).within("this kernel does not encapsulate into IPv6 by routes");
    if (error.code() == ErrorCode::unsupported)
      return Error(ErrorCode::unsupported,
                   error.message() + ": use no encapsulation, or a kernel with CONFIG_LWTUNNEL and ip6_tunnel");
    return error;
  }

  // ---- listing ----

  Result<std::vector<ForwardingEntry>> list() {
    std::uint32_t device = 0;
    if (!options_.device.empty()) {
      if (const auto found = find_device()) device = found->index;
    }
    std::vector<ForwardingEntry> entries;
    ours_.clear();
    for (const auto family : {AF_INET, AF_INET6})
      IRONCORE_CHECK(list(static_cast<std::uint8_t>(family), device, entries));
    for (const auto& entry : entries) ours_.insert({entry.vni, entry.destination});
    is_in_doubt_ = false;
    return entries;
  }

  Result<void> list(std::uint8_t family, std::uint32_t device, std::vector<ForwardingEntry>& entries) {
    const auto before = entries.size();
    for (int attempt = 1;; ++attempt) {
      MessageWriter message;
      // The kernel leaves out what others installed.
      message.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP,
                    rtmsg{.rtm_family = family, .rtm_protocol = options_.protocol, .rtm_type = RTN_UNICAST});
      message.end();
      const auto dumped = socket_.dump(message, [&](std::uint16_t type, Bytes body) {
        if (type == RTM_NEWROUTE) read_route(body, device, entries);
      });
      if (dumped) return {};
      if (dumped.error().code() != ErrorCode::unavailable || attempt == listing_attempts)
        return within(dumped, "list routes");
      entries.resize(before);
    }
  }

  void read_route(Bytes body, std::uint32_t device, std::vector<ForwardingEntry>& entries) const {
    const auto route = read_as<rtmsg>(body);
    if (!route || route->rtm_protocol != options_.protocol || route->rtm_type != RTN_UNICAST || route->rtm_tos != 0 ||
        (route->rtm_flags & RTM_F_CLONED) != 0)
      return;
    std::uint32_t table = route->rtm_table;
    std::uint32_t priority = 0;
    auto destination = route->rtm_family == AF_INET ? IpAddress::v4(0) : IpAddress::v6({});
    Ways single;
    std::vector<std::pair<Ways, std::uint8_t>> ways;
    kernel::for_each_attribute(body.subspan(sizeof(rtmsg)), [&](std::uint16_t type, Bytes payload) {
      if (type == RTA_TABLE)
        table = read_as<std::uint32_t>(payload).value_or(table);
      else if (type == RTA_PRIORITY)
        priority = read_as<std::uint32_t>(payload).value_or(0);
      else if (type == RTA_DST)
        destination = address_of(payload).value_or(destination);
      else if (type == RTA_MULTIPATH)
        read_several(payload, ways);
      else
        single.take(type, payload);
    });
    const auto vni = vnis_.find(table);
    const auto prefix = Prefix::make(destination, route->rtm_dst_len);
    if (vni == vnis_.end() || priority != metric || !prefix) return;
    if (ways.empty()) ways.emplace_back(single, std::uint8_t{1});
    ForwardingEntry entry{vni->second, *prefix, {}};
    for (const auto& [way, weight] : ways) entry.hops.push_back(hop_of(way, weight, vni->second, device));
    entry.hops = merged(std::move(entry.hops));
    if (entry.hops.size() == 1) entry.hops.front().weight = 1;
    entries.push_back(std::move(entry));
  }

  static void read_several(Bytes payload, std::vector<std::pair<Ways, std::uint8_t>>& ways) {
    while (const auto next = read_as<rtnexthop>(payload)) {
      if (next->rtnh_len < sizeof(rtnexthop) || next->rtnh_len > payload.size()) return;
      Ways way;
      way.device = static_cast<std::uint32_t>(next->rtnh_ifindex);
      kernel::for_each_attribute(payload.subspan(sizeof(rtnexthop), next->rtnh_len - sizeof(rtnexthop)),
                                 [&](std::uint16_t type, Bytes value) { way.take(type, value); });
      ways.emplace_back(way, static_cast<std::uint8_t>(next->rtnh_hops + 1));
      payload = payload.subspan(std::min<std::size_t>(payload.size(), NLMSG_ALIGN(next->rtnh_len)));
    }
  }

  ForwardingHop hop_of(const Ways& way, std::uint8_t weight, Vni vni, std::uint32_t device) const {
    const bool is_encapsulated = way.encapsulation == LWTUNNEL_ENCAP_IP6;
    const auto& address = is_encapsulated ? way.tunnel_end : way.gateway;
    if (is_encapsulated != is_encapsulating() || (device != 0 && way.device != device) || !address) return {};
    ForwardingHop hop{.address = *address, .weight = weight};
    const auto target = Vni::make(static_cast<std::uint32_t>(std::min<std::uint64_t>(way.tunnel_id, ~0U)));
    if (is_encapsulated && target && *target != vni) hop.target_vni = *target;
    return hop;
  }

  // ---- changing ----

  std::vector<Refusal> replace(std::span<const ForwardingEntry> entries) {
    std::vector<Refusal> refusals;
    const auto refuse_all = [&](const Error& error) {
      refusals.clear();
      for (std::size_t i = 0; i < entries.size(); ++i) refusals.push_back({i, error});
      return refusals;
    };
    if (is_in_doubt_) {
      if (const auto listed = list(); !listed) return refuse_all(listed.error());
    }
    std::uint32_t device = 0;
    std::optional<Error> no_device;
    if (!options_.device.empty()) {
      if (auto found = find_device())
        device = found->index;
      else
        no_device = std::move(found).error();
    }
    MessageWriter messages;
    std::vector<std::size_t> indices;  // of the entries of these messages
    std::set<Key> keys;
    const auto flush = [&] {
      send(messages, indices, entries, refusals);
      messages.clear();
      indices.clear();
      keys.clear();
    };
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto& entry = entries[i];
      const Key key{entry.vni, entry.destination};
      const auto table = tables_.find(entry.vni);
      if (entry.hops.empty()) {
        if (table == tables_.end()) continue;
      } else if (table == tables_.end()) {
        refusals.push_back(
            {i, Error(ErrorCode::not_found,
                      "VNI " + entry.vni.to_text() + " has no routing table of the kernel: add it to the tables")});
        continue;
      } else if (no_device) {
        refusals.push_back({i, Error(ErrorCode::wrong_state, no_device->message())});
        continue;
      }
      // Whether a route is ours, and so may be replaced, must be known of the one before.
      if (messages.messages() == batch_messages || messages.size() >= batch_bytes || keys.contains(key)) flush();
      if (entry.hops.empty()) {
        begin(messages, RTM_DELROUTE, 0, family(entry), entry.destination.length(), table->second);
        add_destination(messages, entry);
        messages.end();
      } else if (auto written = write(messages, entry, table->second, device); !written) {
        refusals.push_back({i, std::move(written).error()});
        continue;
      }
      indices.push_back(i);
      keys.insert(key);
    }
    flush();
    return refusals;
  }

  std::vector<ForwardingHop> as_listed(const ForwardingEntry& entry) const {
    std::vector<ForwardingHop> hops;
    for (const auto& hop : entry.hops) {
      if (hop == ForwardingHop{}) continue;
      auto& said = hops.emplace_back();
      said.address = hop.address;
      if (is_encapsulating() && hop.target_vni != entry.vni) said.target_vni = hop.target_vni;
      said.weight = hop.weight;
    }
    hops = merged(std::move(hops));
    if (hops.size() == 1) hops.front().weight = 1;
    return hops;
  }

 private:
  using Key = std::pair<Vni, Prefix>;

  static std::uint8_t family(const ForwardingEntry& entry) {
    return static_cast<std::uint8_t>(entry.destination.is_v4() ? AF_INET : AF_INET6);
  }

  void begin(MessageWriter& messages, std::uint16_t type, std::uint16_t flags, std::uint8_t family, unsigned length,
             std::uint32_t table) const {
    messages.begin(
        type, static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags),
        rtmsg{.rtm_family = family,
              .rtm_dst_len = static_cast<std::uint8_t>(length),
              .rtm_table = static_cast<std::uint8_t>(table < 256 ? table : RT_TABLE_UNSPEC),
              .rtm_protocol = options_.protocol,
              .rtm_scope = static_cast<std::uint8_t>(type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE),
              .rtm_type = RTN_UNICAST});
    messages.number(RTA_TABLE, table);
  }

  static void add_destination(MessageWriter& messages, const ForwardingEntry& entry) {
    messages.attribute(RTA_DST, std::as_bytes(entry.destination.address().bytes()));
    messages.number(RTA_PRIORITY, metric);
  }

  static void add_encapsulation(MessageWriter& messages, const IpAddress& end, Vni vni) {
    messages.number(RTA_ENCAP_TYPE, static_cast<std::uint16_t>(LWTUNNEL_ENCAP_IP6));
    const auto encapsulation = messages.open(RTA_ENCAP | NLA_F_NESTED);
    messages.number(LWTUNNEL_IP6_ID, big_endian(vni.value()));
    messages.attribute(LWTUNNEL_IP6_DST, std::as_bytes(end.bytes()));
    messages.close(encapsulation);
  }

  /// Writes nothing if it fails.
  Result<void> write(MessageWriter& messages, const ForwardingEntry& entry, std::uint32_t table,
                     std::uint32_t device) const {
    const auto hops = as_listed(entry);
    if (hops.empty()) return Error(ErrorCode::invalid, "0.0.0.0 is no next hop");
    if (hops.size() > most_hops)
      return Error(ErrorCode::exhausted, std::to_string(hops.size()) +
                                             " next hops, and a route of the kernel has at most " +
                                             std::to_string(most_hops) + " here: announce fewer");
    for (const auto& hop : hops) {
      if (hop.address.is_v6()) continue;
      if (is_encapsulating())
        return Error(ErrorCode::unsupported, "next hop " + hop.address.to_text() +
                                                 ": packets are put into IPv6, which needs a next hop of IPv6");
      if (!entry.destination.is_v4())
        return Error(ErrorCode::unsupported,
                     "next hop " + hop.address.to_text() + ": a prefix of IPv6 needs next hops of IPv6");
    }
    const auto flags =
        ours_.contains({entry.vni, entry.destination}) ? NLM_F_CREATE | NLM_F_REPLACE : NLM_F_CREATE | NLM_F_EXCL;
    begin(messages, RTM_NEWROUTE, static_cast<std::uint16_t>(flags), family(entry), entry.destination.length(), table);
    add_destination(messages, entry);
    const auto several = messages.open(RTA_MULTIPATH);
    for (const auto& hop : hops) {
      const auto one =
          messages.open_structure(rtnexthop{.rtnh_len = 0,
                                            .rtnh_flags = static_cast<std::uint8_t>(device != 0 ? RTNH_F_ONLINK : 0),
                                            .rtnh_hops = static_cast<std::uint8_t>(std::max<int>(hop.weight, 1) - 1),
                                            .rtnh_ifindex = static_cast<int>(device)});
      if (is_encapsulating()) {
        add_encapsulation(messages, hop.address, hop.target_vni.value() != 0 ? hop.target_vni : entry.vni);
        add_gateway(messages, entry, IpAddress::v6(any_neighbor));
      } else {
        add_gateway(messages, entry, hop.address);
      }
      messages.close(one);
    }
    messages.close(several);
    messages.end();
    return {};
  }

  static void add_gateway(MessageWriter& messages, const ForwardingEntry& entry, const IpAddress& gateway) {
    if (entry.destination.is_v4() == gateway.is_v4()) {
      messages.attribute(RTA_GATEWAY, std::as_bytes(gateway.bytes()));
      return;
    }
    std::array<std::uint8_t, sizeof(rtvia) + 16> via{};
    const rtvia header{.rtvia_family = AF_INET6};
    std::memcpy(via.data(), &header, sizeof header);
    std::ranges::copy(gateway.bytes(), via.begin() + sizeof header);
    messages.attribute(RTA_VIA, std::as_bytes(std::span(via)));
  }

  void send(MessageWriter& messages, const std::vector<std::size_t>& indices, std::span<const ForwardingEntry> entries,
            std::vector<Refusal>& refusals) {
    if (indices.empty()) return;
    const auto answers = socket_.transact(messages);
    if (!answers) {
      is_in_doubt_ = true;
      for (const auto index : indices) refusals.push_back({index, answers.error()});
      return;
    }
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const auto& entry = entries[indices[i]];
      const auto& answer = (*answers)[i];
      if (!answer) {
        is_in_doubt_ = true;
        refusals.push_back({indices[i], Error(ErrorCode::timeout, "the kernel's answer was lost, it is asked again")});
        continue;
      }
      const bool is_removal = entry.hops.empty();
      if (answer->error == 0 || (is_removal && (answer->error == ESRCH || answer->error == ENOENT))) {
        if (is_removal)
          ours_.erase({entry.vni, entry.destination});
        else
          ours_.insert({entry.vni, entry.destination});
        continue;
      }
      auto error = kernel::to_error(*answer);
      if (error.code() == ErrorCode::conflict) {
        is_in_doubt_ = true;  // it may be one of ours that is not known any more
        error = Error(ErrorCode::conflict, "the routing table has a route of somebody else with metric " +
                                               std::to_string(metric) + ": remove it, or give it another metric");
      }
      refusals.push_back({indices[i], std::move(error)});
    }
  }

  const KernelRoutesOptions options_;
  NetlinkSocket socket_;
  std::map<Vni, std::uint32_t> tables_;
  std::map<std::uint32_t, Vni> vnis_;
  std::set<Key> ours_;       ///< installed by us: may be replaced
  bool is_in_doubt_ = true;  ///< `ours_` may be wrong
};

Result<std::unique_ptr<KernelRoutes>> KernelRoutes::open(KernelRoutesOptions options) {
  if (options.tables.empty()) return Error(ErrorCode::invalid, "tables: at least one VNI needs a routing table");
  std::set<Vni> vnis;
  std::set<std::uint32_t> tables;
  for (const auto& of : options.tables) {
    if (of.table == RT_TABLE_UNSPEC || of.table == RT_TABLE_LOCAL)
      return Error(ErrorCode::invalid, "tables: VNI " + of.vni.to_text() + ": table " + std::to_string(of.table) +
                                           " is the kernel's own: choose one from 1, not 255");
    if (!vnis.insert(of.vni).second)
      return Error(ErrorCode::invalid, "tables: VNI " + of.vni.to_text() + " is there twice");
    if (!tables.insert(of.table).second)
      return Error(ErrorCode::invalid, "tables: table " + std::to_string(of.table) + " has two VNIs");
  }
  if (options.device.size() >= IFNAMSIZ)
    return Error(ErrorCode::invalid,
                 "device: the name of an interface has at most " + std::to_string(IFNAMSIZ - 1) + " bytes");
  if (options.device.empty() && options.encapsulation != KernelRoutesOptions::Encapsulation::none)
    return Error(ErrorCode::invalid, "device: encapsulation needs a tunnel");
  if (options.protocol <= RTPROT_STATIC || options.protocol == 255)
    return Error(ErrorCode::invalid, "protocol: 5 to 254, those below are the kernel's and the administrator's");
  IRONCORE_TRY(auto socket, NetlinkSocket::open());
  auto impl = std::make_unique<Impl>(std::move(options), std::move(socket));
  IRONCORE_CHECK(impl->check_host());
  return std::unique_ptr<KernelRoutes>(new KernelRoutes(std::move(impl)));
}

KernelRoutes::KernelRoutes(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KernelRoutes::~KernelRoutes() = default;

Result<std::vector<ForwardingEntry>> KernelRoutes::list() {
  return impl_->list();
}

std::vector<ForwardingTable::Refusal> KernelRoutes::replace(std::span<const ForwardingEntry> entries) {
  return impl_->replace(entries);
}

std::vector<ForwardingHop> KernelRoutes::as_listed(const ForwardingEntry& entry) const {
  return impl_->as_listed(entry);
}

}  // namespace ironcore::routing
