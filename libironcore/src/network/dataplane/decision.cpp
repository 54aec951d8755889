// SPDX-License-Identifier: Apache-2.0
// One stage after the other.
#include "decision.hpp"

#include <cstring>

#include "bytes.hpp"
#include "nat64.hpp"
#include "rewrite.hpp"
#include "trace.hpp"

namespace ironcore::network::dataplane {

namespace {

PrefixBits bits_at(const std::uint8_t* address, bool is_v6) noexcept {
  const auto word = [](const std::uint8_t* at) { return std::uint64_t{load32(at)} << 32 | load32(at + 4); };
  return is_v6 ? PrefixBits{word(address), word(address + 8)} : PrefixBits{std::uint64_t{load32(address)} << 32, 0};
}

/// Nobody can be sent to: unspecified, loopback, multicast, broadcast, link-local (RFC 6890).
bool is_forwardable(PrefixBits bits, bool is_v6) noexcept {
  if (is_v6) {
    const bool is_low = bits.high == 0 && bits.low <= 1;
    return !is_low && bits.high >> 56 != 0xff && bits.high >> 54 != 0x3fa;  // ff00::/8, fe80::/10
  }
  const auto address = static_cast<std::uint32_t>(bits.high >> 32);
  const std::uint32_t first = address >> 24;
  return first != 0 && first != 127 && first < 224 && address >> 16 != 0xa9fe;
}

/// As the one sees the packet whose rules are asked.
Classifier::Query query_of(const Question& question, const FlowKey& key) noexcept {
  Classifier::Query query;
  query.is_v6 = key.is_v6();
  query.source = bits_at(key.source(), key.is_v6());
  query.destination = bits_at(key.destination(), key.is_v6());
  query.protocol = key.protocol();
  query.has_transport = true;
  query.source_port = key.source_port();
  query.destination_port = key.destination_port();
  query.icmp_type = question.icmp_type;
  query.icmp_code = question.icmp_code;
  return query;
}

/// Without a rule that fits: nothing comes in, and everything goes out unless there are rules for that (reference §10).
bool may_pass(const RuleSet& rules, const Classifier::Query& query, FirewallRule::Direction direction) noexcept {
  const auto found = rules.classifier.find(query);
  if (found != Classifier::nothing) return rules.actions[found] == FirewallRule::Action::allow;
  return direction == FirewallRule::Direction::egress && rules.actions.empty();
}

bool has_hop(const Action* before, std::uint32_t hop) noexcept {
  return before != nullptr && (before->verdict == Verdict::underlay || before->verdict == Verdict::here) &&
         before->out == hop;
}

/// The one that the flow had, if the route still has it; else by weight. RFC 2992 calls it hash-threshold.
std::uint32_t pick(const std::vector<NextHop>& hops, std::uint64_t hash, const Action* before) noexcept {
  std::uint32_t sum = 0;
  for (const auto& hop : hops) {
    if (has_hop(before, hop.address)) return hop.address;
    sum += hop.weight;
  }
  std::uint32_t point = reduce(hash, sum);
  for (const auto& hop : hops) {
    if (point < hop.weight) return hop.address;
    point -= hop.weight;
  }
  return hops.back().address;
}

Action to_machine(std::uint32_t interface) noexcept {
  Action action;
  action.verdict = Verdict::machine;
  action.out = interface;
  return action;
}

Action to_nowhere(Drop drop) noexcept {
  Action action;
  action.verdict = Verdict::drop;
  action.out = static_cast<std::uint32_t>(drop);
  return action;
}

bool is_same(const std::optional<IpAddress>& address, const std::uint8_t* bytes) noexcept {
  return address && std::memcmp(address->bytes().data(), bytes, address->bytes().size()) == 0;
}

FlowScope wire_of(const std::optional<IpAddress>& underlay) noexcept {
  return FlowScope::wire(underlay->bytes().data() + 8);
}

V4Address v4_of(const std::uint8_t* bytes) noexcept {
  V4Address out;
  std::memcpy(out.data(), bytes, out.size());
  return out;
}

/// `public_side`: the key that comes from the wire.
Outside outside_of(const FlowKey& public_side) noexcept {
  const auto space = port_space(public_side.protocol()).value_or(PortSpace::tcp);
  const std::uint16_t port = space == PortSpace::icmp ? std::uint16_t{0} : public_side.source_port();
  return {bits_at(public_side.source(), public_side.is_v6()), port, space};
}

bool is_behind_well_known_prefix(const std::uint8_t* address) noexcept {
  return std::memcmp(address, well_known_prefix.data(), 12) == 0;
}

std::string name_of(UnderlayUse use) {
  switch (use) {
    case UnderlayUse::virtual_ip:
      return "'s virtual IP";
    case UnderlayUse::nat:
      return "'s NAT";
    case UnderlayUse::load_balancer_target:
      return " as a target of a load balancer";
    case UnderlayUse::prefix:
      return "'s prefix";
    default:
      return "";
  }
}

bool serves(const LoadBalancer& balancer, std::uint8_t protocol, std::uint16_t port) noexcept {
  for (const auto& service : balancer.services)
    if (service.protocol == protocol && service.first_port <= port && port <= service.last_port) return true;
  return false;
}

class Decider {
 public:
  Decider(const Snapshot& snapshot, const Question& question, bool has_firewall) noexcept
      : snapshot_(snapshot), question_(question), key_(question.key), has_firewall_(has_firewall) {}

  Decision decide() noexcept {
    if (!key_.scope().is_wire() && !key_.is_v6())
      service_ = snapshot_.virtual_service(destination(), key_.protocol(), key_.destination_port());
    if (service_ == nullptr && !is_forwardable(destination(), key_.is_v6())) return refuse(Drop::destination);
    Decision out = key_.scope().is_wire() ? from_wire() : from_machine();
    if (out.drop == Drop::none && out.forward.verdict != Verdict::plain)
      meet(out.forward.verdict == Verdict::machine ? Stage::delivery : Stage::encapsulation);
    out.stages = stages_met_;
    return out;
  }

 private:
  PrefixBits source() const noexcept { return bits_at(key_.source(), key_.is_v6()); }
  PrefixBits destination() const noexcept { return bits_at(key_.destination(), key_.is_v6()); }
  bool is_icmp() const noexcept { return key_.protocol() == (key_.is_v6() ? protocol_icmpv6 : protocol_icmp); }
  bool is_echo_request() const noexcept {
    constexpr std::uint8_t request_v4 = 8;
    constexpr std::uint8_t request_v6 = 128;
    return is_icmp() && question_.icmp_type == (key_.is_v6() ? request_v6 : request_v4);
  }
  bool is_echo() const noexcept {
    constexpr std::uint8_t reply_v4 = 0;
    constexpr std::uint8_t reply_v6 = 129;
    return is_echo_request() || (is_icmp() && question_.icmp_type == (key_.is_v6() ? reply_v6 : reply_v4));
  }
  /// Whose flows a NAT can tell apart.
  std::optional<PortSpace> translatable_space() const noexcept {
    if (is_icmp() && !is_echo()) return std::nullopt;
    const auto space = port_space(key_.protocol());
    return space == PortSpace::icmp && !is_icmp() ? std::nullopt : space;  // the other family's is none here
  }

  Decision refuse(Drop drop) noexcept {
    Decision out;
    out.drop = drop;
    return out;
  }

  void meet(Stage stage) noexcept { stages_met_.meet(stage); }

  void depend_on(Generations::Slot slot) noexcept { out_.slots[slots_++] = slot; }

  const InterfaceView* interface_at(std::uint32_t index) const noexcept {
    return index < snapshot_.interfaces.size() ? snapshot_.interfaces[index].get() : nullptr;
  }

  const Action* before(Direction direction) const noexcept {
    return question_.before == nullptr ? nullptr : &question_.before->side(direction).action;
  }

  template <class Text>
  void note(const char* stage, Text text) const noexcept {
    if (question_.trace != nullptr) question_.trace->note(stage, text());
  }

  bool passes(const InterfaceView& machine, const FlowKey& seen, FirewallRule::Direction direction) noexcept {
    const bool is_egress = direction == FirewallRule::Direction::egress;
    meet(is_egress ? Stage::egress_rules : Stage::ingress_rules);
    const auto& rules = is_egress ? machine.egress : machine.ingress;
    const auto query = query_of(question_, seen);
    const bool may = !has_firewall_ || may_pass(rules, query, direction);
    note(is_egress ? "egress rules" : "ingress rules", [&] {
      if (!has_firewall_) return std::string("the firewall is off");
      const auto found = rules.classifier.find(query);
      const auto what = found == Classifier::nothing ? "no rule of " + machine.told.id + " fits"
                                                     : "rule " + rules.ids[found] + " of " + machine.told.id;
      return what + (may ? ": allowed" : ": denied");
    });
    return may;
  }

  Action to_hop(std::uint32_t hop) const noexcept {
    Action action;
    action.verdict = snapshot_.is_here(hop) ? Verdict::here : Verdict::underlay;
    action.out = hop;
    action.entropy = entropy();
    return action;
  }
  std::uint32_t entropy() const noexcept { return static_cast<std::uint32_t>(question_.hash >> 20) & 0xf'ffff; }

  /// The way of a network to an address. What is public and on this host does not go to the router and back.
  Action way_to(const NetworkView& network, bool is_v6, PrefixBits address, std::uint16_t port,
                Direction direction) noexcept {
    meet(Stage::route);
    if (const auto local = network.local.of(is_v6).find(address)) {
      const auto& machine = *snapshot_.interfaces[local->value];
      note(stage_of(direction), [&] { return "machine " + machine.told.id + " has it"; });
      // Whoever sends from outside may claim to be a machine here: its own rules decide whether it wants the answer.
      return key_.scope().is_wire() ? to_hop(machine.next_hop) : to_machine(local->value);
    }
    const auto route = network.routes.of(is_v6).find(address);
    if (!route) {
      note(stage_of(direction), [] { return std::string("no route"); });
      return to_nowhere(Drop::route);
    }
    const bool is_public = route->length == 0;
    const auto* range = is_public ? snapshot_.public_range(address, is_v6, port) : nullptr;
    const bool is_ours = range != nullptr && range->interface != PublicRange::elsewhere;
    Action action = to_hop(is_ours ? range->next_hop
                                   : pick(snapshot_.next_hop_sets[route->value], question_.hash, before(direction)));
    action.is_public = is_public;
    note(stage_of(direction), [&] {
      const std::string kind = is_ours ? "public address of this host: " : is_public ? "default route: " : "";
      return kind + text_of_hop(snapshot_, action.out) +
             (is_public || is_ours ? "" : ", by a prefix of " + std::to_string(route->length) + " bits");
    });
    return action;
  }

  static const char* stage_of(Direction direction) noexcept {
    return direction == Direction::forward ? "route" : "way back";
  }

  // ---- machines ----

  Decision from_machine() noexcept {
    const std::uint32_t index = key_.scope().interface();
    const auto* sender = interface_at(index);
    if (sender == nullptr) return refuse(Drop::port);
    meet(Stage::sender);
    const bool is_its = sender->own.of(key_.is_v6()).find(source()).has_value();
    note("sender", [&] {
      return "machine " + sender->told.id +
             (is_its ? ", from an address of its own" : ", but not from an address of its own");
    });
    if (!is_its) return refuse(Drop::source_address);
    if (!passes(*sender, key_, FirewallRule::Direction::egress)) return refuse(Drop::egress_rule);
    out_.owner = static_cast<std::uint16_t>(index);
    out_.reverse = to_machine(index);
    // Public addresses, and virtual services.
    depend_on(Generations::nat(destination()));
    if (service_ != nullptr) return to_service(*sender);
    const Vni vni = sender->told.vni;
    const auto* network = snapshot_.network(vni);
    if (network == nullptr) return refuse(Drop::route);

    out_.reverse_key = key_.reversed(FlowScope::wire(sender->underlay.data() + 8));
    depend_on(Generations::interface(index));
    depend_on(Generations::network(vni));
    depend_on(Generations::route(vni, key_.is_v6(), destination()));
    if (const auto balancer = network->balanced.of(key_.is_v6()).find(destination()))
      return to_balancer(balancer->value, to_machine(index));
    out_.forward = way_to(*network, key_.is_v6(), destination(), key_.destination_port(), Direction::forward);
    switch (out_.forward.verdict) {
      case Verdict::drop:
        return refuse(static_cast<Drop>(out_.forward.out));
      case Verdict::machine:
        return to_local(out_.forward.out);
      case Verdict::underlay:
      case Verdict::here:
      case Verdict::plain:
        break;
    }
    if (out_.forward.is_public) return to_public(*sender);
    return finish();
  }

  Decision to_local(std::uint32_t index) noexcept {
    const auto* receiver = interface_at(index);
    if (receiver == nullptr) return refuse(Drop::route);
    if (!passes(*receiver, key_, FirewallRule::Direction::ingress)) return refuse(Drop::ingress_rule);
    depend_on(Generations::interface(index));
    out_.reverse_key = key_.reversed(FlowScope::machine(index));
    return finish();
  }

  /// Only the primary addresses are translated (reference §8).
  Decision to_public(const InterfaceView& sender) noexcept {
    out_.reverse.is_public = true;
    const bool is_v6 = key_.is_v6();
    if (is_v6 && sender.nat && is_same(sender.told.ipv6, key_.source()) &&
        is_behind_well_known_prefix(key_.destination()))
      return to_v4(sender);
    if (!is_same(is_v6 ? sender.told.ipv6 : sender.told.ipv4, key_.source())) return finish();
    if (!is_v6 && sender.nat) return to_nat(sender, key_.destination());
    const auto& virtual_ip = is_v6 ? sender.virtual_ipv6 : sender.virtual_ipv4;
    if (virtual_ip) {
      meet(Stage::virtual_ip);
      out_.reverse_key.set_scope(wire_of(virtual_ip->underlay));
      out_.reverse_key.set_destination(virtual_ip->address.bytes().data());
      note("virtual IP", [&] { return "its source becomes " + virtual_ip->address.to_text(); });
    }
    return finish();
  }

  /// A way to the public whose IPv4 end may be here.
  void to_public_range(Action& way, PrefixBits address, std::uint16_t port) const noexcept {
    if (!way.is_public) return;
    const auto* range = snapshot_.public_range(address, false, port);
    if (range == nullptr || range->interface == PublicRange::elsewhere) return;
    way = to_hop(range->next_hop);
    way.is_public = true;
  }

  /// NAT64 (RFC 6146). The way is that of the IPv6 packet, unless the one that it is for is here.
  Decision to_v4(const InterfaceView& sender) noexcept {
    const auto* address = key_.destination() + 12;
    const auto bits = bits_at(address, false);
    if (!is_forwardable(bits, false)) return refuse(Drop::destination);
    depend_on(Generations::nat(bits));
    to_public_range(out_.forward, bits, key_.destination_port());
    return to_nat(sender, address);
  }

  Decision to_nat(const InterfaceView& sender, const std::uint8_t* outside) noexcept {
    meet(Stage::nat);
    const auto space = translatable_space();
    if (!space) return refuse(Drop::translation);
    const bool is_echoing = is_icmp();
    const std::uint8_t protocol = is_echoing ? protocol_icmp : key_.protocol();
    const auto public_key = [&](std::uint16_t port) {
      const std::uint16_t outside_port = is_echoing ? port : key_.destination_port();
      return FlowKey(wire_of(sender.nat->underlay), false, protocol, {outside, outside_port},
                     {sender.nat->address.bytes().data(), port});
    };
    const auto port = port_of(*sender.nat_pool, sender, *space, outside_of(public_key(0)));
    note(key_.is_v6() ? "NAT64" : "NAT", [&] {
      return port ? "its source becomes port " + std::to_string(*port) + " of " + sender.nat->address.to_text()
                  : "no port of " + sender.nat->address.to_text() + " is free";
    });
    if (!port) return refuse(Drop::nat_ports);
    out_.holds_port = true;
    out_.reverse_key = public_key(*port);
    return finish();
  }

  // ---- virtual services ----

  Decision to_service(const InterfaceView& sender) noexcept {
    meet(Stage::nat);
    const auto& told = service_->told;
    depend_on(Generations::interface(out_.owner));
    const auto public_key = [&](std::uint16_t port) {
      return FlowKey(wire_of(told.underlay), true, key_.protocol(),
                     {told.service_address.bytes().data(), told.service_port}, {told.underlay->bytes().data(), port});
    };
    const auto space = port_space(key_.protocol());
    const auto port = space ? port_of(*service_->pool, sender, *space, outside_of(public_key(0))) : std::nullopt;
    note("virtual service", [&] {
      return told.id + (port ? ": its source becomes port " + std::to_string(*port) + " of " + told.underlay->to_text()
                             : " has no port free");
    });
    if (!port) return refuse(Drop::nat_ports);
    out_.holds_port = true;
    out_.reverse_key = public_key(*port);
    out_.forward.verdict = Verdict::plain;
    out_.forward.entropy = entropy();
    return finish();
  }

  // ---- ports ----

  /// Whether the connection of before holds this one of the ports that there are now.
  bool holds(const NatPool& pool, std::uint16_t port) const noexcept {
    const auto& state = question_.before->state;
    return state.holds_port && pool.born() <= state.valid_at && pool.contains(port);
  }

  /// The one that the connection holds; or else one is taken.
  std::optional<std::uint16_t> port_of(NatPool& pool, const InterfaceView& sender, PortSpace space,
                                       const Outside& outside) const noexcept {
    if (const auto* held = question_.before) {
      const auto port = held->side(Direction::reverse).key.destination_port();
      return holds(pool, port) ? std::optional(port) : std::nullopt;
    }
    const Inside inside{source(), sender.told.vni.value(), key_.source_port(), space, key_.is_v6()};
    return pool.take(question_.worker, inside, outside, Opener::inside);
  }

  // ---- load balancers ----

  /// Targets answer by themselves (direct server return); `answer` is our own way back.
  Decision to_balancer(std::uint32_t index, const Action& answer) noexcept {
    const auto* balancer = snapshot_.load_balancers[index].get();
    if (balancer == nullptr) return refuse(Drop::route);
    meet(Stage::load_balancer);
    depend_on(Generations::load_balancer(index));
    if (is_echo_request()) {
      out_.is_echo_for_us = true;
      out_.forward = answer;
      return answer.verdict == Verdict::drop ? refuse(static_cast<Drop>(answer.out)) : out_;
    }
    const bool is_served = serves(balancer->told, key_.protocol(), key_.destination_port());
    if (!is_served) {
      note("load balancer", [&] { return balancer->told.id + " does not serve that port"; });
      return refuse(Drop::service);
    }
    const auto target = target_of(*balancer);
    note("load balancer", [&] {
      return balancer->told.id + (target ? ": target is " + text_of_hop(snapshot_, *target) : " has no target");
    });
    if (!target) return refuse(Drop::target);
    out_.forward = to_hop(*target);
    out_.is_one_sided = true;
    return out_;
  }

  /// The one that the flow has, although it drains; else the one that all hosts choose.
  std::optional<std::uint32_t> target_of(const LoadBalancerView& balancer) const noexcept {
    const Action* had = before(Direction::forward);
    for (const auto target : balancer.targets)
      if (has_hop(had, target)) return target;
    FlowKey same_everywhere = key_;
    same_everywhere.set_scope(FlowScope::machine(0));
    const auto picked = balancer.choice.pick(same_everywhere.hash(0));
    if (picked == Maglev::nobody) return std::nullopt;
    return balancer.targets[picked];
  }

  // ---- the wire ----

  Decision from_wire() noexcept {
    meet(Stage::underlay);
    const auto suffix = key_.scope().underlay_suffix();
    const auto* underlay = snapshot_.underlay(suffix.data());
    if (underlay == nullptr) {
      note("underlay", [] { return std::string("nobody here has the address that it was sent to"); });
      return refuse(Drop::underlay);
    }
    if (underlay->use == UnderlayUse::load_balancer) return from_wire_to_balancer(underlay->index);
    if (underlay->use == UnderlayUse::virtual_service) {
      note("underlay", [] { return std::string("sent to a virtual service's address, but no answer of it"); });
      return refuse(Drop::nat_inside);
    }
    const auto* receiver = interface_at(underlay->index);
    if (receiver == nullptr) return refuse(Drop::underlay);
    receiver_ = underlay->index;
    note("underlay", [&] { return "sent to " + receiver->told.id + name_of(underlay->use); });
    switch (underlay->use) {
      case UnderlayUse::virtual_ip:
        return from_wire_to_virtual_ip(*receiver);
      case UnderlayUse::nat:
        return from_wire_to_nat(*receiver);
      default:
        break;
    }
    if (!receiver->own.of(key_.is_v6()).find(destination())) return refuse(Drop::destination);
    return deliver(*receiver, key_);
  }

  /// `seen`: what the machine gets to see.
  Decision deliver(const InterfaceView& receiver, const FlowKey& seen) noexcept {
    if (!passes(receiver, seen, FirewallRule::Direction::ingress)) return refuse(Drop::ingress_rule);
    const Vni vni = receiver.told.vni;
    out_.owner = static_cast<std::uint16_t>(receiver_);
    out_.forward = to_machine(receiver_);
    out_.reverse_key = seen.reversed(FlowScope::machine(receiver_));
    depend_on(Generations::interface(receiver_));
    depend_on(Generations::network(vni));
    const auto from = bits_at(seen.source(), seen.is_v6());
    depend_on(Generations::route(vni, seen.is_v6(), from));
    depend_on(Generations::nat(source()));
    const auto* network = snapshot_.network(vni);
    // The way back is a way of its own; there may be none.
    out_.reverse = network == nullptr ? to_nowhere(Drop::route)
                                      : way_to(*network, seen.is_v6(), from, seen.source_port(), Direction::reverse);
    if (seen.is_v6() != key_.is_v6()) to_public_range(out_.reverse, source(), key_.source_port());
    out_.forward.is_public = out_.reverse.is_public;
    return finish();
  }

  Decision from_wire_to_virtual_ip(const InterfaceView& receiver) noexcept {
    meet(Stage::virtual_ip);
    const bool is_v6 = key_.is_v6();
    const auto& virtual_ip = is_v6 ? receiver.virtual_ipv6 : receiver.virtual_ipv4;
    const auto& own = is_v6 ? receiver.told.ipv6 : receiver.told.ipv4;
    if (!virtual_ip || !own || !is_same(virtual_ip->address, key_.destination())) return refuse(Drop::destination);
    FlowKey seen = key_;
    seen.set_destination(own->bytes().data());
    note("virtual IP", [&] { return "its destination becomes " + own->to_text(); });
    return deliver(receiver, seen);
  }

  Decision from_wire_to_nat(const InterfaceView& receiver) noexcept {
    meet(Stage::nat);
    if (!receiver.nat || key_.is_v6() || !is_same(receiver.nat->address, key_.destination()))
      return refuse(Drop::destination);
    if (is_echo_request()) return echo_to_nat(receiver);
    const auto space = translatable_space();
    if (!space) return refuse(Drop::translation);
    const std::uint16_t port = key_.destination_port();
    if (!receiver.nat_pool->contains(port)) return to_other_range(receiver.told.vni);
    if (!may_send(receiver)) {
      note("NAT", [] { return std::string("the machine does not talk to this sender"); });
      return refuse(Drop::nat_inside);
    }
    const auto inside = inside_at(receiver, *space);
    note("NAT", [&] {
      return "port " + std::to_string(port) + (inside ? " is that of " : " is of nobody behind ") + receiver.told.id;
    });
    if (!inside) return refuse(Drop::nat_inside);
    return from_anybody(receiver, *inside);
  }

  /// To whom the machine has answered it talks, whatever has become of the filter.
  bool may_send(const InterfaceView& receiver) const noexcept {
    const auto* held = question_.before;
    if (held != nullptr && held->state.packets[static_cast<std::size_t>(Direction::reverse)] != 0) return true;
    switch (receiver.nat->filtering) {
      case Nat::Filtering::address_and_port_dependent:
        break;
      case Nat::Filtering::address_dependent:
        return receiver.nat_pool->knows(question_.worker, key_.destination_port(), outside_of(key_));
      case Nat::Filtering::endpoint_independent:
        return true;
    }
    return false;
  }

  /// Whose the port is: of a connection its own, though others may have it as well.
  std::optional<Inside> inside_at(const InterfaceView& receiver, PortSpace space) const noexcept {
    if (const auto* held = question_.before) {
      if (!holds(*receiver.nat_pool, key_.destination_port())) return std::nullopt;
      return port_holder(key_, held->side(Direction::reverse).key, receiver.told.vni).inside;
    }
    return receiver.nat_pool->find(question_.worker, space, key_.destination_port());
  }

  /// To a port that the machine uses, from whom it did not talk to.
  Decision from_anybody(const InterfaceView& receiver, const Inside& inside) noexcept {
    const auto& own = inside.is_v6 ? receiver.told.ipv6 : receiver.told.ipv4;
    if (!own) return refuse(Drop::nat_inside);
    const std::uint16_t source_port = is_icmp() ? inside.port : key_.source_port();
    FlowKey seen = key_;
    if (inside.is_v6) {
      const auto source = embed(well_known_prefix, 96, v4_of(key_.source()));
      seen = FlowKey(key_.scope(), true, is_icmp() ? protocol_icmpv6 : key_.protocol(), {source->data(), source_port},
                     {own->bytes().data(), inside.port});
    } else {
      seen.set_destination(own->bytes().data());
      seen.set_ports(source_port, inside.port);
    }
    if (question_.before == nullptr) {
      if (!passes(receiver, seen, FirewallRule::Direction::ingress)) return refuse(Drop::ingress_rule);
      // This port: since the NAT was told anew the machine's socket may have another one as well.
      if (!receiver.nat_pool->claim(question_.worker, key_.destination_port(), inside, outside_of(key_),
                                    Opener::outside))
        return refuse(Drop::nat_ports);
    }
    out_.holds_port = true;
    return deliver(receiver, seen);
  }

  /// Another machine has the port, here or elsewhere.
  Decision to_other_range(Vni vni) noexcept {
    const auto* range = snapshot_.public_range(destination(), false, key_.destination_port());
    if (range == nullptr || range->vni != vni) return refuse(Drop::nat_inside);
    depend_on(Generations::nat(destination()));
    depend_on(Generations::interface(receiver_));
    note("NAT", [&] { return "the port is another machine's: " + text_of_hop(snapshot_, range->next_hop); });
    out_.forward = to_hop(range->next_hop);
    out_.reverse_key = key_;
    out_.is_one_sided = true;
    return out_;
  }

  Decision echo_to_nat(const InterfaceView& receiver) noexcept {
    const auto* network = snapshot_.network(receiver.told.vni);
    if (network == nullptr) return refuse(Drop::route);
    out_.is_echo_for_us = true;
    out_.forward = way_to(*network, false, source(), key_.source_port(), Direction::forward);
    return out_.forward.verdict == Verdict::drop ? refuse(static_cast<Drop>(out_.forward.out)) : out_;
  }

  Decision from_wire_to_balancer(std::uint32_t index) noexcept {
    const auto* balancer = snapshot_.load_balancers[index].get();
    if (balancer == nullptr) return refuse(Drop::underlay);
    const bool is_its =
        balancer->told.address.is_v6() == key_.is_v6() && is_same(balancer->told.address, key_.destination());
    if (!is_its) return refuse(Drop::destination);
    out_.reverse_key = key_;
    Action answer = to_nowhere(Drop::route);
    if (is_echo_request()) {
      if (const auto* network = snapshot_.network(balancer->told.vni))
        answer = way_to(*network, key_.is_v6(), source(), key_.source_port(), Direction::forward);
    }
    return to_balancer(index, answer);
  }

  /// Both actions know what they rewrite.
  Decision finish() noexcept {
    const bool is_other_family = key_.is_v6() != out_.reverse_key.is_v6();
    out_.forward.translates_family = out_.reverse.translates_family = is_other_family;
    if (!is_other_family) {
      compile_rewrite(out_.forward, key_, out_.reverse_key);
      compile_rewrite(out_.reverse, out_.reverse_key, key_);
    }
    return out_;
  }

  const Snapshot& snapshot_;
  const Question& question_;
  const FlowKey& key_;
  const bool has_firewall_;
  const VirtualServiceView* service_ = nullptr;  ///< that a machine talks to
  std::uint32_t receiver_ = 0;
  Decision out_;
  StageMarks stages_met_;
  std::size_t slots_ = 0;
};

}  // namespace

PortHolder port_holder(const FlowKey& forward, const FlowKey& reverse, Vni vni) noexcept {
  const bool is_from_outside = forward.scope().is_wire();
  const FlowKey& machine_side = is_from_outside ? reverse : forward;
  const FlowKey& public_side = is_from_outside ? forward : reverse;
  const Outside outside = outside_of(public_side);
  const Inside inside{bits_at(machine_side.source(), machine_side.is_v6()), vni.value(), machine_side.source_port(),
                      outside.space, machine_side.is_v6()};
  return {inside, outside, public_side.destination_port(), is_from_outside ? Opener::outside : Opener::inside};
}

Decision decide(const Snapshot& snapshot, const Question& question, bool has_firewall) noexcept {
  return Decider(snapshot, question, has_firewall).decide();
}

}  // namespace ironcore::network::dataplane
