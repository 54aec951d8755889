// SPDX-License-Identifier: Apache-2.0
// Reading and writing whole sectors around what was asked for.
#include "encrypted_data.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "luks.hpp"

namespace ironcore::storage::ceph {

namespace {

constexpr std::uint64_t sector = luks_sector_size;

std::uint64_t down(std::uint64_t offset) {
  return offset / sector * sector;
}
std::uint64_t up(std::uint64_t offset) {
  return (offset + sector - 1) / sector * sector;
}

}  // namespace

/// A write; without bytes a discard of whole sectors.
struct EncryptedData::Change {
  std::uint64_t offset = 0;
  BytesView bytes;                   ///< the caller's
  std::uint64_t begin = 0, end = 0;  ///< of its sectors
  Done done;
  Bytes buffer{};  ///< of a write: its sectors
};

/// What ends when all of its parts have.
struct EncryptedData::Parts {
  explicit Parts(Done done_) : done(std::move(done_)) {}
  void end(const Result<void>& result) {
    {
      const std::lock_guard lock(mutex);
      if (result.has_error() && first.has_value()) first = result;
    }
    if (--left == 0) done(std::move(first));
  }
  Done done;
  std::atomic<int> left{1};  ///< one until all of them are begun
  std::mutex mutex;
  Result<void> first;  ///< the first error, if there was one
};

EncryptedData::EncryptedData(Image image, ImageData::Use use, crypto::XtsCipher cipher)
    : use_(use), cipher_(std::move(cipher)), raw_(std::move(image), use) {}

std::uint64_t EncryptedData::size() const {
  const std::uint64_t raw = raw_.size();
  return raw < luks_header_size ? 0 : raw - luks_header_size;
}

Result<void> EncryptedData::check(std::uint64_t offset, std::uint64_t size, bool is_change) const {
  if (is_change && use_ == ImageData::Use::read_only) return Error(ErrorCode::invalid, "a snapshot is only to read");
  const std::uint64_t end = this->size();
  if (offset > end || size > end - offset) {
    return Error(ErrorCode::invalid, std::to_string(size) + " bytes at " + std::to_string(offset) +
                                         " are beyond the end of the volume at " + std::to_string(end));
  }
  return {};
}

void EncryptedData::refuse(Done done, Error error) {
  raw_.flush(
      [done = std::move(done), error = std::move(error)](const Result<void>&) mutable { done(std::move(error)); });
}

void EncryptedData::read(std::uint64_t offset, std::span<std::byte> into, Done done) {
  if (auto bad = check(offset, into.size(), false); bad.has_error()) return refuse(std::move(done), bad.error());
  if (into.empty()) return flush(std::move(done));
  const std::uint64_t begin = down(offset), end = up(offset + into.size());
  if (begin == offset && end == offset + into.size()) {
    return raw_.read(luks_header_size + offset, into,
                     [this, offset, into, done = std::move(done)](Result<void> result) mutable {
                       if (result.has_value()) decrypt_sectors(cipher_, offset, into);
                       done(std::move(result));
                     });
  }
  auto buffer = std::make_shared<Bytes>(static_cast<std::size_t>(end - begin));
  raw_.read(luks_header_size + begin, *buffer,
            [this, offset, into, begin, buffer, done = std::move(done)](Result<void> result) mutable {
              if (result.has_value()) {
                decrypt_sectors(cipher_, begin, *buffer);
                std::memcpy(into.data(), buffer->data() + (offset - begin), into.size());
              }
              done(std::move(result));
            });
}

void EncryptedData::write(std::uint64_t offset, BytesView bytes, Done done) {
  if (auto bad = check(offset, bytes.size(), true); bad.has_error()) return refuse(std::move(done), bad.error());
  if (bytes.empty()) return flush(std::move(done));
  enter(std::make_shared<Change>(Change{.offset = offset,
                                        .bytes = bytes,
                                        .begin = down(offset),
                                        .end = up(offset + bytes.size()),
                                        .done = std::move(done)}));
}

void EncryptedData::discard(std::uint64_t offset, std::uint64_t size, Done done) {
  if (auto bad = check(offset, size, true); bad.has_error()) return refuse(std::move(done), bad.error());
  if (size == 0) return flush(std::move(done));
  static constexpr std::array<std::byte, sector> zeros{};
  const std::uint64_t end = offset + size, first_whole = up(offset), last_whole = down(end);
  // What is cut is overwritten with zeros, what is whole given back; each ends for itself.
  const auto parts = std::make_shared<Parts>(std::move(done));
  const auto cut = [&](std::uint64_t from, std::uint64_t to) {
    if (from < to) parts->left++, write(from, std::span(zeros).first(to - from), [parts](auto r) { parts->end(r); });
  };
  cut(offset, std::min(first_whole, end));
  if (last_whole >= first_whole) cut(last_whole, end);
  if (first_whole < last_whole) {
    parts->left++;
    enter(std::make_shared<Change>(
        Change{.offset = first_whole, .bytes = {}, .begin = first_whole, .end = last_whole, .done = [parts](auto r) {
                 parts->end(r);
               }}));
  }
  parts->end({});
}

void EncryptedData::flush(Done done) {
  raw_.flush(std::move(done));
}

// ---- whose turn it is ----

bool EncryptedData::is_free(const Change& change) const {
  const auto overlaps = [&](const ChangePtr& other) { return other->begin < change.end && change.begin < other->end; };
  return std::ranges::none_of(under_way_, overlaps);
}

void EncryptedData::enter(ChangePtr change) {
  {
    const std::lock_guard lock(mutex_);
    if (!waiting_.empty() || !is_free(*change)) {
      waiting_.push_back(std::move(change));
      return;
    }
    under_way_.push_back(change);
  }
  run(change);
}

void EncryptedData::leave(const Change& change) {
  std::vector<ChangePtr> next;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(under_way_, [&](const ChangePtr& other) { return other.get() == &change; });
    while (!waiting_.empty() && is_free(*waiting_.front())) {
      next.push_back(waiting_.front());
      under_way_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
  for (const auto& one : next) run(one);
}

void EncryptedData::finish(const ChangePtr& change, Result<void> result) {
  leave(*change);  // first: what waits is begun while this operation still counts as under way
  change->done(std::move(result));
}

// ---- what is done ----

void EncryptedData::run(const ChangePtr& change) {
  if (change->bytes.empty()) {
    return raw_.discard(luks_header_size + change->begin, change->end - change->begin,
                        [this, change](Result<void> result) { finish(change, std::move(result)); });
  }
  change->buffer.resize(static_cast<std::size_t>(change->end - change->begin));
  const std::uint64_t last = change->end - sector, end = change->offset + change->bytes.size();
  const bool is_first_cut = change->offset > change->begin || (last == change->begin && end < change->end);
  const bool is_last_cut = last > change->begin && end < change->end;
  const auto then_last = [this, change, last, is_last_cut] {
    if (!is_last_cut) return put(change);
    fetch(change, last, [this, change] { put(change); });
  };
  if (!is_first_cut) return then_last();
  fetch(change, change->begin, then_last);
}

void EncryptedData::fetch(const ChangePtr& change, std::uint64_t at, std::function<void()> then) {
  const auto into = std::span(change->buffer).subspan(static_cast<std::size_t>(at - change->begin), sector);
  raw_.read(luks_header_size + at, into, [this, change, at, into, then = std::move(then)](Result<void> result) {
    if (result.has_error()) return finish(change, std::move(result));
    decrypt_sectors(cipher_, at, into);
    then();
  });
}

void EncryptedData::put(const ChangePtr& change) {
  std::memcpy(change->buffer.data() + (change->offset - change->begin), change->bytes.data(), change->bytes.size());
  cipher_.encrypt(change->begin, change->buffer);
  raw_.write(luks_header_size + change->begin, change->buffer,
             [this, change](Result<void> result) { finish(change, std::move(result)); });
}

}  // namespace ironcore::storage::ceph
