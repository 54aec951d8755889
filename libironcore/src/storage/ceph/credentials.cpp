// SPDX-License-Identifier: Apache-2.0
// What hypervisors get: cephx users of a tenant, and how they reach a volume; shutting clients out.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "errors.hpp"
#include "ironcore/base/text.hpp"
#include "store.hpp"

namespace ironcore::storage::ceph {

namespace {

/// Numbers of the users of one tenant, as kept in the index: the current one (0 = none), the last one ever given out, those that are there.
struct Numbers {
  std::uint64_t current = 0;
  std::uint64_t last = 0;
  std::vector<std::uint64_t> all;
};

Numbers parse_numbers(std::string_view text) {
  std::vector<std::uint64_t> found;
  const char* here = text.data();
  const char* const end = here + text.size();
  while (here < end) {
    std::uint64_t number = 0;
    const auto [next, wrong] = std::from_chars(here, end, number);
    if (wrong != std::errc()) break;
    found.push_back(number);
    here = next < end ? next + 1 : end;
  }
  Numbers out;
  if (found.size() < 2) return out;
  out.current = found[0];
  out.last = found[1];
  out.all.assign(found.begin() + 2, found.end());
  return out;
}

std::string to_text(const Numbers& numbers) {
  std::string out = std::to_string(numbers.current) + " " + std::to_string(numbers.last);
  for (const std::uint64_t one : numbers.all) out += " " + std::to_string(one);
  return out;
}

void add_number(Numbers& numbers) {
  numbers.all.push_back(++numbers.last);
  numbers.current = numbers.last;
}

/// Lets `edit` change a tenant's numbers, again when somebody else changed them meanwhile; it says whether there is anything to change.
template <class Edit>
Result<Numbers> change_numbers(const Table& table, const std::string& tenant, Edit edit) {
  constexpr int kTries = 100;
  for (int i = 0;; ++i) {
    IRONCORE_TRY(const std::string text, table.get(tenant));
    Numbers numbers = parse_numbers(text);
    if (!edit(numbers)) return numbers;
    const auto changed = table.replace(tenant, text, to_text(numbers));
    if (changed.has_value()) return numbers;
    if (changed.error().code() != ErrorCode::conflict || i == kTries) return changed.error();
  }
}

/// The pool is in it, because users belong to the whole cluster. Neither tenants nor pools end with a dot and digits of ours.
std::string user_of(const std::string& pool, const std::string& tenant, std::uint64_t number) {
  return "ironcore." + pool + "." + tenant + "." + std::to_string(number);
}

}  // namespace

Result<std::string> Store::credential_key(const std::string& name, const std::string& tenant) const {
  std::string osd;
  for (const std::string& pool : {options_.pool, options_.data_pool}) {
    if (pool.empty()) continue;
    osd += (osd.empty() ? "" : ", ") + ("profile rbd pool=" + pool + " namespace=" + tenant);
    // Without a namespace it would mean all of them.
    osd += ", profile rbd-read-only pool=" + pool + " namespace=\"\"";
  }
  // `profile rbd` on the monitor lets the holder put any client on the blocklist. Less would not do: a guest that was killed leaves its lock on
  // the image, and the one that starts in its place could not break it. The holders are hypervisors, not tenants.
  const std::string doing = "make user client." + name;
  IRONCORE_TRY(const auto answer, cluster_.ask_monitor({{"prefix", "auth get-or-create"},
                                                        {"entity", "client." + name},
                                                        {"caps", {"mon", "profile rbd", "osd", osd}}},
                                                       doing));
  const auto* list = answer.if_array();
  const auto* entry = list == nullptr || list->empty() ? nullptr : list->front().if_object();
  const auto* key = entry == nullptr ? nullptr : entry->if_contains("key");
  if (key == nullptr || !key->is_string()) {
    return Error(ErrorCode::internal, doing + ": the monitor's answer has no key");
  }
  return std::string(key->get_string());
}

Result<std::string> Store::recent_key(const std::string& name, const std::string& tenant) {
  constexpr auto kSpan = std::chrono::seconds(1);
  const Instant now = clock_.now();
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(recent_keys_, [&](const auto& one) { return one.second.until <= now; });
    if (const auto known = recent_keys_.find(name); known != recent_keys_.end()) return known->second.key;
  }
  IRONCORE_TRY(std::string key, credential_key(name, tenant));
  const std::lock_guard lock(mutex_);
  recent_keys_[name] = {.key = key, .until = now + kSpan};
  return key;
}

Result<Access> Store::access(const BlockId& id) {
  IRONCORE_CHECK(check(id));
  // Whether its image is still there is not asked again: who asks for access has just seen the volume.
  IRONCORE_TRY(const auto found, listed(volumes_, index_key(id)));
  if (!found) return Error(ErrorCode::not_found, words(Kind::volume, id) + ": not found");
  const std::string doing = "give access to " + words(Kind::volume, id);
  // Noted before it is made, so that none is forgotten.
  IRONCORE_TRY(const Numbers numbers, within(change_numbers(credentials_, id.tenant,
                                                            [](Numbers& now) {
                                                              if (now.current != 0) return false;
                                                              add_number(now);
                                                              return true;
                                                            }),
                                             doing));
  const std::string user = user_of(options_.pool, id.tenant, numbers.current);
  IRONCORE_TRY(std::string key, within(recent_key(user, id.tenant), doing));
  Access out{.driver = "ceph", .handle = disk_handle(id), .attributes = {}, .secrets = {}, .credential = user};
  out.attributes = {{"monitors", cluster_.monitors},
                    {"image", options_.pool + "/" + id.tenant + "/" + volume_image(id.uid)}};
  if (found->entry.is_encrypted) out.attributes["encryption"] = "luks2";
  out.secrets = {{"userID", user}, {"userKey", std::move(key)}};
  return out;
}

Result<void> Store::rotate_credential(const std::string& tenant) {
  IRONCORE_CHECK(check_tenant(tenant));
  IRONCORE_TRY(const Numbers numbers, change_numbers(credentials_, tenant, [](Numbers& now) {
                 add_number(now);
                 return true;
               }));
  IRONCORE_TRY(const std::string key, credential_key(user_of(options_.pool, tenant, numbers.current), tenant));
  return {};
}

Result<std::vector<Credential>> Store::credentials(const std::string& tenant) {
  IRONCORE_CHECK(check_tenant(tenant));
  IRONCORE_TRY(const std::string text, credentials_.get(tenant));
  const Numbers numbers = parse_numbers(text);
  std::vector<Credential> out;
  for (const std::uint64_t one : numbers.all) {
    out.push_back({.name = user_of(options_.pool, tenant, one), .is_current = one == numbers.current});
  }
  return out;
}

Result<void> Store::revoke_credential(const std::string& tenant, const std::string& name) {
  IRONCORE_CHECK(check_tenant(tenant));
  const auto find = [&](const Numbers& numbers) {
    return std::find_if(numbers.all.begin(), numbers.all.end(),
                        [&](std::uint64_t one) { return user_of(options_.pool, tenant, one) == name; });
  };
  IRONCORE_TRY(const std::string text, credentials_.get(tenant));
  const Numbers before = parse_numbers(text);
  if (find(before) == before.all.end()) return {};
  const std::string doing = "revoke user client." + name;
  // The monitor says that it is done also when there was none.
  IRONCORE_TRY(const auto answer, cluster_.ask_monitor({{"prefix", "auth rm"}, {"entity", "client." + name}}, doing));
  IRONCORE_TRY(const Numbers after, within(change_numbers(credentials_, tenant,
                                                          [&](Numbers& now) {
                                                            const auto found = find(now);
                                                            if (found == now.all.end()) return false;
                                                            if (*found == now.current) now.current = 0;
                                                            now.all.erase(found);
                                                            return true;
                                                          }),
                                           doing));
  return {};
}

Result<void> Store::retire_users(const std::set<std::string>& spaces) {
  IRONCORE_TRY(const auto all, credentials_.list());
  for (const auto& [tenant, text] : all) {
    if (spaces.contains(tenant) || parse_numbers(text).all.empty()) continue;
    // First nobody is given one of them any more, then the look whether somebody was: his namespace was there before.
    std::vector<std::uint64_t> retired;
    IRONCORE_CHECK(change_numbers(credentials_, tenant, [&](Numbers& now) {
      retired = now.all;
      return std::exchange(now.current, 0) != 0;
    }));
    bool is_there = false;
    const std::string doing = "retire the users of " + tenant;
    IRONCORE_CHECK(checked(rbd_namespace_exists(bases_io_.get(), tenant.c_str(), &is_there), doing));
    if (is_there) continue;
    for (const std::uint64_t one : retired)
      IRONCORE_CHECK(within(revoke_credential(tenant, user_of(options_.pool, tenant, one)), doing));
  }
  return {};
}

Result<std::vector<Client>> Store::clients(const BlockId& id) {
  IRONCORE_TRY(const Volume found, volume(id));
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(const Image image, Image::open(io, volume_image(id.uid), Image::Mode::read_only));
  IRONCORE_TRY(const auto watchers, live_watchers_of(io, image));
  std::vector<Client> out;
  for (const Watcher& one : watchers) {
    if (one.address == cluster_.address) continue;
    Client client{.address = one.address, .name = "client." + std::to_string(one.client)};
    if (std::find(out.begin(), out.end(), client) == out.end()) out.push_back(std::move(client));
  }
  return out;
}

Result<void> Store::fence(std::span<const std::string> clients) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.fence).count();
  for (const std::string& one : clients) {
    if (one == cluster_.address) {
      return Error(ErrorCode::invalid, "fence " + in_quotes(one) + ": that is this provider itself");
    }
    IRONCORE_TRY(const auto answer, cluster_.ask_monitor({{"prefix", "osd blocklist"},
                                                          {"blocklistop", "add"},
                                                          {"addr", one},
                                                          {"expire", static_cast<double>(seconds)}},
                                                         "fence " + in_quotes(one)));
  }
  // From now on each of our requests carries this map, and an OSD that is asked heeds it first.
  return cluster_.learn_changes("wait until clients are fenced");
}

}  // namespace ironcore::storage::ceph
