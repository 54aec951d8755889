// SPDX-License-Identifier: Apache-2.0
// The index on omaps, changed by compare and swap.
#include "index.hpp"

#include <boost/json.hpp>
#include <cerrno>

#include "errors.hpp"

namespace ironcore::storage::ceph {

namespace {

/// What an OSD gives in one answer, by default.
constexpr std::uint64_t kPage = 1000;

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// Runs the operation and reads what it left in `iterator`.
Result<Pairs> pairs_of(rados_read_op_t operation, const IoContext& io, const std::string& object,
                       rados_omap_iter_t& iterator) {
  const int code = rados_read_op_operate(operation, io.get(), object.c_str(), 0);
  rados_release_read_op(operation);
  Pairs out;
  if (code >= 0) {
    char *key = nullptr, *value = nullptr;
    std::size_t key_size = 0, value_size = 0;
    while (rados_omap_get_next2(iterator, &key, &value, &key_size, &value_size) == 0 && key != nullptr) {
      out.emplace_back(std::string(key, key_size), std::string(value, value_size));
    }
  }
  if (iterator != nullptr) rados_omap_get_end(iterator);
  if (code < 0 && code != -ENOENT) return ceph_error(code, "read the index " + object);
  return out;
}

std::uint64_t number(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr) return 0;
  boost::system::error_code wrong;
  const auto number = value->to_number<std::uint64_t>(wrong);
  return wrong ? 0 : number;
}

}  // namespace

Result<std::string> Table::get(const std::string& key) const {
  const rados_read_op_t operation = rados_create_read_op();
  rados_omap_iter_t iterator = nullptr;
  const char* keys = key.c_str();
  const std::size_t length = key.size();
  rados_read_op_omap_get_vals_by_keys2(operation, &keys, 1, &length, &iterator, nullptr);
  IRONCORE_TRY(const auto pairs, pairs_of(operation, io_, object_, iterator));
  return pairs.empty() ? std::string() : pairs.front().second;
}

Result<Pairs> Table::list() const {
  Pairs all;
  unsigned char has_more = 1;
  while (has_more != 0) {
    const rados_read_op_t operation = rados_create_read_op();
    rados_omap_iter_t iterator = nullptr;
    has_more = 0;
    const std::string after = all.empty() ? "" : all.back().first;
    rados_read_op_omap_get_vals2(operation, after.c_str(), "", kPage, &iterator, &has_more, nullptr);
    IRONCORE_TRY(auto page, pairs_of(operation, io_, object_, iterator));
    if (page.empty()) break;
    std::move(page.begin(), page.end(), std::back_inserter(all));
  }
  return all;
}

Result<void> Table::change(const std::string& key, const std::string& old, const std::string* value) const {
  const rados_write_op_t operation = rados_create_write_op();
  const char* keys = key.c_str();
  const std::size_t key_size = key.size();
  int compared = 0;
  // A key that is not there counts as empty, but an object that is not there does not.
  if (value != nullptr) rados_write_op_create(operation, LIBRADOS_CREATE_IDEMPOTENT, nullptr);
  rados_write_op_omap_cmp2(operation, keys, LIBRADOS_CMPXATTR_OP_EQ, old.data(), key_size, old.size(), &compared);
  if (value != nullptr) {
    const char* values = value->data();
    const std::size_t value_size = value->size();
    rados_write_op_omap_set2(operation, &keys, &values, &key_size, &value_size, 1);
  } else {
    rados_write_op_omap_rm_keys2(operation, &keys, &key_size, 1);
  }
  const int code = rados_write_op_operate(operation, io_.get(), object_.c_str(), nullptr, 0);
  rados_release_write_op(operation);
  if (code == -ENOENT && value == nullptr) return {};
  return checked(code, "change " + key + " in the index " + object_);
}

Result<void> Table::replace(const std::string& key, const std::string& old, const std::string& value) const {
  if (old == value) return {};
  return change(key, old, &value);
}

Result<void> Table::remove(const std::string& key, const std::string& old) const {
  return change(key, old, nullptr);
}

std::string to_text(const Entry& entry) {
  boost::json::object out{{"size", entry.size_bytes}, {"source", entry.source}};
  if (entry.is_encrypted) out["encrypted"] = true;
  if (entry.is_pending) out["pending"] = true;
  if (entry.depth != 0) out["depth"] = entry.depth;
  if (entry.limits != Limits{}) {
    out["limits"] = {entry.limits.iops, entry.limits.bytes_per_second, entry.limits.burst_iops,
                     entry.limits.burst_bytes_per_second, entry.limits.burst.count()};
  }
  return boost::json::serialize(out);
}

Result<Entry> parse_entry(const std::string& text) {
  boost::system::error_code wrong;
  const boost::json::value value = boost::json::parse(text, wrong);
  const boost::json::object* object = value.if_object();
  if (wrong || object == nullptr) {
    return Error(ErrorCode::corrupt, "an entry of the index is damaged: remove it, maintenance makes it anew");
  }
  Entry entry;
  entry.size_bytes = number(*object, "size");
  entry.depth = static_cast<std::uint32_t>(number(*object, "depth"));
  entry.is_encrypted = object->contains("encrypted");
  entry.is_pending = object->contains("pending");
  if (const auto* source = object->if_contains("source"); source != nullptr && source->is_string()) {
    entry.source = source->get_string();
  }
  const auto* limits = object->if_contains("limits");
  if (limits != nullptr && limits->is_array() && limits->get_array().size() == 5) {
    const auto at = [&](std::size_t i) {
      boost::system::error_code bad;
      const auto out = limits->get_array()[i].to_number<std::uint64_t>(bad);
      return bad ? 0 : out;
    };
    entry.limits = {.iops = at(0),
                    .bytes_per_second = at(1),
                    .burst_iops = at(2),
                    .burst_bytes_per_second = at(3),
                    .burst = std::chrono::seconds(static_cast<std::int64_t>(at(4)))};
  }
  return entry;
}

Entry entry_of(const Header& header, std::uint32_t depth) {
  return {.size_bytes = header.size_bytes,
          .is_encrypted = header.is_encrypted,
          .limits = header.limits,
          .source = header.source,
          .depth = depth};
}

}  // namespace ironcore::storage::ceph
