// SPDX-License-Identifier: Apache-2.0
// Reads no more of a packet than says whose it is; who gets it checks the rest.
#include "dispatch.hpp"

#include <algorithm>
#include <cstring>

#include "bytes.hpp"
#include "hash.hpp"
#include "headers.hpp"
#include "local_frames.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint32_t outer_bytes = 40;
constexpr std::uint8_t next_header_ipv4 = 4;
constexpr std::uint8_t next_header_ipv6 = 41;
constexpr std::uint32_t icmp_header = 8;

PrefixBits bits_at(const std::uint8_t* address, bool is_v6) noexcept {
  return bits_of(is_v6 ? load_v6(address) : load_v4(address));
}

/// The port that a packet is for, as NAT counts: the identifier of an echo, of an ICMP error that of the packet it is about.
std::optional<std::uint16_t> port_of(const Headers& headers, std::span<const std::uint8_t> bytes) noexcept {
  if (!is_icmp_error(headers)) return headers.destination_port;
  const std::size_t quote = headers.transport + icmp_header;
  Headers quoted;
  const bool is_there = headers.has_transport && !headers.is_fragment && quote <= bytes.size() &&
                        parse(bytes.subspan(quote), headers.length - quote, quoted, Extent::quoted) == Malformed::none;
  return is_there ? std::optional(quoted.source_port) : std::nullopt;
}

}  // namespace

std::size_t Dispatch::hashed(std::uint64_t a, std::uint64_t b) const noexcept {
  return reduce(fold_product(a ^ hash_seeds[0], b ^ hash_seeds[1]), static_cast<std::uint32_t>(workers_));
}

std::optional<Dispatch::Inner> Dispatch::inner_of(const Packet& packet, std::uint32_t at, bool is_v6) noexcept {
  constexpr std::uint32_t v4_bytes = 20;
  constexpr std::uint32_t v6_bytes = 40;
  if (packet.bytes < at + (is_v6 ? v6_bytes : v4_bytes)) return std::nullopt;
  return Inner{packet.frame + at, packet.bytes - at, packet.frame_bytes - at, is_v6};
}

Place Dispatch::of(const Packet& packet) noexcept {
  if (packet.is_from_here) return from_wire(packet);
  if (packet.port >= snapshot_.ports.size() || packet.bytes < ethernet_bytes) return stay();
  const PortView& port = snapshot_.ports[packet.port];
  if (port.kind == PortView::Kind::uplink) return from_wire(packet);
  if (port.kind != PortView::Kind::machine) return stay();
  const std::uint16_t type = load16(packet.frame + 12);
  if (type != ethertype_ipv4 && type != ethertype_ipv6) return stay();
  const auto inner = inner_of(packet, ethernet_bytes, type == ethertype_ipv6);
  if (!inner) return stay();
  return of_ends(port.interface, inner->is_v6, inner->source(), inner->destination());
}

Place Dispatch::of(const FlowKey& key) const noexcept {
  const FlowScope scope = key.scope();
  if (!scope.is_wire()) return of_ends(scope.interface(), key.is_v6(), key.source(), key.destination());
  const auto* underlay = snapshot_.underlay(scope.underlay_suffix().data());
  if (underlay == nullptr) return stay();
  if (underlay->use == UnderlayUse::load_balancer) return of_balanced(key.source(), key.is_v6());
  if (underlay->use == UnderlayUse::virtual_service)
    return of_port(*snapshot_.virtual_services[underlay->index]->pool, key.destination_port());
  const auto* owner = snapshot_.interfaces[underlay->index].get();
  if (owner == nullptr) return stay();
  if (underlay->use == UnderlayUse::nat)
    return owner->nat_pool ? of_port(*owner->nat_pool, key.destination_port()) : stay();
  const auto* own = own_address(*underlay, *owner, key.is_v6(), key.destination());
  return own == nullptr ? stay() : of_ends(underlay->index, key.is_v6(), own, key.source());
}

/// Both directions of a flow between two machines of this host have the same one: of the two, that of the lower address.
Place Dispatch::of_ends(std::uint32_t interface, bool is_v6, const std::uint8_t* own,
                        const std::uint8_t* other) const noexcept {
  const auto* owner = snapshot_.interfaces[interface].get();
  if (owner == nullptr) return stay();
  const auto* network = snapshot_.network(owner->told.vni);
  const auto far = bits_at(other, is_v6);
  const auto found = network == nullptr ? std::nullopt : network->local.of(is_v6).find(far);
  return {home_of(found && far < bits_at(own, is_v6) ? found->value : interface), true};
}

/// The worker that finds what comes from the machine, if its port has one queue: then nothing of it has to cross.
std::size_t Dispatch::home_of(std::uint32_t interface) const noexcept {
  return snapshot_.attachments[interface].home % workers_;
}

/// Nothing comes back this way.
Place Dispatch::of_balanced(const std::uint8_t* source, bool is_v6) const noexcept {
  const auto bits = bits_at(source, is_v6);
  return {hashed(bits.high, bits.low), true};
}

Place Dispatch::of_port(const NatPool& pool, std::uint16_t port) const noexcept {
  if (!pool.contains(port)) return stay();
  return {pool.worker_of(port), true};
}

/// Of the machine, by which its own packets are known; null = it has none in this family.
const std::uint8_t* Dispatch::own_address(const UnderlayView& underlay, const InterfaceView& owner, bool is_v6,
                                          const std::uint8_t* destination) noexcept {
  if (underlay.use != UnderlayUse::virtual_ip) return destination;
  const auto& address = is_v6 ? owner.told.ipv6 : owner.told.ipv4;
  return address ? address->bytes().data() : nullptr;
}

Place Dispatch::from_wire(const Packet& packet) noexcept {
  if (packet.bytes < ethernet_bytes + outer_bytes) return stay();
  const std::uint8_t* outer = packet.frame + ethernet_bytes;
  const std::uint8_t next = outer[6];
  if (load16(packet.frame + 12) != ethertype_ipv6) return stay();
  const auto* underlay = snapshot_.underlay(outer + 32);
  if (underlay == nullptr) return stay();
  const bool is_wrapped = next == next_header_ipv4 || next == next_header_ipv6;
  if (is_wrapped == (underlay->use == UnderlayUse::virtual_service)) return stay();
  const auto inner = is_wrapped ? inner_of(packet, ethernet_bytes + outer_bytes, next == next_header_ipv6)
                                : inner_of(packet, ethernet_bytes, true);
  if (!inner) return stay();
  if (!is_wrapped)
    return to_ports(*snapshot_.virtual_services[underlay->index]->pool, FlowScope::wire(outer + 32), *inner);
  if (underlay->use == UnderlayUse::load_balancer) return of_balanced(inner->source(), inner->is_v6);
  const auto* owner = snapshot_.interfaces[underlay->index].get();
  if (owner == nullptr) return stay();
  if (underlay->use == UnderlayUse::nat) {
    const bool is_possible = !inner->is_v6 && owner->nat_pool;
    return is_possible ? to_ports(*owner->nat_pool, FlowScope::wire(outer + 32), *inner) : stay();
  }
  const auto* own = own_address(*underlay, *owner, inner->is_v6, inner->destination());
  return own == nullptr ? stay() : of_ends(underlay->index, inner->is_v6, own, inner->source());
}

Place Dispatch::to_ports(const NatPool& pool, FlowScope scope, const Inner& inner) noexcept {
  Headers headers;
  const std::span bytes(inner.ip, std::min(inner.bytes, inner.length));
  if (parse(bytes, inner.length, headers) != Malformed::none) return stay();
  if (headers.is_fragment) {
    const auto source = bits_at(inner.source(), inner.is_v6);
    const std::size_t home = hashed(source.high ^ source.low, headers.fragment_id);
    if (home != here_) return {home, false};
    if (!fragments_.track(scope, inner.ip, headers, now_)) return stay();
  }
  const auto port = port_of(headers, bytes);
  return port ? of_port(pool, *port) : stay();
}

}  // namespace ironcore::network::dataplane
