// SPDX-License-Identifier: Apache-2.0
// Applier: makes a forwarding table hold what a speaker has learned, and keeps it so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/routing/forwarding_table.hpp"
#include "ironcore/routing/speaker.hpp"

namespace ironcore::routing {

struct ApplierOptions {
  std::size_t reads_per_call = 20'000;   ///< learned changes, and prefixes compared, in one call of `advance`
  std::size_t changes_per_call = 1'000;  ///< prefixes that one call hands to the table
  Duration first_retry = std::chrono::milliseconds(100);  ///< of a prefix that was refused; doubles each time
  Duration longest_retry = std::chrono::seconds(30);
  /// What an earlier process left of a VNI that nobody has subscribed since the start stays for so long.
  Duration leftover_time = std::chrono::minutes(1);
  /// How often the table is listed, to repair what it lost or what others changed; 0 = at the start only.
  Duration listing_interval = std::chrono::minutes(5);
};

/// Numbers of prefixes, a prefix of two VNIs being two.
struct ApplierStatus {
  bool is_listed = false;      ///< it is known what is installed; before, nothing is changed
  std::size_t wanted = 0;      ///< have next hops, by what the speaker knows
  std::size_t installed = 0;   ///< have some in the table
  std::size_t pending = 0;     ///< wait for their turn
  std::size_t parked = 0;      ///< what they are for is not there yet; tried again
  std::size_t failing = 0;     ///< refused for another reason; tried again
  std::optional<Error> error;  ///< the latest refusal, while anything is parked or failing; or why listing fails
  struct Network {
    Vni vni;
    std::size_t wanted = 0;
    std::size_t installed = 0;
    bool is_settled = false;  ///< it was known completely once, so that leftovers of an earlier process are gone
  };
  std::vector<Network> vnis;

  std::uint64_t replaced = 0;    ///< prefixes that got other next hops, since the start
  std::uint64_t removed = 0;     ///< prefixes
  std::uint64_t refusals = 0;    ///< of single prefixes
  std::uint64_t adopted = 0;     ///< prefixes that were there at the start
  std::uint64_t repaired = 0;    ///< prefixes that a later listing found different
  std::uint64_t rereadings = 0;  ///< of whole VNIs, when withdrawals were missed
};

/// A prefix that is not as it should be.
struct ApplierTrouble {
  Vni vni;
  Prefix destination;
  Error error;
  std::uint32_t attempts = 0;
  bool is_parked = false;  ///< what it is for is not there yet
  Instant next_attempt{};
};

/// Of each VNI that the speaker subscribes, a prefix gets all next hops that other nodes announce; of those with the same type and NAT ports only those with the
/// highest mobility. Equal next hops of several nodes are one. What this node announces itself plays no part.
///
///   prefix:  equal ──learned or lost something──▶ pending ──taken──▶ equal
///              pending ──refused──▶ parked or failing ──time, news, or `retry`──▶ pending
///
/// * What the table holds at the start is adopted. Until a VNI is known completely for the first time (`Speaker::is_complete`) hops are added to it, and none
///   is taken away that was there.
/// * A changed prefix is replaced in one go. Prefixes leave only when nothing else is to be done, and everything that is known was read.
/// * A VNI that is not subscribed any more leaves.
///
/// Bounded work for each call, with two exceptions: `ForwardingTable::list` is one call, and so is reading a VNI anew after withdrawals were missed. Thread: one.
class Applier {
 public:
  /// The speaker, table, clock and log outlive it. `invalid` names the option.
  static Result<std::unique_ptr<Applier>> create(ApplierOptions options, const Speaker& speaker, ForwardingTable& table,
                                                 Clock& clock, Log& log);
  ~Applier();
  Applier(const Applier&) = delete;
  Applier& operator=(const Applier&) = delete;

  /// Does what is due, and says when it wants to be called again. To be called also after the speaker's `receive` and `advance`.
  /// Nothing is removed by the destructor.
  Instant advance();

  /// What prefixes of the VNI wait for may be there now: all that were refused are tried again.
  void retry(Vni vni);
  /// The table was changed by others or began anew: it is listed by the next `advance`.
  void relist();

  /// Walks over all prefixes.
  ApplierStatus status() const;
  /// At most `limit` of them, by VNI and prefix.
  std::vector<ApplierTrouble> troubles(std::size_t limit) const;

 private:
  class Impl;
  explicit Applier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ironcore::routing
