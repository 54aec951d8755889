// SPDX-License-Identifier: Apache-2.0
// Taking, renewing and losing leases.
#include "leases.hpp"

#include <boost/json.hpp>

namespace ironcore::store::local_store {

namespace {

Error taken(const std::string& name, const std::string& holder) {
  return Error(ErrorCode::conflict,
               "lease " + name + " is held by " + holder + ": wait until it is released or expires");
}

Instant after(Instant now, Duration span) {
  return span > Instant::max() - now ? Instant::max() : now + span;
}

}  // namespace

std::string LeaseTerms::to_json() const {
  return boost::json::serialize(boost::json::object{{"holder", holder}, {"ttlNanoseconds", time_to_live.count()}});
}

Result<LeaseTerms> LeaseTerms::from_json(std::string_view json) {
  boost::system::error_code failed;
  const auto value = boost::json::parse(boost::json::string_view(json.data(), json.size()), failed);
  const auto* object = failed ? nullptr : value.if_object();
  const auto* holder = object == nullptr ? nullptr : object->if_contains("holder");
  const auto* span = object == nullptr ? nullptr : object->if_contains("ttlNanoseconds");
  if (holder == nullptr || !holder->is_string() || span == nullptr || !span->is_int64())
    return Error(ErrorCode::corrupt, "is not a lease");
  return LeaseTerms{std::string(holder->get_string()), Duration(span->get_int64())};
}

Lease Leases::lease_of(const std::string& name, const Entry& entry, Instant now) {
  return {.name = name,
          .holder = entry.terms.holder,
          .token = entry.token,
          .time_to_live = entry.terms.time_to_live,
          .renewals = entry.renewals,
          .is_held = !entry.terms.holder.empty() && now < entry.expires};
}

Result<std::optional<Lease>> Leases::renew(const std::string& name, const std::string& holder, Duration time_to_live,
                                           Instant now) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.terms.holder.empty()) return std::optional<Lease>();
  auto& entry = found->second;
  if (entry.terms.holder == holder && !entry.is_changing) {
    entry.terms.time_to_live = time_to_live;
    entry.expires = after(now, time_to_live);
    ++entry.renewals;
    return std::optional(lease_of(name, entry, now));
  }
  if (now < entry.expires) return taken(name, entry.terms.holder);
  return std::optional<Lease>();
}

Result<Revision> Leases::claim(const std::string& name, const std::string& holder, Instant now) {
  const std::lock_guard lock(mutex_);
  auto& entry = entries_[name];
  if (entry.is_changing)
    return Error(ErrorCode::conflict,
                 "lease " + name + " is just being taken by another: wait until it is released or expires");
  if (!entry.terms.holder.empty() && entry.terms.holder != holder && now < entry.expires)
    return taken(name, entry.terms.holder);
  entry.is_changing = true;
  return Revision{entry.token};
}

Result<std::optional<Revision>> Leases::claim_release(const std::string& name, std::uint64_t token) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.token == 0)
    return Error(ErrorCode::not_found, "there is no lease " + name);
  auto& entry = found->second;
  if (entry.terms.holder.empty() && token < entry.token) return std::optional<Revision>();
  if (entry.is_changing || entry.token != token)
    return Error(ErrorCode::forbidden,
                 "lease " + name + " is held with another token: it was lost before it could be released");
  entry.is_changing = true;
  return std::optional(Revision{entry.token});
}

Lease Leases::settle(const std::string& name, Revision revision, LeaseTerms terms, Instant now) {
  const std::lock_guard lock(mutex_);
  auto& entry = entries_[name];
  entry.terms = std::move(terms);
  entry.token = revision.value;
  entry.expires = after(now, entry.terms.time_to_live);
  entry.renewals = 0;
  entry.is_changing = false;
  return lease_of(name, entry, now);
}

void Leases::abandon(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  found->second.is_changing = false;
  if (found->second.token == 0) entries_.erase(found);
}

Result<void> Leases::check_holder(const HoldsLease& precondition) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(precondition.name);
  const bool is_holder = found != entries_.end() && !found->second.is_changing && !found->second.terms.holder.empty() &&
                         found->second.token == precondition.token;
  if (!is_holder)
    return Error(ErrorCode::forbidden, "lease " + precondition.name + " was lost: acquire it again before writing");
  return {};
}

std::vector<Lease> Leases::list(const std::string& prefix, Instant now) const {
  std::vector<Lease> result;
  const std::lock_guard lock(mutex_);
  for (auto at = entries_.lower_bound(prefix); at != entries_.end() && at->first.starts_with(prefix); ++at)
    if (at->second.token != 0) result.push_back(lease_of(at->first, at->second, now));
  return result;
}

}  // namespace ironcore::store::local_store
