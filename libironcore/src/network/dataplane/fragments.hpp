// SPDX-License-Identifier: Apache-2.0
// Which flow a fragment without ports belongs to.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "connection.hpp"
#include "flow_key.hpp"
#include "headers.hpp"

namespace ironcore::network::dataplane {

/// Nothing is put together: the first fragment of a datagram has the transport header, and the later ones are of its flow. What only a first
/// fragment says is remembered for `lifetime` by what all fragments of a datagram share: addresses and identification, and for IPv4 the
/// protocol (RFC 791 §3.2, RFC 8200 §4.5). A later fragment that comes before its first one is unknown. Of two first fragments the newer one
/// counts; each of them is a packet of its own flow.
/// Memory: 16 bytes for each of `capacity`, which never become more: of five that compete for four places, one gives way of those who have the
/// most of them, and of these the oldest one. So a sender that floods pushes out its own datagrams; senders are told apart by scope. Thread: one.
class Fragments {
 public:
  static constexpr Tick lifetime = 30;

  /// `secret` is random, so that nobody can choose datagrams that push out others. Throws std::bad_alloc.
  Fragments(std::uint32_t capacity, std::uint64_t secret);

  /// Of a fragment that `parse` has read; `ip` is its header. Of a first one it notes the ports, to a later one it gives protocol and ports of the
  /// first, or type and code of ICMP, as if it had its header. False: the first one is not known.
  bool track(FlowScope scope, const std::uint8_t* ip, Headers& headers, Tick now) noexcept;
  /// Lets go of what is too old in the next `sets` of places. That changes only the count.
  void sweep(Tick now, std::size_t sets) noexcept {
    if (used_ != 0) [[unlikely]]
      sweep_some(now, sets);
  }

  /// Datagrams that are remembered; some may be too old and not yet swept. Thread: any, and apart from what the worker reads.
  std::uint32_t used() const noexcept { return noted_.used.load(std::memory_order_relaxed); }
  /// Thread: any.
  std::uint32_t capacity() const noexcept { return noted_.room; }

 private:
  static constexpr std::size_t ways = 4;

  struct Entry {
    std::uint64_t datagram = 0;  ///< a hash with the secret: nobody can find two with the same one
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;  ///< or type and code of ICMP
    std::uint16_t seen = 0;              ///< when, as `stamp`; 0 = it is empty
    std::uint8_t owner = 0;              ///< of the scope: 1 in 256 pairs count as one
    std::uint8_t protocol = 0;
  };
  static_assert(sizeof(Entry) == 16);
  struct alignas(64) Set {
    std::array<Entry, ways> entries;
  };

  static constexpr std::uint16_t time_bits = 0x7fff;
  static std::uint16_t stamp(Tick now) noexcept { return static_cast<std::uint16_t>(0x8000U | (now & time_bits)); }
  static std::uint32_t age(const Entry& entry, Tick now) noexcept { return (stamp(now) - entry.seen) & time_bits; }
  static bool is_fresh(const Entry& entry, Tick now) noexcept { return entry.seen != 0 && age(entry, now) < lifetime; }
  static Entry& place_in(Set& set, std::uint8_t owner, Tick now) noexcept;
  std::uint8_t owner_of(FlowScope scope) const noexcept;
  std::uint64_t datagram_of(FlowScope scope, const std::uint8_t* ip, const Headers& headers) const noexcept;

  struct alignas(64) Noted {
    std::atomic<std::uint32_t> used = 0;
    std::uint32_t room = 0;
  };

  void sweep_some(Tick now, std::size_t sets) noexcept;

  std::uint64_t secret_;
  std::vector<Set> sets_;
  std::uint32_t used_ = 0;  ///< entries that are not empty
  std::size_t swept_ = 0;   ///< the next set to be swept
  Noted noted_;
};

}  // namespace ironcore::network::dataplane
