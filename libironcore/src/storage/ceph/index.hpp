// SPDX-License-Identifier: Apache-2.0
// Lists of what there is, so that nobody has to open ten thousand images.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "handles.hpp"
#include "header.hpp"
#include "names.hpp"

namespace ironcore::storage::ceph {

/// One object's keys and values, in the pool's `.ironcore`. Several processes may write. Thread: any.
class Table {
 public:
  Table(const IoContext& io, std::string object) : io_(io), object_(std::move(object)) {}
  /// Empty if there is no such key.
  Result<std::string> get(const std::string& key) const;
  Result<std::vector<std::pair<std::string, std::string>>> list() const;
  /// In place of `old`, or of nothing if that is empty; `conflict` if there is something else.
  Result<void> replace(const std::string& key, const std::string& old, const std::string& value) const;
  /// `conflict` if there is something else than `old`.
  Result<void> remove(const std::string& key, const std::string& old) const;

 private:
  Result<void> change(const std::string& key, const std::string& old, const std::string* value) const;

  const IoContext& io_;
  std::string object_;
};

/// One line of a list.
struct Entry {
  std::uint64_t size_bytes = 0;
  bool is_encrypted = false;
  Limits limits;
  std::string source;
  std::uint32_t depth = 0;
  /// Of a snapshot: begun, and not yet there.
  bool is_pending = false;
};
std::string to_text(const Entry& entry);
/// `corrupt` if the text is none of ours.
Result<Entry> parse_entry(const std::string& text);
Entry entry_of(const Header& header, std::uint32_t depth);

}  // namespace ironcore::storage::ceph
