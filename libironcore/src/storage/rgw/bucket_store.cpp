// SPDX-License-Identifier: Apache-2.0
// Buckets of a RADOS gateway. A bucket belongs to the user `<prefix><uid>`, who may have only this one; nothing else remembers which bucket is whose. Ids of keys
// tell their order: 8 digits of the uid, 4 of a number that counts up, 8 random ones.
#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "client.hpp"
#include "documents.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/crypto/secret.hpp"
#include "ironcore/storage/rgw.hpp"

namespace ironcore::storage::rgw {

namespace {

constexpr std::size_t users_in_a_page = 500;
constexpr std::size_t most_pages = 2'000;

constexpr const char* no_limits =
    "this RADOS gateway cannot limit rates: Ceph 17.2 (Quincy) or later can, for a store's user with the caps "
    "ratelimit=*";

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

/// The first group of the uid, as ids of keys begin.
std::string key_prefix(const Uid& id) {
  return upper(id.to_text().substr(0, 8));
}

/// 0 for a key that somebody else made: older than all of ours.
unsigned key_number(const Uid& id, const std::string& key) {
  unsigned out = 0;
  if (key.size() != 20 || !key.starts_with(key_prefix(id))) return 0;
  const char* digits = key.data() + 8;
  const auto [stop, bad] = std::from_chars(digits, digits + 4, out, 16);
  return bad == std::errc() && stop == digits + 4 ? out : 0;
}

/// The gateway makes the secret: what is asked for stands in its log.
std::string new_key_id(const Uid& id, unsigned number) {
  std::string text = "0000";
  for (int i = 3; i >= 0; --i, number >>= 4) text[static_cast<std::size_t>(i)] = "0123456789ABCDEF"[number & 15];
  return key_prefix(id) + text + upper(crypto::hex(crypto::random_bytes(4)));
}

/// Rather nothing than the keys of somebody else.
Error foreign_answer(const std::string& user) {
  return {ErrorCode::corrupt, "asked for user " + user + ", the RADOS gateway answered for another one: see what is " +
                                  "between here and the gateway"};
}

/// What a gateway says when a bucket has no such setting; it has versions always.
std::string_view absence_of(std::string_view setting) {
  if (setting == "lifecycle") return "NoSuchLifecycleConfiguration";
  if (setting == "cors") return "NoSuchCORSConfiguration";
  if (setting == "policy") return "NoSuchBucketPolicy";
  if (setting == "object-lock") return "ObjectLockConfigurationNotFoundError";
  return "-";
}

/// By a policy; whom the gateway does not know or does not let in at all is refused by another word.
bool is_shut_out(const Answer& answer) {
  return answer.status == 403 && parse_refusal(answer.body).code == "AccessDenied";
}

class RgwBucketStore final : public BucketStore {
 public:
  RgwBucketStore(Options options, std::unique_ptr<Client> client)
      : options_(std::move(options)), client_(std::move(client)) {}

  Result<BucketCapabilities> capabilities(std::stop_token stop) override;
  Result<Bucket> create(const Uid& id, const BucketSpec& spec, std::stop_token stop) override;
  Result<Bucket> bucket(const Uid& id, std::stop_token stop) override;
  Result<std::vector<Bucket>> buckets(std::stop_token stop) override;
  Result<void> remove(const Uid& id, Content content, std::stop_token stop) override;
  Result<void> set_quota(const Uid& id, const BucketQuota& quota, std::stop_token stop) override;
  Result<void> set_limits(const Uid& id, const BucketLimits& limits, std::stop_token stop) override;
  Result<BucketSettings> settings(const Uid& id, std::stop_token stop) override;
  Result<void> configure(const Uid& id, const BucketSettings& settings, std::stop_token stop) override;
  Result<BucketAccess> access(const Uid& id, std::stop_token stop) override;
  Result<std::vector<BucketKey>> keys(const Uid& id, std::stop_token stop) override;
  Result<void> rotate_key(const Uid& id, const std::string& current, std::stop_token stop) override;
  Result<void> revoke_key(const Uid& id, const std::string& key, std::stop_token stop) override;

 private:
  using Query = std::vector<std::pair<std::string, std::string>>;
  using Keys = std::vector<Credentials>;
  /// What the settings of a bucket are asked with.
  struct Place {
    std::string bucket;
    Credentials key;
  };
  struct Settings {
    BucketSettings settings;
    bool is_lockable = false;
    std::optional<Error> foreign_lifecycle;  // rules that we have no words for, in place of those in `settings`
  };

  std::string user(const Uid& id) const { return options_.user_prefix + id.to_text(); }
  Result<Answer> admin(std::string method, std::string path, Query query, Duration patience,
                       const std::stop_token& stop);
  Result<Answer> admin(std::string method, std::string path, Query query, const std::stop_token& stop) {
    return admin(std::move(method), std::move(path), std::move(query), options_.patience, stop);
  }
  /// With the bucket's key, or the store's if the policy shuts that one out.
  Result<Answer> s3(const Place& place, std::string method, std::string what, std::string body,
                    const std::stop_token& stop);
  /// Nothing if the answer is that there is none.
  Result<std::optional<std::string>> read(const Place& place, std::string what, const std::stop_token& stop);
  Result<void> write(const Place& place, std::string what, std::string body, const std::stop_token& stop);
  Result<void> clear(const Place& place, std::string what, const std::stop_token& stop);

  Result<BucketStats> stats(const Uid& id, const std::stop_token& stop);
  /// Those who are this store's. One answer with the buckets of all users would be of any length.
  Result<std::set<Uid>> users(const std::stop_token& stop);
  /// By age, the current one last. `not_found` if there is no user.
  Result<Keys> user_keys(const Uid& id, const std::stop_token& stop);
  Result<Keys> add_key(const Uid& id, const Keys& there, const std::stop_token& stop);
  Result<Place> place(const Uid& id, const std::stop_token& stop);
  Result<Settings> read_settings(const Place& place, const std::stop_token& stop);
  Result<Bucket> existing(const Uid& id, const BucketStats& stats, const BucketSpec& spec, const Keys& keys,
                          const std::stop_token& stop);
  static Bucket bucket_of(const Uid& id, const BucketStats& stats) {
    return {.id = id, .name = stats.name, .quota = stats.quota, .bytes = stats.bytes, .objects = stats.objects};
  }
  Credentials own() const { return {.key_id = options_.key_id, .secret = options_.secret}; }

  const Options options_;
  const std::unique_ptr<Client> client_;
};

Result<Answer> RgwBucketStore::admin(std::string method, std::string path, Query query, Duration patience,
                                     const std::stop_token& stop) {
  query.emplace_back("format", "json");
  return client_->call({.method = std::move(method), .path = "/admin/" + path, .query = std::move(query)}, own(),
                       patience, stop);
}

Result<Answer> RgwBucketStore::s3(const Place& place, std::string method, std::string what, std::string body,
                                  const std::stop_token& stop) {
  const Request request{.method = std::move(method),
                        .path = "/" + place.bucket,
                        .query = {{std::move(what), ""}},
                        .body = std::move(body)};
  IRONCORE_TRY(Answer answer, client_->call(request, place.key, options_.patience, stop));
  if (!is_shut_out(answer)) return answer;
  IRONCORE_TRY(Answer by_store, client_->call(request, own(), options_.patience, stop));
  if (is_shut_out(by_store))
    return Error(ErrorCode::forbidden,
                 "the policy of bucket " + place.bucket +
                     " shuts out its own keys: let the store's user get at it with `radosgw-admin "
                     "user modify --uid=USER --admin`");
  return by_store;
}

Result<std::optional<std::string>> RgwBucketStore::read(const Place& place, std::string what,
                                                        const std::stop_token& stop) {
  IRONCORE_TRY(Answer answer, s3(place, "GET", what, {}, stop));
  if (answer.is_good()) return std::optional(std::move(answer.body));
  if (is_absent(answer, absence_of(what))) return std::optional<std::string>();
  return refusal(answer).within("read " + what + " of bucket " + place.bucket);
}

Result<void> RgwBucketStore::write(const Place& place, std::string what, std::string body,
                                   const std::stop_token& stop) {
  IRONCORE_TRY(const Answer answer, s3(place, "PUT", what, std::move(body), stop));
  if (answer.is_good()) return {};
  return refusal(answer).within("set " + what + " of bucket " + place.bucket);
}

Result<void> RgwBucketStore::clear(const Place& place, std::string what, const std::stop_token& stop) {
  IRONCORE_TRY(const Answer answer, s3(place, "DELETE", what, {}, stop));
  if (answer.is_good() || is_absent(answer, absence_of(what))) return {};
  return refusal(answer).within("take back " + what + " of bucket " + place.bucket);
}

Result<BucketStats> RgwBucketStore::stats(const Uid& id, const std::stop_token& stop) {
  IRONCORE_TRY(const Answer answer, admin("GET", "bucket", {{"uid", user(id)}, {"stats", "true"}}, stop));
  if (!answer.is_good() && !is_absent(answer, "NoSuchUser"))  // Ceph 16.2 says an empty list instead
    return refusal(answer).within("look for the bucket of " + id.to_text());
  std::vector<BucketStats> found;
  if (answer.is_good()) {
    IRONCORE_TRY(found, parse_bucket_list(answer.body));
  }
  if (std::ranges::any_of(found, [&](const BucketStats& bucket) { return bucket.owner != user(id); }))
    return foreign_answer(user(id));
  if (found.empty()) return Error(ErrorCode::not_found, "there is no bucket of " + id.to_text() + ": create it first");
  return std::move(found.front());
}

Result<std::set<Uid>> RgwBucketStore::users(const std::stop_token& stop) {
  std::set<Uid> out;
  std::string marker;
  for (std::size_t page = 0; page < most_pages; ++page) {
    Query query{{"list", ""}, {"max-entries", std::to_string(users_in_a_page)}};
    if (!marker.empty()) query.emplace_back("marker", marker);
    IRONCORE_TRY(const Answer answer, admin("GET", "user", std::move(query), stop));
    if (!answer.is_good()) return refusal(answer).within("list users");
    IRONCORE_TRY(UserPage read, parse_user_page(answer.body));
    for (const std::string_view name : read.users) {
      if (!name.starts_with(options_.user_prefix)) continue;
      if (const auto id = Uid::parse(name.substr(options_.user_prefix.size()))) out.insert(*id);
    }
    if (read.marker.empty()) return out;
    marker = std::move(read.marker);
  }
  return Error(ErrorCode::corrupt, "the RADOS gateway's list of users has no end: see that the endpoint is one's");
}

Result<RgwBucketStore::Keys> RgwBucketStore::user_keys(const Uid& id, const std::stop_token& stop) {
  IRONCORE_TRY(const Answer answer, admin("GET", "user", {{"uid", user(id)}}, stop));
  if (!answer.is_good()) return refusal(answer).within("look for user " + user(id));
  IRONCORE_TRY(UserKeys read, parse_user_keys(answer.body));
  if (read.user != user(id)) return foreign_answer(user(id));
  Keys& out = read.keys;
  std::ranges::sort(out, {}, [&](const Credentials& key) { return std::pair(key_number(id, key.key_id), key.key_id); });
  return std::move(out);
}

Result<RgwBucketStore::Keys> RgwBucketStore::add_key(const Uid& id, const Keys& there, const std::stop_token& stop) {
  const unsigned last = there.empty() ? 0 : key_number(id, there.back().key_id);
  const std::string key = new_key_id(id, last + 1);
  // A second one of the same id would give it another secret, perhaps after the first was handed out.
  const auto answer = client_->call(
      {.method = "PUT",
       .path = "/admin/user",
       .query = {{"key", ""}, {"uid", user(id)}, {"access-key", key}, {"generate-key", "true"}, {"format", "json"}},
       .is_repeatable = false},
      own(), options_.patience, stop);
  if (answer && answer->is_good()) return user_keys(id, stop);
  const Error failure = (answer ? refusal(*answer) : answer.error()).within("add a key of user " + user(id));
  if (failure.code() != ErrorCode::unavailable) return failure;
  IRONCORE_TRY(Keys now, user_keys(id, stop));
  if (std::ranges::find(now, key, &Credentials::key_id) == now.end()) return failure;
  return now;
}

Result<RgwBucketStore::Place> RgwBucketStore::place(const Uid& id, const std::stop_token& stop) {
  IRONCORE_TRY(const BucketStats found, stats(id, stop));
  IRONCORE_TRY(const Keys keys, user_keys(id, stop));
  return Place{.bucket = found.name, .key = keys.empty() ? own() : keys.back()};
}

Result<BucketCapabilities> RgwBucketStore::capabilities(std::stop_token stop) {
  IRONCORE_TRY(const Answer answer,
               admin("GET", "ratelimit", {{"ratelimit-scope", "bucket"}, {"global", "true"}}, stop));
  if (answer.is_good()) return BucketCapabilities{};
  const Error refused = refusal(answer);
  if (refused.code() == ErrorCode::unsupported || refused.code() == ErrorCode::forbidden)
    return BucketCapabilities{.limits = no_limits};
  return refused.within("ask for limits");
}

Result<Bucket> RgwBucketStore::existing(const Uid& id, const BucketStats& stats, const BucketSpec& spec,
                                        const Keys& keys, const std::stop_token& stop) {
  const Place place{.bucket = stats.name, .key = keys.empty() ? own() : keys.back()};
  IRONCORE_TRY(const auto lock, read(place, "object-lock", stop));
  if (stats.name != spec.name || lock.has_value() != spec.is_lockable)
    return Error(ErrorCode::already_exists, "the bucket is there as " + stats.name +
                                                (lock ? ", lockable" : ", not lockable") +
                                                ": remove it first, or ask for it as it is");
  return bucket_of(id, stats);
}

Result<Bucket> RgwBucketStore::create(const Uid& id, const BucketSpec& spec, std::stop_token stop) {
  if (const auto why = check_bucket_name(spec.name))
    return Error(ErrorCode::invalid, "the bucket's name " + in_quotes(spec.name) + " " + *why);
  auto keys = user_keys(id, stop);
  if (!keys && keys.error().code() == ErrorCode::not_found) {
    IRONCORE_TRY(const Answer answer, admin("PUT", "user",
                                            {{"uid", user(id)},
                                             {"display-name", "bucket " + spec.name},
                                             {"max-buckets", "1"},
                                             {"access-key", new_key_id(id, 1)},
                                             {"generate-key", "true"}},
                                            stop));
    // Somebody else was faster, or the answer of the first attempt was lost.
    if (!answer.is_good() && answer.status != 409) return refusal(answer).within("create user " + user(id));
    keys = user_keys(id, stop);
  }
  if (keys && keys->empty()) keys = add_key(id, *keys, stop);
  IRONCORE_CHECK(keys);
  const auto there = stats(id, stop);
  if (there) return existing(id, *there, spec, *keys, stop);
  if (there.error().code() != ErrorCode::not_found) return there.error();

  Request request{.method = "PUT", .path = "/" + spec.name};
  if (spec.is_lockable) request.headers.emplace_back("x-amz-bucket-object-lock-enabled", "true");
  IRONCORE_TRY(const Answer answer, client_->call(request, keys->back(), options_.patience, stop));
  const auto made = stats(id, stop);
  if (made) return existing(id, *made, spec, *keys, stop);
  if (!answer.is_good()) return refusal(answer).within("create bucket " + spec.name);
  if (made.error().code() != ErrorCode::not_found) return made.error();
  return Error(ErrorCode::conflict, "bucket " + spec.name + " was removed while it was created: repeat the call");
}

Result<Bucket> RgwBucketStore::bucket(const Uid& id, std::stop_token stop) {
  IRONCORE_TRY(const BucketStats found, stats(id, stop));
  return bucket_of(id, found);
}

Result<std::vector<Bucket>> RgwBucketStore::buckets(std::stop_token stop) {
  IRONCORE_TRY(const std::set<Uid> ids, users(stop));
  std::vector<Bucket> out;
  for (const Uid& id : ids) {
    auto found = bucket(id, stop);
    if (found) {
      out.push_back(std::move(*found));
    } else if (found.error().code() != ErrorCode::not_found) {
      return found.error().within("list buckets");
    }
  }
  return out;
}

Result<void> RgwBucketStore::remove(const Uid& id, Content content, std::stop_token stop) {
  const std::string context = "remove the bucket of " + id.to_text();
  if (content == Content::refuse) {
    const auto found = stats(id, stop);
    if (!found && found.error().code() != ErrorCode::not_found) return found.error().within(context);
    if (found && found->objects > 0) return has_content(bucket_of(id, *found));
    if (found) {
      // A user cannot be removed before its bucket, so that whoever was cut off here comes back to this.
      IRONCORE_TRY(const Answer answer, admin("DELETE", "bucket", {{"bucket", found->name}}, options_.patience, stop));
      if (!answer.is_good() && !is_absent(answer, "NoSuchBucket")) return refusal(answer).within(context);
    }
  }
  Query query{{"uid", user(id)}};
  if (content == Content::remove) query.emplace_back("purge-data", "true");
  IRONCORE_TRY(const Answer answer,
               admin("DELETE", "user", std::move(query),
                     content == Content::remove ? options_.removal_patience : options_.patience, stop));
  if (answer.is_good() || is_absent(answer, "NoSuchUser")) return {};
  // For a user who still has a bucket the gateway's word is BucketAlreadyExists.
  if (answer.status == 409 || is_absent(answer, "NoSuchBucket") || is_absent(answer, "NoSuchKey"))
    return Error(ErrorCode::conflict, "something was changed in it meanwhile: repeat the call").within(context);
  return refusal(answer).within(context);
}

Result<void> RgwBucketStore::set_quota(const Uid& id, const BucketQuota& quota, std::stop_token stop) {
  IRONCORE_TRY(const BucketStats found, stats(id, stop));
  const std::uint64_t kib = quota.bytes / 1024 + (quota.bytes % 1024 == 0 ? 0 : 1);
  if (quota.objects > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) ||
      kib > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() / 1024))
    return Error(ErrorCode::invalid, "the quota must be below 2^63");
  const auto text = [](std::uint64_t value) { return value == 0 ? std::string("-1") : std::to_string(value); };
  IRONCORE_TRY(const Answer answer, admin("PUT", "bucket",
                                          {{"quota", ""},
                                           {"uid", user(id)},
                                           {"bucket", found.name},
                                           {"max-size-kb", text(kib)},
                                           {"max-objects", text(quota.objects)},
                                           {"enabled", quota == BucketQuota() ? "false" : "true"}},
                                          stop));
  if (!answer.is_good()) return refusal(answer).within("set the quota of bucket " + found.name);
  return {};
}

Result<void> RgwBucketStore::set_limits(const Uid& id, const BucketLimits& limits, std::stop_token stop) {
  IRONCORE_TRY(const BucketStats found, stats(id, stop));
  const auto in_a_minute = [](std::uint64_t in_a_second) {
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    return std::to_string(in_a_second > most / 60 ? most : in_a_second * 60);
  };
  IRONCORE_TRY(const Answer answer, admin("POST", "ratelimit",
                                          {{"ratelimit-scope", "bucket"},
                                           {"bucket", found.name},
                                           {"max-read-ops", in_a_minute(limits.reads)},
                                           {"max-write-ops", in_a_minute(limits.writes)},
                                           {"max-read-bytes", in_a_minute(limits.read_bytes)},
                                           {"max-write-bytes", in_a_minute(limits.written_bytes)},
                                           {"enabled", limits == BucketLimits() ? "false" : "true"}},
                                          stop));
  if (answer.is_good()) return {};
  const Error refused = refusal(answer);
  if (refused.code() != ErrorCode::unsupported) return refused.within("limit bucket " + found.name);
  if (limits == BucketLimits()) return {};
  return Error(ErrorCode::unsupported, no_limits);
}

Result<RgwBucketStore::Settings> RgwBucketStore::read_settings(const Place& place, const std::stop_token& stop) {
  Settings out;
  IRONCORE_TRY(const auto versioning, read(place, "versioning", stop));
  if (versioning) {
    IRONCORE_TRY(out.settings.is_versioned, parse_versioning(*versioning));
  }
  IRONCORE_TRY(const auto lifecycle, read(place, "lifecycle", stop));
  if (lifecycle) {
    auto rules = parse_lifecycle(*lifecycle);
    if (!rules && rules.error().code() == ErrorCode::unsupported) {
      out.foreign_lifecycle = rules.error();
    } else {
      IRONCORE_TRY(out.settings.lifecycle, std::move(rules));
    }
  }
  IRONCORE_TRY(const auto cors, read(place, "cors", stop));
  if (cors) {
    IRONCORE_TRY(out.settings.cors, parse_cors(*cors));
  }
  IRONCORE_TRY(auto policy, read(place, "policy", stop));
  if (policy) out.settings.policy = std::move(*policy);
  IRONCORE_TRY(const auto lock, read(place, "object-lock", stop));
  out.is_lockable = lock.has_value();
  if (lock) {
    IRONCORE_TRY(out.settings.retention, parse_object_lock(*lock));
  }
  return out;
}

Result<BucketSettings> RgwBucketStore::settings(const Uid& id, std::stop_token stop) {
  IRONCORE_TRY(const Place where, place(id, stop));
  IRONCORE_TRY(Settings out, read_settings(where, stop));
  if (out.foreign_lifecycle) return out.foreign_lifecycle->within("bucket " + where.bucket);
  return std::move(out.settings);
}

Result<void> RgwBucketStore::configure(const Uid& id, const BucketSettings& wanted, std::stop_token stop) {
  IRONCORE_CHECK(check(wanted));
  IRONCORE_TRY(const Place where, place(id, stop));
  IRONCORE_TRY(const Settings now, read_settings(where, stop));
  if (wanted.retention && !now.is_lockable)
    return Error(ErrorCode::wrong_state,
                 "bucket " + where.bucket + " is not lockable and cannot become it: create another one that is");
  if (!wanted.is_versioned && now.is_lockable)
    return Error(ErrorCode::wrong_state, "bucket " + where.bucket + " is lockable, so that it always keeps versions");
  if (wanted.is_versioned != now.settings.is_versioned)
    IRONCORE_CHECK(write(where, "versioning", versioning_xml(wanted), stop));
  // The gateway keeps them in an order of its own.
  const BucketSettings ours = normalized(wanted);
  const BucketSettings theirs = normalized(now.settings);
  if (now.foreign_lifecycle || ours.lifecycle != theirs.lifecycle)
    IRONCORE_CHECK(wanted.lifecycle.empty() ? clear(where, "lifecycle", stop)
                                            : write(where, "lifecycle", lifecycle_xml(wanted.lifecycle), stop));
  if (ours.cors != theirs.cors)
    IRONCORE_CHECK(wanted.cors.empty() ? clear(where, "cors", stop)
                                       : write(where, "cors", cors_xml(wanted.cors), stop));
  if (wanted.retention != now.settings.retention)
    IRONCORE_CHECK(write(where, "object-lock", object_lock_xml(wanted.retention), stop));
  // Last: it may shut out the key that all this is done with.
  if (wanted.policy != now.settings.policy)
    IRONCORE_CHECK(wanted.policy.empty() ? clear(where, "policy", stop) : write(where, "policy", wanted.policy, stop));
  return {};
}

Result<BucketAccess> RgwBucketStore::access(const Uid& id, std::stop_token stop) {
  IRONCORE_TRY(const BucketStats found, stats(id, stop));
  IRONCORE_TRY(Keys keys, user_keys(id, stop));
  if (keys.empty()) {
    IRONCORE_TRY(keys, add_key(id, keys, stop));
  }
  return BucketAccess{
      .endpoint = options_.endpoint, .bucket = found.name, .key_id = keys.back().key_id, .secret = keys.back().secret};
}

Result<std::vector<BucketKey>> RgwBucketStore::keys(const Uid& id, std::stop_token stop) {
  IRONCORE_TRY(const Keys keys, user_keys(id, stop));
  std::vector<BucketKey> out;
  for (const Credentials& key : keys) out.push_back({.id = key.key_id, .is_current = &key == &keys.back()});
  return out;
}

Result<void> RgwBucketStore::rotate_key(const Uid& id, const std::string& current, std::stop_token stop) {
  IRONCORE_TRY(const Keys keys, user_keys(id, stop));
  if (keys.empty() || keys.back().key_id != current) return {};
  if (keys.size() > 1)
    return Error(ErrorCode::wrong_state, "the older key " + keys.front().key_id + " is still there: revoke it first");
  IRONCORE_CHECK(add_key(id, keys, stop));
  return {};
}

Result<void> RgwBucketStore::revoke_key(const Uid& id, const std::string& key, std::stop_token stop) {
  IRONCORE_TRY(const Keys keys, user_keys(id, stop));
  if (std::ranges::find(keys, key, &Credentials::key_id) == keys.end()) return {};
  IRONCORE_TRY(const Answer answer,
               admin("DELETE", "user", {{"key", ""}, {"uid", user(id)}, {"access-key", key}}, stop));
  if (answer.is_good()) return {};
  // Somebody else was faster, or the answer of the first attempt was lost.
  if (parse_refusal(answer.body).code == "InvalidAccessKeyId") {
    IRONCORE_TRY(const Keys left, user_keys(id, stop));
    if (std::ranges::find(left, key, &Credentials::key_id) == left.end()) return {};
  }
  return refusal(answer).within("revoke key " + key);
}

}  // namespace

Result<std::unique_ptr<BucketStore>> open(Options options, Clock& clock) {
  const auto invalid = [](const std::string& why) { return Error(ErrorCode::invalid, why); };
  if (options.key_id.empty() || options.secret.empty())
    return invalid("a store of buckets needs the key of its user at the RADOS gateway: give key id and secret");
  if (in_one_line(options.key_id, 128) != options.key_id || options.key_id.find('/') != std::string::npos)
    return invalid("the key id must be one word without a slash");
  if (in_one_line(options.user_prefix, 64) != options.user_prefix || options.user_prefix.empty() ||
      options.user_prefix.find('$') != std::string::npos)
    return invalid("the prefix of users must have 1 to 64 characters, and no $");
  if (options.connect_patience <= Duration::zero() || options.patience <= Duration::zero() ||
      options.removal_patience <= Duration::zero())
    return invalid("the patience with a RADOS gateway must be more than nothing");
  if (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  IRONCORE_TRY(auto client, Client::create(options, clock));
  return std::unique_ptr<BucketStore>(std::make_unique<RgwBucketStore>(std::move(options), std::move(client)));
}

}  // namespace ironcore::storage::rgw
