// SPDX-License-Identifier: Apache-2.0
// Signed calls to a RADOS gateway, with retries, and what its refusals mean.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "http.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/storage/rgw.hpp"
#include "sigv4.hpp"

namespace ironcore::storage::rgw {

/// Admin Ops and S3 alike; also what puts and gets an object. Thread: any.
class Client {
 public:
  static Result<std::unique_ptr<Client>> create(const Options& options, Clock& clock);

  /// Fills in host, date and digest, signs and sends. An answer that refuses is an answer;
  /// one that tells of an overloaded gateway only after all retries, if the request is repeatable. `cancelled` after a stop, at once.
  Result<Answer> call(Request request, const Credentials& credentials, Duration patience,
                      const std::stop_token& stop = {});
  const Endpoint& endpoint() const noexcept { return http_->endpoint(); }

 private:
  Client(const Options& options, Clock& clock, std::unique_ptr<HttpClient> http);

  Clock& clock_;
  std::unique_ptr<HttpClient> http_;
  std::string region_;
  unsigned retries_;
  Duration first_pause_;
};

/// What was asked for is not there: only if the gateway's own word for it says so. Anything else that answers 404 is no gateway, but a web server in its place.
bool is_absent(const Answer& answer, std::string_view code);
/// The one translation of what a gateway refuses.
Error refusal(const Answer& answer);

}  // namespace ironcore::storage::rgw
