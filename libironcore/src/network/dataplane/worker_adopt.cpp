// SPDX-License-Identifier: Apache-2.0
// Connections from before a restart. Nothing is taken for granted of what lies there but that it was written by a worker that may have died at it.
#include <algorithm>
#include <cstring>

#include "local_frames.hpp"
#include "worker.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr Tick longest_timeout = 366 * 86'400;

/// A byte that somebody else has written need not be a bool.
bool is_bool(const bool& value) noexcept {
  std::uint8_t byte = 0;
  std::memcpy(&byte, &value, 1);
  return byte <= 1;
}

const InterfaceView* interface_at(const Snapshot& snapshot, std::uint32_t index) noexcept {
  return index < snapshot.interfaces.size() ? snapshot.interfaces[index].get() : nullptr;
}

bool is_known(const Snapshot& snapshot, FlowScope scope) noexcept {
  return scope.is_wire() || interface_at(snapshot, scope.interface()) != nullptr;
}

}  // namespace

void Worker::adopt(std::uint64_t now_ns) noexcept {
  const Snapshot& snapshot = begin(now_ns);
  flows_.adopt([&](Connection& connection) noexcept { return keeps(snapshot, connection); });
  rest();
}

bool Worker::keeps(const Snapshot& snapshot, Connection& connection) noexcept {
  auto& state = connection.state;
  const auto& forward = connection.side(Direction::forward);
  const auto& reverse = connection.side(Direction::reverse);
  const bool is_whole = state.valid_at != 0 && is_bool(state.holds_port) && is_bool(state.is_one_sided);
  if (!is_whole) return false;
  const bool is_refusal = forward.key == reverse.key && forward.action.verdict == Verdict::drop;
  if (is_refusal) return false;
  if (!is_known(snapshot, forward.key.scope()) || !is_known(snapshot, reverse.key.scope())) return false;
  if (state.owner != ConnectionState::nobody && interface_at(snapshot, state.owner) == nullptr) return false;
  if (state.holds_port && !claim_port(snapshot, connection)) return false;
  ++owned(state.owner);
  state.seen = std::min(state.seen, now_);  // the host may have started again meanwhile
  state.timeout = std::min(state.timeout, longest_timeout);
  state.slots = {Generations::restored};
  FlowTable::complete(connection, snapshot.number);
  return true;
}

/// What has been told of the NAT or virtual service since the connection was checked last may have given its port to another one.
bool Worker::claim_port(const Snapshot& snapshot, const Connection& connection) noexcept {
  const auto& state = connection.state;
  const auto* owner = interface_at(snapshot, state.owner);
  const FlowKey& forward = connection.side(Direction::forward).key;
  const FlowKey& reverse = connection.side(Direction::reverse).key;
  const bool is_from_wire = forward.scope().is_wire();
  const FlowKey& outside = is_from_wire ? forward : reverse;
  const FlowKey& inside = is_from_wire ? reverse : forward;
  if (owner == nullptr || !outside.scope().is_wire() || inside.scope().is_wire() || !port_space(inside.protocol()))
    return false;
  auto* pool = pool_of(snapshot, state.owner, outside);
  if (pool == nullptr) return false;
  if (outside.is_v6()) {
    // There is one, since it has a pool.
    const auto& service =
        *snapshot.virtual_services[snapshot.underlay(outside.scope().underlay_suffix().data())->index];
    if (service.former_born > state.valid_at) return false;
  } else {
    if (options_.kept->nat_born(state.owner) > state.valid_at) return false;
    if (std::memcmp(owner->nat->address.bytes().data(), outside.destination(), outside.address_bytes()) != 0)
      return false;
  }
  const auto holder = port_holder(forward, reverse, owner->told.vni);
  return pool->claim(number_, holder.port, holder.inside, holder.outside, holder.opener);
}

}  // namespace ironcore::network::dataplane
