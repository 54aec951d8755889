// SPDX-License-Identifier: Apache-2.0
// Pages, keys and names of the simulated store.
#include "block_image.hpp"

#include <algorithm>
#include <cstring>

#include "ironcore/base/names.hpp"

namespace ironcore::sim::blocks {

namespace {
std::uint64_t mixed(std::uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}
}  // namespace

bool is_zero(BytesView bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

void scramble(std::uint64_t seed, std::uint64_t page, PageBytes& bytes) {
  for (std::size_t i = 0; i < page_bytes; i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, sizeof(word));
    word ^= mixed(seed ^ mixed(page * page_bytes + i));
    std::memcpy(bytes.data() + i, &word, sizeof(word));
  }
}

std::optional<std::uint64_t> seed_of(const std::optional<EncryptionKey>& key) {
  if (!key) return {};
  std::uint64_t seed = 0;
  std::memcpy(&seed, key->bytes().data(), sizeof(seed));
  return seed;
}
std::optional<crypto::Digest> known_by(const std::optional<EncryptionKey>& key) {
  if (!key) return {};
  return crypto::sha256(key->bytes());
}

BlockId id_of(const crypto::Digest& digest) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), digest.bytes().data(), bytes.size());
  return {"", Uid(bytes)};
}

std::string text(const BlockId& id) {
  const bool is_tenant = id.tenant.empty() || !check_dns_label(id.tenant).has_value();
  return (is_tenant ? id.tenant : "(no tenant)") + "/" + id.uid.to_text();
}

Result<void> check_tenant(const std::string& tenant) {
  if (const auto problem = check_dns_label(tenant)) return Error(ErrorCode::invalid, "the tenant " + *problem);
  return {};
}
Result<void> check_id(const BlockId& id) {
  IRONCORE_CHECK(check_tenant(id.tenant));
  if (id.uid.is_nil()) return Error(ErrorCode::invalid, "the uid must not be nil");
  return {};
}
Result<void> check_size(std::uint64_t size) {
  if (size == 0 || size % storage::size_step != 0 || size > storage::max_size) {
    return Error(ErrorCode::invalid, "the size of a volume is a multiple of " + std::to_string(storage::size_step) +
                                         " bytes, at least one and at most " + std::to_string(storage::max_size) +
                                         " bytes, not " + std::to_string(size));
  }
  return {};
}

Result<void> check_key(const Image& image, const std::optional<EncryptionKey>& key) {
  if (image.key.has_value() != key.has_value()) {
    return Error(ErrorCode::invalid,
                 text(image.id) + (key ? " is not encrypted: give no key" : " is encrypted: give its key"));
  }
  if (image.key != known_by(key)) return Error(ErrorCode::forbidden, "the key is not that of " + text(image.id));
  return {};
}

void read(const Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const std::uint64_t number = offset / page_bytes;
    const std::uint64_t within = offset % page_bytes;
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(page_bytes - within, into.size()));
    const auto found = image.pages.find(number);
    if (found == image.pages.end()) {
      std::fill_n(into.begin(), length, std::byte{0});
    } else if (seed) {
      auto bytes = found->second->bytes;
      scramble(*seed, number, bytes);
      std::memcpy(into.data(), bytes.data() + within, length);
    } else {
      std::memcpy(into.data(), found->second->bytes.data() + within, length);
    }
    into = into.subspan(length);
    offset += length;
  }
}

}  // namespace ironcore::sim::blocks
