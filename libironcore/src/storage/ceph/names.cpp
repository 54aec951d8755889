// SPDX-License-Identifier: Apache-2.0
// Names of images, and back.
#include "names.hpp"

#include <algorithm>
#include <array>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::storage::ceph {

namespace {

constexpr std::string_view kVolume = "img_", kSnapshot = "snap_", kBase = "base_", kBase512 = "base512_";
constexpr std::size_t kDigits = 64;

std::string_view base_prefix(crypto::HashAlgorithm algorithm) {
  return algorithm == crypto::HashAlgorithm::sha256 ? kBase : kBase512;
}

/// Of at least 32 hexadecimal digits.
std::optional<Uid> uid_of_digits(std::string_view digits) {
  if (digits.size() != kDigits) return std::nullopt;
  std::string text(digits.substr(0, 32));
  for (const std::size_t at : {8U, 13U, 18U, 23U}) text.insert(at, "-");
  const auto uid = Uid::parse(text);
  if (uid.has_error()) return std::nullopt;
  return *uid;
}

}  // namespace

std::string_view name(Kind kind) noexcept {
  switch (kind) {
    case Kind::volume:
      return "volume";
    case Kind::snapshot:
      return "snapshot";
    case Kind::base:
      return "base image";
  }
  return "";
}

Result<void> check_tenant(const std::string& tenant) {
  if (const auto reason = check_dns_label(tenant)) {
    return Error(ErrorCode::invalid, "tenant " + in_quotes(tenant) + " " + *reason);
  }
  return {};
}

Result<void> check(const BlockId& id) {
  IRONCORE_CHECK(check_tenant(id.tenant));
  if (id.uid.is_nil()) return Error(ErrorCode::invalid, "the uid is missing: it is all zeros");
  return {};
}

std::string volume_image(const Uid& uid) {
  return std::string(kVolume) + uid.to_text();
}

std::string snapshot_image(const Uid& uid) {
  return std::string(kSnapshot) + uid.to_text();
}

std::string base_image(const crypto::Digest& digest) {
  return std::string(base_prefix(digest.algorithm())) + digest.hex().substr(0, kDigits);
}

std::optional<ImageName> parse_image_name(std::string_view name) {
  for (const auto& [prefix, kind] : {std::pair(kVolume, Kind::volume), std::pair(kSnapshot, Kind::snapshot)}) {
    if (!name.starts_with(prefix)) continue;
    const auto uid = Uid::parse(name.substr(prefix.size()));
    if (uid.has_error()) return std::nullopt;
    return ImageName{kind, *uid};
  }
  for (const std::string_view prefix : {kBase, kBase512}) {
    if (!name.starts_with(prefix)) continue;
    if (const auto uid = uid_of_digits(name.substr(prefix.size()))) return ImageName{Kind::base, *uid};
  }
  return std::nullopt;
}

Uid base_uid(const crypto::Digest& digest) {
  return uid_of_digits(digest.hex().substr(0, kDigits)).value_or(Uid());
}

std::string index_key(const BlockId& id) {
  return id.tenant + "/" + id.uid.to_text();
}

std::optional<BlockId> parse_index_key(std::string_view key) {
  const std::size_t slash = key.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto uid = Uid::parse(key.substr(slash + 1));
  BlockId id{std::string(key.substr(0, slash)), uid.has_error() ? Uid() : *uid};
  if (check(id).has_error()) return std::nullopt;
  return id;
}

std::string words(Kind kind, const BlockId& id) {
  return std::string(name(kind)) + " " + (id.tenant.empty() ? "" : in_quotes(id.tenant, 63) + " ") + id.uid.to_text();
}

std::string disk_handle(const BlockId& id) {
  return crypto::sha256("ceph " + index_key(id)).hex().substr(0, 16);
}

}  // namespace ironcore::storage::ceph
