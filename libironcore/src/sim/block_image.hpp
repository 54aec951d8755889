// SPDX-License-Identifier: Apache-2.0
// What the simulated store keeps: images made of shared pages, their keys, their names.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "ironcore/crypto/digest.hpp"
#include "ironcore/storage/volume.hpp"

namespace ironcore::sim::blocks {

using storage::BlockId;
using storage::EncryptionKey;
using storage::Limits;

constexpr std::uint64_t page_bytes = 4096;
using PageBytes = std::array<std::byte, page_bytes>;

/// How many bytes all pages take.
using Room = std::atomic<std::uint64_t>;

struct Page {
  explicit Page(Room& room_) : room(room_) { room += page_bytes; }
  Page(const Page& other) : bytes(other.bytes), room(other.room) { room += page_bytes; }
  Page& operator=(const Page&) = delete;
  ~Page() { room -= page_bytes; }
  PageBytes bytes{};
  Room& room;
};
using Pages = std::map<std::uint64_t, std::shared_ptr<Page>>;

enum class Kind { volume, snapshot, base };

struct Image {
  Kind kind = Kind::volume;
  BlockId id;
  crypto::Digest digest;  // of a base image
  std::uint64_t size = 0;
  std::optional<crypto::Digest> key;  // what the key is known by
  Limits limits;
  std::variant<std::monostate, crypto::Digest, Uid> source;  // of a volume
  Uid volume;                                                // of a snapshot
  std::shared_ptr<Image> parent;
  Pages pages;
  bool is_whole = false;
  bool is_busy = false;  // a call is at it and does not hold the mutex
};
using ImagePtr = std::shared_ptr<Image>;

bool is_zero(BytesView bytes);
/// Both ways. The same for the same key and place, so that volumes with one key can share pages.
void scramble(std::uint64_t seed, std::uint64_t page, PageBytes& bytes);
std::optional<std::uint64_t> seed_of(const std::optional<EncryptionKey>& key);
std::optional<crypto::Digest> known_by(const std::optional<EncryptionKey>& key);
/// `invalid` where there is a key and should be none, or the other way round; `forbidden` for another key.
Result<void> check_key(const Image& image, const std::optional<EncryptionKey>& key);
/// Fills `into` with what the image has there, in clear.
void read(const Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset, std::span<std::byte> into);

/// The name of a base image.
BlockId id_of(const crypto::Digest& digest);
/// For messages and names; a tenant that cannot be is not repeated.
std::string text(const BlockId& id);
Result<void> check_tenant(const std::string& tenant);
Result<void> check_id(const BlockId& id);
Result<void> check_size(std::uint64_t size);

}  // namespace ironcore::sim::blocks
