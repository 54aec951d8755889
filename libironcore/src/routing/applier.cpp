// SPDX-License-Identifier: Apache-2.0
// The difference between what was learned and what is installed, and how it is closed.
#include "ironcore/routing/applier.hpp"

#include <algorithm>
#include <compare>
#include <deque>
#include <map>
#include <set>
#include <utility>

namespace ironcore::routing {

class Applier::Impl {
 public:
  Impl(ApplierOptions options, const Speaker& speaker, ForwardingTable& table, Clock& clock, Log& log)
      : options_(options),
        speaker_(speaker),
        table_(table),
        clock_(clock),
        log_(log),
        leftovers_end_(clock.now() + options.leftover_time) {}

  Instant advance() {
    const auto now = clock_.now();
    if (now >= next_listing_) list(now);
    if (!is_listed_) return next_listing_;
    follow(now);
    while (!waiting_.empty() && waiting_.begin()->first <= now) {
      const auto key = waiting_.begin()->second;
      touch(key, *find(key));
    }
    apply(now);
    if (!ready_.empty() || !removals_.empty() ||
        std::ranges::any_of(networks_, [](const auto& of) { return !of.second.is_read; }))
      return now;
    auto next = next_listing_;
    if (!waiting_.empty()) next = std::min(next, waiting_.begin()->first);
    if (leftovers_end_ > now) next = std::min(next, leftovers_end_);
    return next;
  }

  void retry(Vni vni) {
    for (auto at = troubles_.lower_bound({vni, {}}); at != troubles_.end() && at->first.vni == vni; ++at)
      touch(at->first, *find(at->first));
  }

  void relist() { next_listing_ = {}; }

  ApplierStatus status() const {
    auto status = counted_;
    status.is_listed = is_listed_;
    for (const auto& [vni, network] : networks_) {
      auto& of = status.vnis.emplace_back();
      of.vni = vni;
      of.is_settled = network.is_settled;
      for (const auto& [destination, entry] : network.entries) {
        of.wanted += entry.known.empty() ? 0U : 1U;
        of.installed += entry.installed.empty() ? 0U : 1U;
        status.pending += entry.place == Place::ready || entry.place == Place::leaving ? 1U : 0U;
      }
      status.wanted += of.wanted;
      status.installed += of.installed;
    }
    for (const auto& [key, trouble] : troubles_) ++(trouble.is_parked ? status.parked : status.failing);
    if (listing_error_)
      status.error = listing_error_;
    else if (!troubles_.empty())
      status.error = last_refusal_;
    return status;
  }

  std::vector<ApplierTrouble> troubles(std::size_t limit) const {
    std::vector<ApplierTrouble> out;
    for (const auto& [key, trouble] : troubles_) {
      if (out.size() == limit) break;
      out.push_back(
          {key.vni, key.destination, trouble.error, trouble.attempts, trouble.is_parked, trouble.next_attempt});
    }
    return out;
  }

 private:
  struct Key {
    Vni vni;
    Prefix destination;
    friend bool operator==(const Key&, const Key&) noexcept = default;
    friend auto operator<=>(const Key&, const Key&) noexcept = default;
  };

  struct Known {
    ForwardingHop hop;
    std::uint32_t mobility = 0;
    OriginId origin{};
  };

  /// Where a prefix waits: not at all, to be compared and replaced, to be removed when nothing is to be replaced, or for its next attempt.
  enum class Place : std::uint8_t { nowhere, ready, leaving, waiting };

  struct Entry {
    std::vector<Known> known;              ///< what other nodes announce
    std::vector<ForwardingHop> installed;  ///< as the table lists them
    std::vector<ForwardingHop> kept;       ///< of an earlier process; until the VNI is settled
    Place place = Place::nowhere;
    bool is_unsure = false;  ///< a refused change may have taken effect
  };

  struct Network {
    std::map<Prefix, Entry> entries;
    std::uint64_t cursor = 0;  ///< of the speaker's changes
    bool is_subscribed = false;
    bool is_read = true;  ///< through the latest change
    bool is_settled = false;
  };

  struct Trouble {
    Error error;
    std::uint32_t attempts = 0;
    bool is_parked = false;
    Instant next_attempt{};
  };

  Entry* find(const Key& key) {
    const auto network = networks_.find(key.vni);
    if (network == networks_.end()) return nullptr;
    const auto entry = network->second.entries.find(key.destination);
    return entry == network->second.entries.end() ? nullptr : &entry->second;
  }

  /// It may differ from what is installed. Keys that lie in a queue for nothing are passed over when they are taken from it.
  void touch(const Key& key, Entry& entry) {
    if (entry.place == Place::ready) return;
    if (entry.place == Place::waiting) waiting_.erase({troubles_.at(key).next_attempt, key});
    entry.place = Place::ready;
    ready_.push_back(key);
  }

  // ---- what is installed ----

  void list(Instant now) {
    auto listed = table_.list();
    if (!listed) {
      if (!listing_error_) log_.warning("listing the forwarding table: " + listed.error().message());
      listing_error_ = std::move(listed).error();
      listing_retry_ = std::min(std::max(2 * listing_retry_, options_.first_retry), options_.longest_retry);
      next_listing_ = now + listing_retry_;
      return;
    }
    listing_error_.reset();
    listing_retry_ = {};
    next_listing_ = options_.listing_interval == Duration::zero() ? Instant::max() : now + options_.listing_interval;
    std::map<Key, std::vector<ForwardingHop>> found;
    for (auto& entry : *listed) found[{entry.vni, entry.destination}] = std::move(entry.hops);
    for (auto& [vni, network] : networks_) {
      for (auto& [destination, entry] : network.entries) {
        const auto there = found.find({vni, destination});
        auto hops = there == found.end() ? std::vector<ForwardingHop>() : std::move(there->second);
        if (there != found.end()) found.erase(there);
        const bool is_different = hops != entry.installed;
        if (is_different && !entry.is_unsure) ++counted_.repaired;
        entry.is_unsure = false;
        entry.installed = std::move(hops);
        if (is_different && entry.place != Place::waiting) touch({vni, destination}, entry);
      }
    }
    for (auto& [key, hops] : found) {
      auto& entry = networks_[key.vni].entries[key.destination];
      entry.installed = std::move(hops);
      if (is_listed_) {
        ++counted_.repaired;
        touch(key, entry);
      } else {
        ++counted_.adopted;
        entry.kept = entry.installed;
      }
    }
    is_listed_ = true;
  }

  /// From here on what nobody announces is taken away.
  void settle(Vni vni, Network& network) {
    network.is_settled = true;
    for (auto& [destination, entry] : network.entries) {
      if (entry.kept.empty()) continue;
      entry.kept.clear();
      touch({vni, destination}, entry);
    }
  }

  // ---- what is learned ----

  void follow(Instant now) {
    auto reads = options_.reads_per_call;
    std::set<Vni> subscribed;
    for (const auto& table : speaker_.status().vnis) {
      subscribed.insert(table.vni);
      auto& network = networks_[table.vni];
      if (!network.is_subscribed) subscribe(table.vni, network);
      network.is_read = network.cursor == table.sequence;
      if (!network.is_read && reads > 0) read(table.vni, network, reads);
      if (!network.is_settled && network.is_read && table.is_complete && !table.is_stale) settle(table.vni, network);
    }
    for (auto at = networks_.begin(); at != networks_.end();) {
      auto& [vni, network] = *at;
      if (!subscribed.contains(vni)) {
        if (network.is_subscribed) unsubscribe(vni, network);
        if (!network.is_settled && now >= leftovers_end_) settle(vni, network);
        if (network.is_settled && network.entries.empty()) {
          at = networks_.erase(at);
          continue;
        }
      }
      ++at;
    }
  }

  /// What is still there of an earlier subscription, or an earlier process, stays until the VNI is settled.
  void subscribe(Vni vni, Network& network) {
    network.is_subscribed = true;
    network.cursor = 0;
    network.is_settled = false;
    for (auto& [destination, entry] : network.entries) {
      entry.kept = entry.installed;
      touch({vni, destination}, entry);
    }
  }

  void unsubscribe(Vni vni, Network& network) {
    network.is_subscribed = false;
    network.is_read = true;
    network.is_settled = true;
    for (auto& [destination, entry] : network.entries) {
      entry.known.clear();
      entry.kept.clear();
      touch({vni, destination}, entry);
    }
  }

  void read(Vni vni, Network& network, std::size_t& reads) {
    std::size_t taken = 0;
    const auto to = speaker_.changes(vni, network.cursor, reads, [&](const LearnedRoute& learned) {
      learn(vni, network, learned);
      ++taken;
    });
    if (!to) {
      reread(vni, network);
      reads = 0;
      return;
    }
    reads -= std::min(taken, reads);
    network.cursor = *to;
    network.is_read = speaker_.sequence(vni) == *to;
  }

  void reread(Vni vni, Network& network) {
    ++counted_.rereadings;
    for (auto& [destination, entry] : network.entries) {
      entry.known.clear();
      touch({vni, destination}, entry);
    }
    network.cursor = speaker_.sequence(vni);
    for (const auto& learned : speaker_.routes(vni)) learn(vni, network, learned);
    network.is_read = true;
  }

  void learn(Vni vni, Network& network, const LearnedRoute& learned) {
    if (learned.what == LearnedRoute::What::origin_gone) {
      for (auto& [destination, entry] : network.entries) {
        if (std::erase_if(entry.known, [&](const Known& known) { return known.origin == learned.origin; }) > 0)
          touch({vni, destination}, entry);
      }
      return;
    }
    const auto& route = learned.route;
    const bool is_announced = learned.what == LearnedRoute::What::announced;
    const auto at =
        is_announced ? network.entries.try_emplace(route.destination).first : network.entries.find(route.destination);
    if (at == network.entries.end()) return;
    auto& entry = at->second;
    std::erase_if(entry.known, [&](const Known& known) {
      return known.origin == learned.origin && known.hop.address == route.next_hop && known.hop.type == route.type &&
             known.hop.nat_ports == route.nat_ports;
    });
    if (is_announced) {
      ForwardingHop hop{.address = route.next_hop,
                        .type = route.type,
                        .nat_ports = route.nat_ports,
                        .target_vni = route.target_vni == vni ? Vni() : route.target_vni,
                        .weight = route.weight};
      entry.known.push_back({hop, route.mobility, learned.origin});
    }
    touch({vni, route.destination}, entry);
  }

  ForwardingEntry target(const Key& key, const Entry& entry) const {
    std::map<std::pair<RouteType, PortRange>, std::uint32_t> highest;
    for (const auto& known : entry.known) {
      auto& mobility = highest[{known.hop.type, known.hop.nat_ports}];
      mobility = std::max(mobility, known.mobility);
    }
    auto hops = entry.kept;
    for (const auto& known : entry.known) {
      if (known.mobility == highest.at({known.hop.type, known.hop.nat_ports})) hops.push_back(known.hop);
    }
    ForwardingEntry wanted{key.vni, key.destination, merged(std::move(hops))};
    wanted.hops = table_.as_listed(wanted);
    return wanted;
  }

  // ---- the difference ----

  void apply(Instant now) {
    std::vector<ForwardingEntry> batch;
    auto looks = options_.reads_per_call;
    for (; looks > 0 && !ready_.empty() && batch.size() < options_.changes_per_call; --looks) {
      const auto key = ready_.front();
      ready_.pop_front();
      auto* const entry = find(key);
      if (entry == nullptr || entry->place != Place::ready) continue;
      auto wanted = target(key, *entry);
      if (is_equal(*entry, wanted)) {
        entry->place = Place::nowhere;
        done(key, *entry);
      } else if (wanted.hops.empty()) {
        entry->place = Place::leaving;
        removals_.push_back(key);
      } else {
        entry->place = Place::nowhere;
        batch.push_back(std::move(wanted));
      }
    }
    // Looks and room are left only when nothing is to be replaced any more: whatever comes instead of a prefix that leaves has been installed, or was refused.
    for (looks = std::min(looks, removals_.size()); looks > 0 && batch.size() < options_.changes_per_call; --looks) {
      const auto key = removals_.front();
      removals_.pop_front();
      auto* const entry = find(key);
      if (entry == nullptr || entry->place != Place::leaving) continue;
      if (networks_.at(key.vni).is_read) {
        entry->place = Place::nowhere;
        batch.push_back({key.vni, key.destination, {}});
      } else {
        removals_.push_back(key);  // its next hop may be among what is still to be read
      }
    }
    if (batch.empty()) return;
    auto refusals = table_.replace(batch);
    const bool was_well = troubles_.empty();
    for (auto& refusal : refusals) {
      const auto& of = batch.at(refusal.index);
      refuse(now, {of.vni, of.destination}, std::move(refusal.error));
    }
    for (auto& taken : batch) {
      const Key key{taken.vni, taken.destination};
      auto& entry = *find(key);
      if (entry.place == Place::waiting) continue;
      ++(taken.hops.empty() ? counted_.removed : counted_.replaced);
      entry.installed = std::move(taken.hops);
      entry.is_unsure = false;
      done(key, entry);
    }
    if (was_well && !troubles_.empty())
      log_.warning("the forwarding table refuses routes, they are tried again: " + last_refusal_.message());
    if (!was_well && troubles_.empty()) log_.info("the forwarding table has taken all routes that it refused");
  }

  static bool is_equal(const Entry& entry, const ForwardingEntry& wanted) {
    return !entry.is_unsure && entry.installed == wanted.hops;
  }

  void done(const Key& key, Entry& entry) {
    troubles_.erase(key);
    if (entry.known.empty() && entry.installed.empty() && entry.kept.empty())
      networks_.at(key.vni).entries.erase(key.destination);
  }

  void refuse(Instant now, const Key& key, Error error) {
    ++counted_.refusals;
    auto& entry = *find(key);
    auto& trouble = troubles_[key];
    trouble.is_parked = error.code() == ErrorCode::wrong_state || error.code() == ErrorCode::not_found;
    if (!trouble.is_parked) entry.is_unsure = true;
    auto pause = options_.first_retry;
    for (std::uint32_t i = 0; i < trouble.attempts && pause < options_.longest_retry; ++i) pause *= 2;
    ++trouble.attempts;
    trouble.next_attempt = now + std::min(pause, options_.longest_retry);
    trouble.error = std::move(error).within("VNI " + key.vni.to_text() + ", " + key.destination.to_text());
    last_refusal_ = trouble.error;
    entry.place = Place::waiting;
    waiting_.insert({trouble.next_attempt, key});
  }

  const ApplierOptions options_;
  const Speaker& speaker_;
  ForwardingTable& table_;
  Clock& clock_;
  Log& log_;
  const Instant leftovers_end_;

  bool is_listed_ = false;
  Instant next_listing_{};
  Duration listing_retry_{};
  std::optional<Error> listing_error_;

  std::map<Vni, Network> networks_;
  std::deque<Key> ready_;
  std::deque<Key> removals_;
  std::map<Key, Trouble> troubles_;            ///< of all that were refused and have not succeeded since
  std::set<std::pair<Instant, Key>> waiting_;  ///< those of them in `Place::waiting`
  Error last_refusal_;
  ApplierStatus counted_;  ///< its counters
};

Result<std::unique_ptr<Applier>> Applier::create(ApplierOptions options, const Speaker& speaker, ForwardingTable& table,
                                                 Clock& clock, Log& log) {
  if (options.reads_per_call == 0) return Error(ErrorCode::invalid, "reads_per_call: 1 at least");
  if (options.changes_per_call == 0) return Error(ErrorCode::invalid, "changes_per_call: 1 at least");
  if (options.first_retry <= Duration::zero()) return Error(ErrorCode::invalid, "first_retry: must be above 0");
  if (options.longest_retry < options.first_retry)
    return Error(ErrorCode::invalid, "longest_retry: must not be shorter than first_retry");
  if (options.leftover_time < Duration::zero()) return Error(ErrorCode::invalid, "leftover_time: must not be negative");
  if (options.listing_interval < Duration::zero())
    return Error(ErrorCode::invalid, "listing_interval: must not be negative");
  return std::unique_ptr<Applier>(new Applier(std::make_unique<Impl>(options, speaker, table, clock, log)));
}

Applier::Applier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Applier::~Applier() = default;

Instant Applier::advance() {
  return impl_->advance();
}

void Applier::retry(Vni vni) {
  impl_->retry(vni);
}

void Applier::relist() {
  impl_->relist();
}

ApplierStatus Applier::status() const {
  return impl_->status();
}

std::vector<ApplierTrouble> Applier::troubles(std::size_t limit) const {
  return impl_->troubles(limit);
}

}  // namespace ironcore::routing
