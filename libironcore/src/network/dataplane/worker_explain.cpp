// SPDX-License-Identifier: Apache-2.0
// The worker's own steps, told one by one.
#include "trace.hpp"
#include "worker.hpp"

namespace ironcore::network::dataplane {

namespace {

std::string text_of_port(const Snapshot& snapshot, std::uint32_t port) {
  if (port >= snapshot.ports.size()) return "port " + std::to_string(port) + ", which is not there";
  const auto& view = snapshot.ports[port];
  switch (view.kind) {
    case PortView::Kind::machine:
      return "port " + snapshot.interfaces[view.interface]->told.port + " of machine " +
             snapshot.interfaces[view.interface]->told.id;
    case PortView::Kind::uplink:
      return "uplink " + std::to_string(port);
    case PortView::Kind::none:
      break;
  }
  return "port " + std::to_string(port) + ", which nobody uses";
}

void note_rates(Trace& trace, const std::array<std::optional<Color>, 2>& colors) {
  constexpr std::array<const char*, network::colors> words{
      "is green: the committed rate has room for it",
      "is yellow: beyond the committed rate, but the excess has room for it", "is red: beyond its rates"};
  const auto note = [&](Way way, const std::string& whose) {
    if (const auto& color = colors[static_cast<std::size_t>(way)])
      trace.note("rates", whose + words[static_cast<std::size_t>(*color)]);
  };
  note(Way::egress, "egress of the sender ");
  note(Way::ingress, "ingress of the receiver ");
}

}  // namespace

Explanation Worker::explain(Packet& packet, std::uint64_t now_ns) {
  const Snapshot& snapshot = begin(now_ns);
  Explanation out;
  Trace trace(out);
  trace.note("comes from", text_of_port(snapshot, packet.port));
  is_explaining_ = true;
  for (int round = 0;; ++round) {
    if (round == most_rounds) {
      out.drop = Drop::route;
      trace.note("loop", "it goes round on this host without an end");
      break;
    }
    Work work;
    out.drop = explain_one(snapshot, packet, work, trace);
    note_rates(trace, work.colors);
    if (out.drop != Drop::none || !work.goes_round) break;
    trace.note("goes round", "this host sends it to itself");
  }
  is_explaining_ = false;
  packet.drop = out.drop;
  if (out.drop != Drop::none) {
    trace.note("dropped", std::string(name(out.drop)));
    return out;
  }
  out.port = packet.port;
  out.frame.assign(packet.frame, packet.frame + packet.bytes);
  if (!offloaded_) trace.note("offload", "none: no hardware forwards flows here");
  trace.note("leaves by", text_of_port(snapshot, packet.port));
  return out;
}

Drop Worker::explain_one(const Snapshot& snapshot, Packet& packet, Work& work, Trace& trace) {
  const Drop drop = read(snapshot, packet, work);
  if (drop != Drop::none) return drop;
  if (work.is_answered) {
    trace.note("gateway", "it is for the gateway, which answers it if it knows how");
    return drop;
  }
  trace.note("packet", text_of(work.key) + ", " + std::to_string(work.headers.length) + " bytes");
  if (work.headers.is_fragment && !work.headers.is_first)
    trace.note("fragment", "it is of the flow of its first fragment, which is not known here");
  work.hash = flows_.hash(work.key);
  Drop related = Drop::none;
  const bool is_icmp = work.key.protocol() == protocol_icmp || work.key.protocol() == protocol_icmpv6;
  if (is_icmp && !is_echo(work.headers) && relate(snapshot, work, related)) {
    trace.note("connection", "an error about a packet of a known connection goes its way");
    return related;
  }
  return explain_flow(snapshot, work, trace);
}

Drop Worker::explain_flow(const Snapshot& snapshot, Work& work, Trace& trace) {
  Question question{work.key, work.hash, work.headers.icmp_type, work.headers.icmp_code, nullptr, number_, &trace};
  const auto found = flows_.find(work.key, work.hash);
  auto direction = Direction::forward;
  if (found) {
    const Connection& connection = flows_[found.connection()];
    direction = found.direction();
    question.before = &connection;
    question.key = connection.side(Direction::forward).key;
    question.hash = flows_.hash(question.key);
    const bool is_same = generations_.is_unchanged(connection.state.slots, connection.state.valid_at);
    trace.note("connection", std::string(direction == Direction::forward ? "known" : "an answer of ") +
                                 (direction == Direction::forward ? "" : text_of(question.key)) + ", silent for " +
                                 std::to_string(now_ - connection.state.seen) + " s" +
                                 (is_same ? "" : "; the configuration has changed since, so it is looked at again"));
    if (connection.side(direction).action.verdict == Verdict::drop && is_same)
      return static_cast<Drop>(connection.side(direction).action.out);
  } else {
    trace.note("connection", "a new one");
  }
  const Decision decision = decide(snapshot, question, options_.has_firewall);
  if (decision.drop != Drop::none) return decision.drop;
  if (decision.holds_port && !found)
    give_back_port(snapshot, decision.owner, snapshot.number, question.key, decision.reverse_key);
  if (decision.is_echo_for_us) {
    trace.note("echo", "it is answered here");
    const Drop drop = answer_echo(work);
    return drop == Drop::none ? carry(snapshot, decision.forward, decision.owner, work) : drop;
  }
  const bool is_forward = direction == Direction::forward;
  if (offloaded_) note_offload(snapshot, question.key, decision, found, trace);
  return execute(snapshot, is_forward ? decision.forward : decision.reverse,
                 is_forward ? decision.reverse_key : question.key, decision.owner, work);
}

/// Of the connection as the decision would have it.
void Worker::note_offload(const Snapshot& snapshot, const FlowKey& key, const Decision& decision,
                          FlowTable::Reference found, Trace& trace) const {
  Connection connection = found ? flows_[found.connection()] : Connection();
  connection.side(Direction::forward) = {key, decision.forward};
  connection.side(Direction::reverse) = {decision.reverse_key, decision.reverse};
  connection.state.owner = decision.owner;
  connection.state.is_one_sided = decision.is_one_sided;
  const auto place = found ? std::optional(found.connection()) : std::nullopt;
  trace.note("offload", offloaded_->tell(snapshot, connection, place, now_));
}

}  // namespace ironcore::network::dataplane
