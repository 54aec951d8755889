// SPDX-License-Identifier: Apache-2.0
// Metadata of images.
#include "header.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include "encoding.hpp"
#include "errors.hpp"
#include "ironcore/base/bytes.hpp"
#include "luks.hpp"

namespace ironcore::storage::ceph {

namespace {

constexpr std::string_view kName = "ironcore.whole", kSource = "ironcore.source", kEncryption = "ironcore.encryption";
constexpr const char* kRemoved = "ironcore.removed";
constexpr std::string_view kPlain = "none", kLuks2 = "luks2";

std::uint64_t number_of(const std::map<std::string, std::string>& entries, const std::string& key) {
  const auto found = entries.find(key);
  std::uint64_t number = 0;
  if (found != entries.end()) {
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), number);
  }
  return number;
}

std::string setting(std::string_view words) {
  return "conf_rbd_qos_" + std::string(words);
}

Limits limits_in(const std::map<std::string, std::string>& entries) {
  return {
      .iops = number_of(entries, setting("iops_limit")),
      .bytes_per_second = number_of(entries, setting("bps_limit")),
      .burst_iops = number_of(entries, setting("iops_burst")),
      .burst_bytes_per_second = number_of(entries, setting("bps_burst")),
      .burst = std::chrono::seconds(std::min<std::uint64_t>(number_of(entries, "ironcore.burst_seconds"), 1U << 30U))};
}

Result<std::map<std::string, std::string>> metadata_of(const Image& image) {
  std::vector<char> keys(4096), values(4096);
  std::size_t keys_size = 0, values_size = 0;
  int code = -ERANGE;
  // The sizes asked for are known after the first try; they only grow while somebody else writes.
  for (int i = 0; i < 8 && code == -ERANGE; ++i) {
    keys.resize(std::max(keys.size(), keys_size));
    values.resize(std::max(values.size(), values_size));
    keys_size = keys.size();
    values_size = values.size();
    code = rbd_metadata_list(image.get(), "", 0, keys.data(), &keys_size, values.data(), &values_size);
  }
  if (code < 0) return ceph_error(code, "read the metadata of an image");
  std::map<std::string, std::string> out;
  const char *key = keys.data(), *value = values.data();
  const char *const keys_end = key + keys_size, *const values_end = value + values_size;
  while (key < keys_end && value < values_end) {
    out[key] = value;
    key += std::strlen(key) + 1;
    value += std::strlen(value) + 1;
  }
  return out;
}

}  // namespace

std::map<std::string, std::string> whole_metadata(const std::string& name, const std::string& source,
                                                  Encryption encryption) {
  std::map<std::string, std::string> out{
      {std::string(kName), name},
      {std::string(kSource), source},
      {std::string(kEncryption), std::string(encryption == Encryption::luks2 ? kLuks2 : kPlain)}};
  if (encryption == Encryption::luks2) out.insert(luks_setting);
  return out;
}

std::map<std::string, std::string> limit_metadata(const Limits& limits) {
  std::map<std::string, std::string> out;
  for (const std::string_view way : {"", "read_", "write_"}) {
    const std::string words(way);
    out[setting(words + "iops_limit")] = std::to_string(limits.iops);
    out[setting(words + "bps_limit")] = std::to_string(limits.bytes_per_second);
    out[setting(words + "iops_burst")] = std::to_string(limits.burst_iops);
    out[setting(words + "bps_burst")] = std::to_string(limits.burst_bytes_per_second);
    // librbd asks for at least one second.
    const std::string seconds = std::to_string(std::max<std::int64_t>(1, limits.burst.count()));
    out[setting(words + "iops_burst_seconds")] = seconds;
    out[setting(words + "bps_burst_seconds")] = seconds;
  }
  out["ironcore.burst_seconds"] = std::to_string(limits.burst.count());
  return out;
}

std::map<std::string, std::string> removed_metadata(const std::string& name) {
  return {{kRemoved, name}};
}

Result<bool> is_removed(const Image& image, const std::string& name) {
  std::array<char, 256> value{};
  std::size_t size = value.size();
  const int code = rbd_metadata_get(image.get(), kRemoved, value.data(), &size);
  if (code == -ENOENT || code == -ERANGE) return false;
  if (code < 0) return ceph_error(code, "read the metadata of an image in the trash");
  return value.data() == name;
}

std::string encoded(const std::map<std::string, std::string>& metadata) {
  std::string out;
  append(out, static_cast<std::uint32_t>(metadata.size()));
  for (const auto& [key, value] : metadata) {
    append(out, key);
    append(out, value);
  }
  return out;
}

Result<void> write_metadata(const IoContext& io, const std::string& id,
                            const std::map<std::string, std::string>& entries) {
  const std::string input = encoded(entries);
  const rados_write_op_t operation = rados_create_write_op();
  rados_write_op_assert_exists(operation);
  rados_write_op_exec(operation, "rbd", "metadata_set", input.data(), input.size(), nullptr);
  const int code = rados_write_op_operate(operation, io.get(), ("rbd_header." + id).c_str(), nullptr, 0);
  rados_release_write_op(operation);
  return checked(code, "write the metadata of an image");
}

Result<std::optional<std::string>> image_id(const IoContext& io, const std::string& name) {
  std::array<char, 128> buffer{};
  const int code = rados_read(io.get(), ("rbd_id." + name).c_str(), buffer.data(), buffer.size(), 0);
  if (code == -ENOENT) return std::optional<std::string>();
  if (code < 0) return ceph_error(code, "look for image " + name);
  const auto byte = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(buffer[at])); };
  const std::uint32_t length = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
  if (code < 4 || length == 0 || length > static_cast<std::uint32_t>(code) - 4) {
    return Error(ErrorCode::corrupt, "image " + name + " has no legible id: look at its object rbd_id." + name);
  }
  return std::optional(std::string(buffer.data() + 4, length));
}

Result<std::optional<Header>> read_header(const Image& image, const std::string& name) {
  IRONCORE_TRY(const auto entries, metadata_of(image));
  const auto text = [&](std::string_view key) {
    const auto found = entries.find(std::string(key));
    return found == entries.end() ? std::string() : found->second;
  };
  if (text(kName) != name) return std::optional<Header>();
  Header header;
  IRONCORE_TRY(header.raw_bytes, image.size());
  header.is_encrypted = text(kEncryption) == kLuks2;
  header.size_bytes = header.raw_bytes;
  if (header.is_encrypted) {
    if (header.raw_bytes <= luks_header_size) {
      return Error(ErrorCode::corrupt, "image " + name + " is smaller than the header of its encryption");
    }
    header.size_bytes -= luks_header_size;
  }
  header.limits = limits_in(entries);
  header.source = text(kSource);
  return std::optional(std::move(header));
}

}  // namespace ironcore::storage::ceph
