// SPDX-License-Identifier: Apache-2.0
// Slices of equal size, as far as the range can be divided.
#include "nat_pool.hpp"

#include <algorithm>
#include <cassert>

namespace ironcore::network::dataplane {

namespace {

/// A port that all share can serve so many flows before it is worth to have more ports.
constexpr std::uint64_t flows_per_port = 64;

}  // namespace

NatPool::NatPool(const Nat& told, std::uint64_t born, std::size_t workers, std::uint32_t max_flows,
                 std::uint64_t secret)
    : range_{told.first_port, told.last_port}, born_(born), slices_(workers) {
  const auto begin_of = [&](std::size_t worker) { return range_.first + range_.size() * worker / workers; };
  for (std::size_t worker = 0; worker < workers; ++worker) {
    const auto begin = begin_of(worker);
    const auto end = begin_of(worker + 1);
    if (begin == end) continue;
    const PortRange slice{static_cast<std::uint16_t>(begin), static_cast<std::uint16_t>(end - 1)};
    if (told.ports == Nat::Ports::own) {
      slices_[worker].emplace<NatPorts>(slice, secret);
    } else {
      const auto flows = std::min<std::uint64_t>(max_flows, slice.size() * flows_per_port);
      slices_[worker].emplace<SharedNatPorts>(slice, static_cast<std::uint32_t>(flows), secret);
    }
  }
}

std::size_t NatPool::worker_of(std::uint16_t port) const noexcept {
  assert(port >= range_.first && port <= range_.last);
  // The inverse of the division that made the slices.
  const std::size_t offset = std::size_t{port} - range_.first;
  return ((offset + 1) * slices_.size() - 1) / range_.size();
}

std::optional<std::uint16_t> NatPool::take(std::size_t worker, const Inside& inside, const Outside& outside) noexcept {
  auto& slice = slices_[worker];
  if (auto* own = std::get_if<NatPorts>(&slice)) return own->take(inside);
  if (auto* shared = std::get_if<SharedNatPorts>(&slice)) return shared->take(inside, outside);
  return std::nullopt;
}

void NatPool::release(std::size_t worker, std::uint16_t port, const Outside& outside) noexcept {
  auto& slice = slices_[worker];
  if (auto* own = std::get_if<NatPorts>(&slice)) own->release(outside.space, port);
  if (auto* shared = std::get_if<SharedNatPorts>(&slice)) shared->release(port, outside);
}

bool NatPool::claim(std::size_t worker, const Inside& inside, std::uint16_t port, const Outside& outside) noexcept {
  if (port < range_.first || port > range_.last || worker_of(port) != worker) return false;
  auto& slice = slices_[worker];
  if (auto* own = std::get_if<NatPorts>(&slice)) return own->claim(inside, port);
  if (auto* shared = std::get_if<SharedNatPorts>(&slice)) return shared->claim(port, outside);
  return false;
}

void NatPool::finish_claims() noexcept {
  for (auto& slice : slices_)
    if (auto* own = std::get_if<NatPorts>(&slice)) own->finish_claims();
}

std::optional<Inside> NatPool::find(std::size_t worker, PortSpace space, std::uint16_t port) const noexcept {
  const auto* own = std::get_if<NatPorts>(&slices_[worker]);
  return own == nullptr ? std::nullopt : own->find(space, port);
}

}  // namespace ironcore::network::dataplane
