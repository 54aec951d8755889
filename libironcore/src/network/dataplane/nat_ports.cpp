// SPDX-License-Identifier: Apache-2.0
// Queues of free ports, chains of taken ones, and lines of shared ones.
#include "nat_ports.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <numeric>
#include <utility>

#include "hash.hpp"
#include "headers.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint32_t nil = 0xffff'ffff;

/// A VNI that is none: of a port that several insides had before.
constexpr std::uint32_t of_nobody = 0xffff'ffff;

std::uint64_t hash_of(const Inside& inside, std::uint64_t secret) noexcept {
  const std::uint64_t words[] = {inside.address.high, inside.address.low,
                                 std::uint64_t{inside.vni} << 32 | std::uint64_t{inside.is_v6} << 24 |
                                     static_cast<std::uint64_t>(inside.space) << 16 | inside.port};
  return hash_words(words, secret);
}

}  // namespace

std::optional<PortSpace> port_space(std::uint8_t protocol) noexcept {
  switch (protocol) {
    case protocol_tcp:
      return PortSpace::tcp;
    case protocol_udp:
      return PortSpace::udp;
    case protocol_icmp:
    case protocol_icmpv6:
      return PortSpace::icmp;
    case protocol_sctp:
      return PortSpace::sctp;
    default:
      return std::nullopt;
  }
}

// --- a port for each inside -----------------------------------------------------------------------------------

NatPorts::NatPorts(PortRange range, std::uint64_t secret)
    : range_(range),
      secret_(secret),
      entries_(std::size_t{range.size()} * port_spaces),
      chains_(std::size_t{range.size()} * 2, nil) {
  assert(range.first <= range.last);
  static_assert(sizeof(Entry) == 40);
  std::vector<std::uint32_t> order(range.size());
  for (std::uint32_t space = 0; space < port_spaces; ++space) {
    std::iota(order.begin(), order.end(), space * range.size());
    for (std::uint32_t left = range.size(); left > 1; --left) {
      const std::uint64_t word[] = {std::uint64_t{space} << 32 | left};
      std::swap(order[left - 1], order[reduce(hash_words(word, secret), left)]);
    }
    for (const auto index : order) append(queues_[space], index);
  }
}

std::optional<std::uint16_t> NatPorts::take(const Inside& inside) noexcept {
  auto port = port_of(inside);
  if (!port) port = next_free(inside.space);
  if (port) claim(inside, *port);
  return port;
}

std::optional<std::uint16_t> NatPorts::port_of(const Inside& inside) const noexcept {
  for (auto at = chains_[chain(inside)]; at != nil; at = entries_[at].next)
    if (entries_[at].inside == inside) return port_at(inside.space, at);
  return std::nullopt;
}

std::optional<std::uint16_t> NatPorts::next_free(PortSpace space) const noexcept {
  return is_exhausted(space) ? std::nullopt : std::optional(port_at(space, queue(space).first));
}

void NatPorts::put_off(PortSpace space) noexcept {
  auto& free = queues_[static_cast<std::size_t>(space)];
  const auto first = free.first;
  remove(free, first);
  append(free, first);
}

bool NatPorts::is_taken(PortSpace space, std::uint16_t port) const noexcept {
  return port >= range_.first && port <= range_.last && entries_[index(space, port)].flows > 0;
}

void NatPorts::claim(const Inside& inside, std::uint16_t port) noexcept {
  const auto claimed = index(inside.space, port);
  auto& entry = entries_[claimed];
  if (entry.flows++ == 0) {
    remove(queues_[static_cast<std::size_t>(inside.space)], claimed);
    entry.inside = inside;
    put_into_chain(claimed);
  } else if (entry.inside != inside && entry.inside.vni != of_nobody) {
    remove_from_chain(claimed);
    entry.inside = {.vni = of_nobody, .space = inside.space};
  }
}

void NatPorts::release(PortSpace space, std::uint16_t port) noexcept {
  const auto released = index(space, port);
  auto& entry = entries_[released];
  assert(entry.flows > 0);
  if (--entry.flows > 0) return;
  if (entry.inside.vni != of_nobody) remove_from_chain(released);
  append(queues_[static_cast<std::size_t>(space)], released);
}

std::optional<Inside> NatPorts::find(PortSpace space, std::uint16_t port) const noexcept {
  if (port < range_.first || port > range_.last) return std::nullopt;
  const auto& entry = entries_[index(space, port)];
  return entry.flows > 0 && entry.inside.vni != of_nobody ? std::optional(entry.inside) : std::nullopt;
}

std::size_t NatPorts::bytes() const noexcept {
  return entries_.size() * sizeof(Entry) + chains_.size() * sizeof(chains_[0]);
}

std::uint32_t NatPorts::index(PortSpace space, std::uint16_t port) const noexcept {
  assert(port >= range_.first && port <= range_.last);
  return static_cast<std::uint32_t>(space) * range_.size() + (std::uint32_t{port} - range_.first);
}

std::uint16_t NatPorts::port_at(PortSpace space, std::uint32_t index) const noexcept {
  return static_cast<std::uint16_t>(range_.first + (index - static_cast<std::uint32_t>(space) * range_.size()));
}

std::uint32_t NatPorts::chain(const Inside& inside) const noexcept {
  return reduce(hash_of(inside, secret_), static_cast<std::uint32_t>(chains_.size()));
}

void NatPorts::append(Queue& queue, std::uint32_t index) noexcept {
  (queue.free == 0 ? queue.first : entries_[queue.last].next) = index;
  entries_[index].before = queue.last;
  queue.last = index;
  ++queue.free;
}

void NatPorts::remove(Queue& queue, std::uint32_t index) noexcept {
  const auto& entry = entries_[index];
  (index == queue.first ? queue.first : entries_[entry.before].next) = entry.next;
  (index == queue.last ? queue.last : entries_[entry.next].before) = entry.before;
  --queue.free;
}

void NatPorts::put_into_chain(std::uint32_t index) noexcept {
  auto& first = chains_[chain(entries_[index].inside)];
  entries_[index].next = first;
  first = index;
}

void NatPorts::remove_from_chain(std::uint32_t index) noexcept {
  auto* link = &chains_[chain(entries_[index].inside)];
  while (*link != index) link = &entries_[*link].next;
  *link = entries_[index].next;
}

// --- ports that are shared ------------------------------------------------------------------------------------

SharedNatPorts::SharedNatPorts(PortRange range, std::uint32_t max_flows, std::uint64_t secret)
    : range_(range),
      groups_((range.size() + group_size - 1) / group_size),
      max_flows_(max_flows),
      secret_(secret),
      // Half full when every flow needs a place of its own: then hardly any line ever is.
      lines_((std::size_t{max_flows} * 2 + Line::places - 1) / Line::places) {
  assert(range.first <= range.last);
  static_assert(sizeof(Line) == 64);
}

std::optional<std::uint16_t> SharedNatPorts::take(const Inside& inside, const Outside& outside,
                                                  const Elsewhere* elsewhere) noexcept {
  assert(inside.space == outside.space);
  if (is_exhausted()) return std::nullopt;
  const auto wish = hash_of(inside, secret_);
  const auto wanted = reduce(wish, range_.size());
  const auto from = hash(outside);
  const auto tries = std::min(max_tries, groups_);
  auto group = wanted / group_size;
  for (std::uint32_t attempt = 1;; ++attempt) {
    const auto place = fold_product(from ^ group, hash_seeds[0]);
    const auto tag = static_cast<std::uint16_t>(place);
    auto& here = line(place);
    auto at = here.find(tag);
    if (at == Line::places) at = here.find_free();
    if (at != Line::places) {
      const auto first = group * group_size;
      auto free = static_cast<std::uint16_t>(~here.ports[at]);
      if (range_.size() - first < group_size) free &= static_cast<std::uint16_t>((1U << (range_.size() - first)) - 1);
      while (free != 0) {
        // The wanted one, or the next behind it.
        const auto start = static_cast<int>(wanted % group_size);
        const auto port = static_cast<unsigned>(std::countr_zero(std::rotr(free, start)) + start) % group_size;
        const auto taken = static_cast<std::uint16_t>(range_.first + first + port);
        const auto bit = static_cast<std::uint16_t>(1U << port);
        if (elsewhere != nullptr && elsewhere->is_taken(elsewhere->context, taken, outside)) {
          free ^= bit;
          continue;
        }
        here.tags[at] = tag;
        here.ports[at] |= bit;
        ++used_;
        return taken;
      }
    }
    if (attempt == tries) return std::nullopt;
    // All of few, else any: with neighbours, insides that share a group would go on together.
    group = tries == groups_ ? (group + 1) % groups_ : reduce(fold_product(wish ^ attempt, hash_seeds[1]), groups_);
  }
}

bool SharedNatPorts::claim(std::uint16_t port, const Outside& outside) noexcept {
  assert(port >= range_.first && port <= range_.last);
  if (is_exhausted()) return false;
  const auto offset = std::uint32_t{port} - range_.first;
  const auto place = fold_product(hash(outside) ^ (offset / group_size), hash_seeds[0]);
  const auto tag = static_cast<std::uint16_t>(place);
  auto& here = line(place);
  auto at = here.find(tag);
  if (at == Line::places) at = here.find_free();
  const auto bit = static_cast<std::uint16_t>(1U << offset % group_size);
  if (at == Line::places || (here.ports[at] & bit) != 0) return false;
  here.tags[at] = tag;
  here.ports[at] |= bit;
  ++used_;
  return true;
}

void SharedNatPorts::release(std::uint16_t port, const Outside& outside) noexcept {
  assert(port >= range_.first && port <= range_.last);
  const auto offset = std::uint32_t{port} - range_.first;
  const auto place = fold_product(hash(outside) ^ (offset / group_size), hash_seeds[0]);
  auto& here = line(place);
  const auto at = here.find(static_cast<std::uint16_t>(place));
  const auto bit = static_cast<std::uint16_t>(1U << offset % group_size);
  assert(at != Line::places && (here.ports[at] & bit) != 0);
  here.ports[at] ^= bit;
  --used_;
}

bool SharedNatPorts::is_taken(std::uint16_t port, const Outside& outside) const noexcept {
  if (port < range_.first || port > range_.last) return false;
  const auto offset = std::uint32_t{port} - range_.first;
  const auto place = fold_product(hash(outside) ^ (offset / group_size), hash_seeds[0]);
  const auto& here = line(place);
  const auto at = here.find(static_cast<std::uint16_t>(place));
  return at != Line::places && (here.ports[at] >> offset % group_size & 1) != 0;
}

std::size_t SharedNatPorts::bytes() const noexcept {
  return lines_.size() * sizeof(Line);
}

std::uint32_t SharedNatPorts::Line::find(std::uint16_t tag) const noexcept {
  std::uint32_t found = 0;
  for (std::uint32_t i = 0; i < places; ++i) found |= static_cast<std::uint32_t>(tags[i] == tag && ports[i] != 0) << i;
  return found == 0 ? places : static_cast<std::uint32_t>(std::countr_zero(found));
}

std::uint32_t SharedNatPorts::Line::find_free() const noexcept {
  return static_cast<std::uint32_t>(std::find(ports.begin(), ports.end(), 0) - ports.begin());
}

std::uint64_t SharedNatPorts::hash(const Outside& outside) const noexcept {
  const std::uint64_t words[] = {outside.address.high, outside.address.low,
                                 static_cast<std::uint64_t>(outside.space) << 16 | outside.port};
  return hash_words(words, ~secret_);
}

SharedNatPorts::Line& SharedNatPorts::line(std::uint64_t hash) noexcept {
  return lines_[reduce(hash, static_cast<std::uint32_t>(lines_.size()))];
}

const SharedNatPorts::Line& SharedNatPorts::line(std::uint64_t hash) const noexcept {
  return lines_[reduce(hash, static_cast<std::uint32_t>(lines_.size()))];
}

}  // namespace ironcore::network::dataplane
