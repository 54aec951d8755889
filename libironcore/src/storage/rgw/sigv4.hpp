// SPDX-License-Identifier: Apache-2.0
// Signing of HTTP requests: AWS Signature Version 4, as RADOS gateways check it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ironcore/base/clock.hpp"

namespace ironcore::storage::rgw {

/// Names and values as they are meant; what goes over the wire is encoded from them.
struct Request {
  std::string method = "GET";
  std::string path = "/";
  std::vector<std::pair<std::string, std::string>> query;
  std::vector<std::pair<std::string, std::string>> headers;  ///< names in lower case; all of them are signed
  std::string body;
  bool is_repeatable = true;  ///< false = sent once, and not again whatever failed
};

struct Credentials {
  std::string key_id;
  std::string secret;
};

/// Everything but `A-Z a-z 0-9 - _ . ~` as `%XX`; slashes of a path stay.
std::string encoded_path(std::string_view path);
/// `a=1&b=`, sorted as it is signed; empty for none.
std::string encoded_query(const Request& request);
/// `20150830T123600Z`
std::string signing_date(WallTime time);
/// The value of the header `authorization`. `time` must be that of the header `x-amz-date`.
std::string authorization(const Request& request, const Credentials& credentials, std::string_view region,
                          std::string_view service, WallTime time);

}  // namespace ironcore::storage::rgw
