// SPDX-License-Identifier: Apache-2.0
// The ports of one NAT, shared out among the workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "ironcore/network/configuration.hpp"
#include "nat_ports.hpp"

namespace ironcore::network::dataplane {

/// Lives as long as the NAT is told without a change. Each worker has a slice of the range: what comes back to a port belongs to the worker whose
/// slice it is of. Thread: each slice that of its worker; everything else any (immutable).
class NatPool {
 public:
  /// `born`: the number of the first configuration that has it.
  NatPool(const Nat& told, std::uint64_t born, std::size_t workers, std::uint32_t max_flows, std::uint64_t secret);

  std::uint64_t born() const noexcept { return born_; }
  /// Of a port of the range.
  std::size_t worker_of(std::uint16_t port) const noexcept;

  std::optional<std::uint16_t> take(std::size_t worker, const Inside& inside, const Outside& outside) noexcept;
  void release(std::size_t worker, std::uint16_t port, const Outside& outside) noexcept;
  /// Of a flow from before a restart: the port that it had. False: it cannot have it any more. When all have claimed theirs, `finish_claims`.
  bool claim(std::size_t worker, const Inside& inside, std::uint16_t port, const Outside& outside) noexcept;
  void finish_claims() noexcept;
  /// Whose port it is, for packets from anybody; nothing if ports are shared.
  std::optional<Inside> find(std::size_t worker, PortSpace space, std::uint16_t port) const noexcept;

 private:
  using Slice = std::variant<std::monostate, NatPorts, SharedNatPorts>;

  PortRange range_;
  std::uint64_t born_;
  std::vector<Slice> slices_;
};

}  // namespace ironcore::network::dataplane
