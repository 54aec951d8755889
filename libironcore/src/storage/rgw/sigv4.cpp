// SPDX-License-Identifier: Apache-2.0
// AWS Signature Version 4 (the single-chunk form for S3: the path is encoded once).
#include "sigv4.hpp"

#include <algorithm>
#include <map>

#include "ironcore/crypto/digest.hpp"
#include "ironcore/crypto/hmac.hpp"
#include "ironcore/crypto/secret.hpp"

namespace ironcore::storage::rgw {

namespace {

constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";

bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '~';
}

std::string encoded(std::string_view text, std::string_view also_kept) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c) || also_kept.find(c) != std::string_view::npos) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return out;
}

/// Without spaces at the ends, and one where there are several.
std::string trimmed(std::string_view value) {
  std::string out;
  for (const char c : value)
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

std::string encoded_path(std::string_view path) {
  return encoded(path, "/");
}

std::string encoded_query(const Request& request) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, value] : request.query) pairs.emplace_back(encoded(name, ""), encoded(value, ""));
  std::ranges::sort(pairs);
  std::string out;
  for (const auto& [name, value] : pairs) {
    if (!out.empty()) out += '&';
    out += name + '=' + value;
  }
  return out;
}

std::string signing_date(WallTime time) {
  std::string out;
  for (const char c : to_rfc3339(std::chrono::floor<std::chrono::seconds>(time)))
    if (c != '-' && c != ':') out += c;
  return out;
}

std::string authorization(const Request& request, const Credentials& credentials, std::string_view region,
                          std::string_view service, WallTime time) {
  std::map<std::string_view, std::string> headers;
  for (const auto& [name, value] : request.headers) {
    std::string& all = headers[name];
    if (!all.empty()) all += ',';
    all += trimmed(value);
  }
  std::string canonical = request.method + '\n' + encoded_path(request.path) + '\n' + encoded_query(request) + '\n';
  std::string names;
  for (const auto& [name, value] : headers) {
    canonical.append(name).append(":").append(value).append("\n");
    if (!names.empty()) names += ';';
    names += name;
  }
  canonical += '\n' + names + '\n' + crypto::sha256(request.body).hex();

  const std::string date = signing_date(time);
  const std::string day = date.substr(0, 8);
  std::string scope = day;
  scope.append("/").append(region).append("/").append(service).append("/aws4_request");
  std::string to_sign(algorithm);
  to_sign += '\n' + date + '\n' + scope + '\n' + crypto::sha256(canonical).hex();

  std::string secret = "AWS4" + credentials.secret;
  auto key = crypto::hmac_sha256(as_bytes(secret), as_bytes(day));
  crypto::wipe(secret);
  for (const std::string_view part : {region, service, std::string_view("aws4_request")})
    key = crypto::hmac_sha256(key, as_bytes(part));
  const auto signature = crypto::hmac_sha256(key, as_bytes(to_sign));
  crypto::wipe(key);

  std::string out(algorithm);
  out += " Credential=" + credentials.key_id + '/' + scope + ", SignedHeaders=" + names +
         ", Signature=" + crypto::hex(signature);
  return out;
}

}  // namespace ironcore::storage::rgw
