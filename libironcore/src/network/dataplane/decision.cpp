// SPDX-License-Identifier: Apache-2.0
// One stage after the other.
#include "decision.hpp"

#include "bytes.hpp"

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

Classifier::Query query_of(const Question& question) noexcept {
  const FlowKey& key = question.key;
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

/// The one that the flow had, if the route still has it; else by weight. RFC 2992 calls it hash-threshold.
std::uint32_t pick(const std::vector<NextHop>& hops, std::uint64_t hash, const Action* before) noexcept {
  std::uint32_t sum = 0;
  for (const auto& hop : hops) {
    if (before != nullptr && before->verdict == Verdict::underlay && before->out == hop.address) return hop.address;
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

Action to_underlay(std::uint32_t address, std::uint64_t hash) noexcept {
  Action action;
  action.verdict = Verdict::underlay;
  action.out = address;
  action.entropy = static_cast<std::uint32_t>(hash >> 20) & 0xf'ffff;
  return action;
}

class Decider {
 public:
  Decider(const Snapshot& snapshot, const Question& question, bool has_firewall) noexcept
      : snapshot_(snapshot), question_(question), key_(question.key), has_firewall_(has_firewall) {}

  Decision decide() noexcept {
    if (!is_forwardable(destination(), key_.is_v6())) return refuse(Drop::destination);
    return key_.scope().is_wire() ? from_wire() : from_machine();
  }

 private:
  PrefixBits source() const noexcept { return bits_at(key_.source(), key_.is_v6()); }
  PrefixBits destination() const noexcept { return bits_at(key_.destination(), key_.is_v6()); }

  Decision refuse(Drop drop) noexcept {
    Decision out;
    out.drop = drop;
    return out;
  }

  void depend_on(Generations::Slot slot) noexcept { out_.slots[slots_++] = slot; }

  const InterfaceView* interface_at(std::uint32_t index) const noexcept {
    return index < snapshot_.interfaces.size() ? snapshot_.interfaces[index].get() : nullptr;
  }

  const Action* before(Direction direction) const noexcept {
    return question_.before == nullptr ? nullptr : &question_.before->side(direction).action;
  }

  Decision from_machine() noexcept {
    const std::uint32_t index = key_.scope().interface();
    const auto* sender = interface_at(index);
    if (sender == nullptr) return refuse(Drop::port);
    if (!sender->own.of(key_.is_v6()).find(source())) return refuse(Drop::source_address);
    const auto query = query_of(question_);
    if (has_firewall_ && !may_pass(sender->egress, query, FirewallRule::Direction::egress))
      return refuse(Drop::egress_rule);
    const Vni vni = sender->told.vni;
    const auto* network = snapshot_.network(vni);
    if (network == nullptr) return refuse(Drop::route);

    out_.owner = static_cast<std::uint16_t>(index);
    out_.reverse = to_machine(index);
    depend_on(Generations::interface(index));
    depend_on(Generations::network(vni));
    depend_on(Generations::route(vni, key_.is_v6(), destination()));
    if (const auto local = network->local.of(key_.is_v6()).find(destination())) {
      const auto* receiver = interface_at(local->value);
      if (receiver == nullptr) return refuse(Drop::route);
      if (has_firewall_ && !may_pass(receiver->ingress, query, FirewallRule::Direction::ingress))
        return refuse(Drop::ingress_rule);
      depend_on(Generations::interface(local->value));
      out_.forward = to_machine(local->value);
      out_.reverse_key = key_.reversed(FlowScope::machine(local->value));
      return out_;
    }
    const auto route = network->routes.of(key_.is_v6()).find(destination());
    if (!route) return refuse(Drop::route);
    out_.forward = to_underlay(pick(snapshot_.next_hop_sets[route->value], question_.hash, before(Direction::forward)),
                               question_.hash);
    out_.reverse_key = key_.reversed(FlowScope::wire(sender->underlay.data() + 8));
    return out_;
  }

  Decision from_wire() noexcept {
    const auto suffix = key_.scope().underlay_suffix();
    const auto* underlay = snapshot_.underlay(suffix.data());
    if (underlay == nullptr || underlay->use == UnderlayUse::load_balancer) return refuse(Drop::underlay);
    const auto* receiver = interface_at(underlay->index);
    if (receiver == nullptr) return refuse(Drop::underlay);
    if (!receiver->own.of(key_.is_v6()).find(destination())) return refuse(Drop::destination);
    if (has_firewall_ && !may_pass(receiver->ingress, query_of(question_), FirewallRule::Direction::ingress))
      return refuse(Drop::ingress_rule);
    const Vni vni = receiver->told.vni;
    out_.owner = static_cast<std::uint16_t>(underlay->index);
    out_.forward = to_machine(underlay->index);
    out_.reverse_key = key_.reversed(FlowScope::machine(underlay->index));
    depend_on(Generations::interface(underlay->index));
    depend_on(Generations::network(vni));
    depend_on(Generations::route(vni, key_.is_v6(), source()));
    out_.reverse = answer_to_wire(snapshot_.network(vni));
    return out_;
  }

  /// The way back is a way of its own.
  Action answer_to_wire(const NetworkView* network) const noexcept {
    if (network == nullptr) return to_nowhere(Drop::route);
    if (const auto local = network->local.of(key_.is_v6()).find(source())) return to_machine(local->value);
    const auto route = network->routes.of(key_.is_v6()).find(source());
    if (!route) return to_nowhere(Drop::route);
    return to_underlay(pick(snapshot_.next_hop_sets[route->value], question_.hash, before(Direction::reverse)),
                       question_.hash);
  }

  const Snapshot& snapshot_;
  const Question& question_;
  const FlowKey& key_;
  const bool has_firewall_;
  Decision out_;
  std::size_t slots_ = 0;
};

}  // namespace

Decision decide(const Snapshot& snapshot, const Question& question, bool has_firewall) noexcept {
  return Decider(snapshot, question, has_firewall).decide();
}

}  // namespace ironcore::network::dataplane
