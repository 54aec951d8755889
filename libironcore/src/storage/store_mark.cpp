// SPDX-License-Identifier: Apache-2.0
// Marks as text: a word that says what it is, two uids and a name.
#include "ironcore/storage/store_mark.hpp"

#include <algorithm>
#include <utility>

#include "ironcore/base/names.hpp"

namespace ironcore::storage {

namespace {
constexpr std::string_view first_words = "ironcore store 1: ";
constexpr std::size_t uid_size = 36;
constexpr std::string_view of_pool = " of volume pool ";
}  // namespace

std::string StoreMark::to_text() const {
  return std::string(first_words) + store.to_text() + std::string(of_pool) + pool.to_text() + " " + pool_name + "\n";
}

Result<StoreMark> StoreMark::parse(std::string_view text) {
  const Error damaged(ErrorCode::corrupt, "the store's mark, owner, is damaged: restore it from a backup");
  const auto skip = [&text](std::string_view words) {
    if (!text.starts_with(words)) return false;
    text.remove_prefix(words.size());
    return true;
  };
  const auto next_uid = [&text] {
    const auto uid = Uid::parse(text.substr(0, uid_size));
    text.remove_prefix(std::min(uid_size, text.size()));
    return uid;
  };
  if (!skip(first_words)) return damaged;
  const auto store = next_uid();
  if (!store || store->is_nil() || !skip(of_pool)) return damaged;
  const auto pool = next_uid();
  if (!pool || pool->is_nil() || !skip(" ") || !text.ends_with('\n')) return damaged;
  std::string name(text.substr(0, text.size() - 1));
  if (check_dns_subdomain(name)) return damaged;
  return StoreMark{*store, *pool, std::move(name)};
}

}  // namespace ironcore::storage
