// SPDX-License-Identifier: Apache-2.0
// What nodes of a reflector announce: checked, taken into its table, acknowledged or asked for again.
#include "reflector_impl.hpp"

namespace ironcore::routing {

void Reflector::Impl::announced(Node& node, const Changes& changes, const NodeRights* rights) {
  if (changes.epoch != node.instance) {  // it has become another one since it opened the session
    ++counters_.unknown_session;
    return refuse(node.control, Channel::control, node.session, Refuse::Reason::unknown_session,
                  "open a session first");
  }
  if (changes.head < node.sequence) return;  // late: it knew less than is known here
  const auto state = direct_.origin(node.origin);
  // A restart that is older than what was heard since comes late: what it says was replaced.
  if (changes.is_restart != 0 && (node.sequence == 0 || changes.head > node.sequence)) {
    ++counters_.restarts;
    direct_.unmark_origin(node.origin);
    node.sequence = 0;
    node.has_restarted = true;
    node.has_exhausted = false;
  }
  const bool is_empty = changes.from == changes.to;
  if (changes.from > node.sequence && is_empty && changes.to == changes.head && changes.digest == state.digest) {
    node.sequence = changes.to;  // another life of the node had the same routes
    node.has_restarted = false;
  }
  if (changes.from > node.sequence) {
    return ask_again(node);
  }
  if (changes.to >= node.sequence) {
    touched_vni_ = ~std::uint32_t{0};
    const auto count = changes.count();
    for (std::size_t i = 0; i < count; ++i) {
      if (!take(node, changes.record(i), rights)) ++node.refused;
    }
    node.sequence = changes.to;
    if (changes.to == changes.head) finish(node, changes);
  }
  // The table forgets withdrawals when there are too many: they are published before.
  if (unpublished_withdrawals_ >= max_records) publish_changes();
  if (!node.must_acknowledge) {
    node.must_acknowledge = true;
    to_acknowledge_.push_back(static_cast<std::uint64_t>(node.origin));
  }
}

bool Reflector::Impl::take(Node& node, const Record& record, const NodeRights* rights) {
  const auto operation = record.operation();
  if (fault_of(record) != nullptr || record.origin != static_cast<std::uint64_t>(node.origin) || record.version == 0 ||
      operation == Operation::origin_gone) {
    ++counters_.bad_records;
    return false;
  }
  const auto is_here = [&] { return direct_.find_announcement(record) != nullptr; };
  if (rights != nullptr && !rights->may_announce(record.vni(), route_of(record).destination) &&
      !(operation == Operation::withdraw && is_here())) {
    ++counters_.forbidden;
    return operation == Operation::withdraw;  // what is missing is an announcement, if anything
  }
  if (operation == Operation::withdraw) {
    if (direct_.withdraw(record) == Rib::Change::changed) {
      ++counters_.changes;
      ++unpublished_withdrawals_;
      touch(record.vni());
    }
    return true;
  }
  if (!has_room(node) && !is_here()) {
    node.has_exhausted = true;
    ++counters_.exhausted;
    return false;
  }
  if (direct_.announce(record) == Rib::Change::changed) {
    ++counters_.changes;
    touch(record.vni());
  }
  return true;
}

void Reflector::Impl::finish(Node& node, const Changes& changes) {
  if (node.has_restarted) {
    node.has_restarted = false;
    direct_.for_unmarked_of_origin(node.origin, [&](const Record& record) {
      direct_.withdraw(withdrawal(record, std::max(record.version, node.instance + changes.to)));
      ++counters_.changes;
      touch(record.vni());
      if (++unpublished_withdrawals_ >= max_records) publish_changes();
    });
  }
  if (node.refused == 0 && direct_.origin(node.origin).digest != changes.digest) {
    // It must have all been said, but it was not the same: from the beginning.
    node.sequence = 0;
    return ask_again(node);
  }
  if (node.has_finished) return;
  node.has_finished = true;
  if (!is_ready_ && !options_.expected.empty() && std::ranges::all_of(options_.expected, [&](const auto& name) {
        const auto found = nodes_.find(static_cast<std::uint64_t>(origin_id(name)));
        return found != nodes_.end() && found->second.has_finished;
      }))
    become_ready("all expected nodes have announced themselves");
}

/// Once, and not for each message that comes behind the missing one: each question is answered with a window full of messages. Should it be lost, then the node
/// says everything again that was not acknowledged.
void Reflector::Impl::ask_again(Node& node) {
  const auto now = clock_.now();
  if (node.asked_at != Instant{} && node.asked == node.sequence && now - node.asked_at < options_.heartbeat) return;
  ++counters_.gaps;
  node.asked = node.sequence;
  node.asked_at = now;
  const Position position{
      .stream = {}, .epoch = node.instance, .sequence = node.sequence, .base = 0, .refused = node.refused, .wants = 1};
  link_.send(node.bulk, Channel::bulk, encode(node.session, position));
}

}  // namespace ironcore::routing
