// SPDX-License-Identifier: Apache-2.0
// Slices of nearly equal size, one port for each worker in turn.
#include "nat_pool.hpp"

#include <algorithm>
#include <cassert>

namespace ironcore::network::dataplane {

namespace {

/// A port that all share can serve so many flows before it is worth to have more ports.
constexpr std::uint64_t flows_per_port = 64;
/// Addresses that are remembered for each port, on an average, and for all of a worker's at least.
constexpr std::uint32_t peers_per_port = 16;
constexpr std::uint32_t least_peers = 1024;
/// Free ports that are tried before it is said that there is none, while the former pool may have some of them.
constexpr int most_tries = 32;

}  // namespace

NatPool::NatPool(const Nat& told, std::uint64_t born, std::size_t workers, std::uint32_t max_flows,
                 std::uint64_t secret)
    : range_{told.first_port, told.last_port}, born_(born), since_(born), slices_(workers), noted_(workers) {
  assert(workers >= 1 && workers <= 64);
  static_assert(place_of(resources.back()) + 1 == resources.size());
  static_assert(place_of(Resource::nat_sctp) == static_cast<std::size_t>(PortSpace::sctp), "both have one order");
  // The first one of the worker's ports that is not below.
  const auto number_from = [&](std::uint32_t port, std::size_t worker) {
    return static_cast<std::uint32_t>((port + workers - 1 - worker) / workers);
  };
  for (std::size_t worker = 0; worker < workers; ++worker) {
    const auto begin = number_from(range_.first, worker);
    const auto end = number_from(range_.last + 1U, worker);
    if (begin == end) continue;
    const PortRange numbers{static_cast<std::uint16_t>(begin), static_cast<std::uint16_t>(end - 1)};
    auto& slice = slices_[worker];
    auto& room = noted_[worker].room;
    if (told.ports == Nat::Ports::own) {
      slice.ports.emplace<NatPorts>(numbers, secret);
      std::fill_n(room.begin(), port_spaces, numbers.size());
      const auto peers = std::min(max_flows, std::max(numbers.size() * peers_per_port, least_peers));
      if (told.filtering != Nat::Filtering::address_dependent) continue;
      slice.peers.emplace(peers, secret);
      room[place_of(Resource::nat_peers)] = peers;
    } else {
      const auto flows = std::min<std::uint64_t>(max_flows, numbers.size() * flows_per_port);
      slice.ports.emplace<SharedNatPorts>(numbers, static_cast<std::uint32_t>(flows), secret);
      room[place_of(Resource::nat_flows)] = static_cast<std::uint32_t>(flows);
    }
  }
}

void NatPool::succeed(std::shared_ptr<NatPool> former, std::uint64_t since,
                      std::shared_ptr<const FollowedNats> followed) {
  born_ = former->born_;
  since_ = since;
  followed_ = std::move(followed);
  if (former->let_go()) former_ = std::move(former);
}

bool NatPool::let_go() noexcept {
  if (former_ && followed_->least() >= since_) former_.reset();
  return former_ == nullptr;
}

std::optional<std::uint16_t> NatPool::take(std::size_t worker, const Inside& inside, const Outside& outside,
                                           Opener opener) noexcept {
  auto& slice = slices_[worker];
  std::optional<std::uint16_t> number;
  if (is_closed(worker)) return number;
  if (auto* own = std::get_if<NatPorts>(&slice.ports)) number = take_own(worker, *own, inside);
  if (auto* shared = std::get_if<SharedNatPorts>(&slice.ports)) number = take_shared(worker, *shared, inside, outside);
  if (!number) return std::nullopt;
  const auto port = port_of(worker, *number);
  if (slice.peers && opener == Opener::inside) slice.peers->add(port, outside);
  note(worker, inside.space);
  return port;
}

bool NatPool::is_free_for(std::size_t worker, const Inside& inside, std::uint16_t number) const noexcept {
  if (const auto* own = std::get_if<NatPorts>(&slices_[worker].ports))
    return !own->is_taken(inside.space, number) || own->find(inside.space, number) == inside;
  // Of shared ports it is not known whether anybody has them.
  return !contains(port_of(worker, number));
}

std::optional<std::uint16_t> NatPool::take_own(std::size_t worker, NatPorts& own, const Inside& inside) noexcept {
  const auto* before = former(worker);
  if (before == nullptr) return own.take(inside);
  auto number = own.port_of(inside);
  if (!number || !before->is_free_for(worker, inside, *number)) {
    // Its own port, though none of its flows has followed.
    const auto* own_before = std::get_if<NatPorts>(&before->slices_[worker].ports);
    number = own_before == nullptr ? std::nullopt : own_before->port_of(inside);
    if (number && (!contains(port_of(worker, *number)) || own.is_taken(inside.space, *number))) number.reset();
  }
  for (int tries = most_tries; !number && tries > 0; --tries) {
    number = own.next_free(inside.space);
    if (!number || before->is_free_for(worker, inside, *number)) break;
    own.put_off(inside.space);
    number.reset();
  }
  if (number) own.claim(inside, *number);
  return number;
}

std::optional<std::uint16_t> NatPool::take_shared(std::size_t worker, SharedNatPorts& shared, const Inside& inside,
                                                  const Outside& outside) noexcept {
  const auto* before = former(worker);
  if (before == nullptr) return shared.take(inside, outside);
  const SharedNatPorts::Elsewhere elsewhere{
      [](const void* ports, std::uint16_t number, const Outside& towards) noexcept {
        const auto& slice = *static_cast<const Slice*>(ports);
        if (const auto* own = std::get_if<NatPorts>(&slice.ports)) return own->is_taken(towards.space, number);
        const auto* other = std::get_if<SharedNatPorts>(&slice.ports);
        return other != nullptr && other->is_taken(number, towards);
      },
      &before->slices_[worker]};
  return shared.take(inside, outside, &elsewhere);
}

bool NatPool::claim(std::size_t worker, std::uint16_t port, const Inside& inside, const Outside& outside,
                    Opener opener) noexcept {
  if (!contains(port) || worker_of(port) != worker) return false;
  auto& slice = slices_[worker];
  if (auto* own = std::get_if<NatPorts>(&slice.ports)) own->claim(inside, number_of(port));
  if (auto* shared = std::get_if<SharedNatPorts>(&slice.ports))
    if (!shared->claim(number_of(port), outside)) return false;
  if (slice.peers && opener == Opener::inside) slice.peers->add(port, outside);
  note(worker, outside.space);
  return true;
}

bool NatPool::follow(std::size_t worker, std::uint16_t port, const Inside& inside, const Outside& outside,
                     Opener opener, std::uint64_t valid_at) noexcept {
  release(worker, port, outside, opener, valid_at);
  return claim(worker, port, inside, outside, opener);
}

void NatPool::release(std::size_t worker, std::uint16_t port, const Outside& outside, Opener opener,
                      std::uint64_t valid_at) noexcept {
  assert(worker_of(port) == worker);
  if (valid_at < since_) {
    if (auto* before = former(worker); before != nullptr && valid_at >= before->since_)
      before->release(worker, port, outside, opener, valid_at);
    return;
  }
  auto& slice = slices_[worker];
  if (auto* own = std::get_if<NatPorts>(&slice.ports)) own->release(outside.space, number_of(port));
  if (auto* shared = std::get_if<SharedNatPorts>(&slice.ports)) shared->release(number_of(port), outside);
  if (slice.peers && opener == Opener::inside) slice.peers->remove(port, outside);
  note(worker, outside.space);
}

std::optional<Inside> NatPool::find(std::size_t worker, PortSpace space, std::uint16_t port) const noexcept {
  const auto* own = std::get_if<NatPorts>(&slices_[worker].ports);
  if (own == nullptr || worker_of(port) != worker || !contains(port) || is_closed(worker)) return std::nullopt;
  const auto number = number_of(port);
  const auto* before = former(worker);
  if (before != nullptr && !own->is_taken(space, number)) return before->find(worker, space, port);
  const auto inside = own->find(space, number);
  return inside && before != nullptr && !before->is_free_for(worker, *inside, number) ? std::nullopt : inside;
}

bool NatPool::knows(std::size_t worker, std::uint16_t port, const Outside& outside) const noexcept {
  const auto& peers = slices_[worker].peers;
  if (!peers) return false;
  const auto* before = former(worker);
  return peers->has(port, outside) || (before != nullptr && before->knows(worker, port, outside));
}

void NatPool::note(std::size_t worker, PortSpace space) noexcept {
  const auto& slice = slices_[worker];
  auto& used = noted_[worker].used;
  const auto set = [&](std::size_t place, std::uint32_t value) { used[place].store(value, std::memory_order_relaxed); };
  if (const auto* own = std::get_if<NatPorts>(&slice.ports)) set(static_cast<std::size_t>(space), own->used(space));
  if (const auto* shared = std::get_if<SharedNatPorts>(&slice.ports))
    set(place_of(Resource::nat_flows), shared->used());
  if (slice.peers) set(place_of(Resource::nat_peers), slice.peers->used());
}

ResourceUse::Part NatPool::use(std::size_t worker, Resource what) const noexcept {
  const auto& noted = noted_[worker];
  return {noted.used[place_of(what)].load(std::memory_order_relaxed), noted.room[place_of(what)]};
}

}  // namespace ironcore::network::dataplane
