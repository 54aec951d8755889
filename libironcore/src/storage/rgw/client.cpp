// SPDX-License-Identifier: Apache-2.0
// Calls to a RADOS gateway.
#include "client.hpp"

#include <algorithm>
#include <iterator>
#include <stop_token>
#include <string_view>
#include <utility>

#include "documents.hpp"
#include "ironcore/crypto/digest.hpp"

namespace ironcore::storage::rgw {

namespace {

struct Meaning {
  ErrorCode code;
  std::string_view advice;
};

/// Each with 404.
constexpr std::string_view absences[] = {"NoSuchUser",
                                         "NoSuchBucket",
                                         "NoSuchKey",
                                         "NoSuchLifecycleConfiguration",
                                         "NoSuchCORSConfiguration",
                                         "NoSuchBucketPolicy",
                                         "ObjectLockConfigurationNotFoundError"};

Meaning meaning_of(unsigned status, std::string_view code) {
  constexpr std::string_view store_user =
      "see that the user of these keys exists, and that the store's has the caps users=*;buckets=*";
  constexpr std::string_view later = "repeat the call later";
  static constexpr std::pair<std::string_view, Meaning> known[] = {
      {"RequestTimeTooSkewed", {ErrorCode::forbidden, "set the clock of this host, and the gateway's"}},
      {"UserSuspended",
       {ErrorCode::forbidden, "the user is suspended: `radosgw-admin user enable --uid=USER` lets it in again"}},
      {"InvalidAccessKeyId",
       {ErrorCode::forbidden, "no user has this key: give the store's; if it was a bucket's, repeat the call"}},
      {"QuotaExceeded", {ErrorCode::forbidden, "remove objects, or raise the quota of the bucket"}},
      {"BucketAlreadyExists", {ErrorCode::already_exists, "choose another name"}},
      {"BucketNotEmpty",
       {ErrorCode::wrong_state,
        "remove its content first, or ask to remove it too; old versions, delete markers and parts of unfinished "
        "uploads "
        "count"}},
      {"InvalidBucketState", {ErrorCode::wrong_state, "see that the bucket is lockable, if its settings ask for it"}},
      {"OperationAborted", {ErrorCode::conflict, "somebody else changes it at this moment: repeat the call"}},
      {"ConcurrentModification", {ErrorCode::conflict, "somebody else changes it at this moment: repeat the call"}},
      {"SlowDown", {ErrorCode::unavailable, later}},
  };
  for (const auto& [name, meaning] : known)
    if (name == code) return meaning;
  switch (status) {
    case 400:
      return {ErrorCode::invalid, "change what was asked for"};
    case 401:
    case 403:
      return {ErrorCode::forbidden, store_user};
    case 404:
      if (std::ranges::find(absences, code) != std::end(absences))
        return {ErrorCode::not_found, "see that it was not removed"};
      return {ErrorCode::unavailable,
              "what answers there is no RADOS gateway: see the endpoint, and what is before it"};
    case 405:
    case 501:
      return {ErrorCode::unsupported, "a newer version of Ceph may be able to do it"};
    case 408:
    case 429:
      return {ErrorCode::unavailable, later};
    case 409:
      return {ErrorCode::conflict, "somebody else changes it at this moment: repeat the call"};
    case 507:
      return {ErrorCode::exhausted, "give the cluster room"};
    default:
      break;
  }
  if (status >= 300 && status < 400)
    return {ErrorCode::invalid, "it redirects: name the gateway itself as the endpoint"};
  if (status >= 500) return {ErrorCode::unavailable, later};
  return {ErrorCode::internal, "see that the endpoint is a RADOS gateway's"};
}

/// The gateway, or a proxy before it, says itself that it is for a moment.
bool is_passing(const Answer& answer) {
  constexpr unsigned passing[] = {408, 429, 500, 502, 503, 504};
  return std::ranges::find(passing, answer.status) != std::end(passing);
}

}  // namespace

bool is_absent(const Answer& answer, std::string_view code) {
  return answer.status == 404 && parse_refusal(answer.body).code == code;
}

Error refusal(const Answer& answer) {
  const Refusal refused = parse_refusal(answer.body);
  const Meaning meaning = meaning_of(answer.status, refused.code);
  std::string message = "the RADOS gateway says " + std::to_string(answer.status);
  if (!refused.code.empty()) message += " " + refused.code;
  if (!refused.message.empty()) message += " (" + refused.message + ")";
  message.append(": ").append(meaning.advice);
  return {meaning.code, std::move(message)};
}

Client::Client(const Options& options, Clock& clock, std::unique_ptr<HttpClient> http)
    : clock_(clock),
      http_(std::move(http)),
      region_(options.region),
      retries_(options.retries),
      first_pause_(options.first_pause) {}

Result<std::unique_ptr<Client>> Client::create(const Options& options, Clock& clock) {
  IRONCORE_TRY(Endpoint endpoint, Endpoint::parse(options.endpoint));
  IRONCORE_TRY(auto http, HttpClient::create(std::move(endpoint), options.ca_file, options.connect_patience));
  return std::unique_ptr<Client>(new Client(options, clock, std::move(http)));
}

Result<Answer> Client::call(Request request, const Credentials& credentials, Duration patience,
                            const std::stop_token& stop) {
  request.headers.emplace_back("host", endpoint().authority);
  request.headers.emplace_back("x-amz-content-sha256", crypto::sha256(request.body).hex());
  Duration pause = first_pause_;
  for (unsigned left = retries_;; --left, pause *= 2) {
    Request signed_request = request;
    const WallTime now = clock_.wall();
    signed_request.headers.emplace_back("x-amz-date", signing_date(now));
    signed_request.headers.emplace_back("authorization",
                                        authorization(signed_request, credentials, region_, "s3", now));
    auto answer = http_->exchange(signed_request, patience, stop);
    const bool may_pass = answer ? is_passing(*answer) : answer.error().code() == ErrorCode::unavailable;
    if (!may_pass || left == 0 || !request.is_repeatable) return answer;
    if (!sleep_for(clock_, pause, stop))
      return Error(ErrorCode::cancelled,
                   "RADOS gateway " + endpoint().authority + ": a stop was requested: repeat the call");
  }
}

}  // namespace ironcore::storage::rgw
