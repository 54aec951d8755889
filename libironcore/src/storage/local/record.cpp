// SPDX-License-Identifier: Apache-2.0
// Records as lines of a name and its values.
#include "record.hpp"

#include <array>
#include <charconv>
#include <optional>

namespace ironcore::storage::local {

namespace {

constexpr std::string_view first_line = "ironcore disk 1\n";

std::string to_text(const Parent& parent) {
  if (const auto* digest = std::get_if<crypto::Digest>(&parent)) return digest->to_text();
  if (const auto* uid = std::get_if<Uid>(&parent)) return uid->to_text();
  return "none";
}

std::optional<Parent> parse_parent(std::string_view text) {
  if (text == "none") return Parent();
  if (const auto digest = crypto::Digest::parse(text)) return Parent(*digest);
  if (const auto uid = Uid::parse(text)) return Parent(*uid);
  return std::nullopt;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (wrong != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Limits> parse_limits(std::string_view text) {
  std::array<std::uint64_t, 5> values{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto end = i + 1 < values.size() ? text.find(' ') : text.size();
    if (end == text.npos) return std::nullopt;
    const auto value = parse_number(text.substr(0, end));
    if (!value) return std::nullopt;
    values[i] = *value;
    text.remove_prefix(end == text.size() ? end : end + 1);
  }
  return Limits{values[0], values[1], values[2], values[3],
                std::chrono::seconds(static_cast<std::chrono::seconds::rep>(values[4]))};
}

}  // namespace

std::string Record::to_text() const {
  std::string out(first_line);
  out += "size " + std::to_string(size_bytes) + "\n";
  out += "format " + std::string(image::name(format)) + "\n";
  out += "source " + local::to_text(source) + "\n";
  out += "backing " + local::to_text(backing) + "\n";
  out += "volume " + volume.to_text() + "\n";
  out += "limits " + std::to_string(limits.iops) + " " + std::to_string(limits.bytes_per_second) + " " +
         std::to_string(limits.burst_iops) + " " + std::to_string(limits.burst_bytes_per_second) + " " +
         std::to_string(limits.burst.count()) + "\n";
  out += is_removed ? "removed yes\n" : "removed no\n";
  return out;
}

Result<Record> Record::parse(std::string_view text) {
  const Error damaged(ErrorCode::corrupt, "the record is damaged: restore it from a backup");
  if (!text.starts_with(first_line)) return damaged;
  text.remove_prefix(first_line.size());
  // The value of the next line, which must have this name.
  const auto next = [&](std::string_view name) -> std::optional<std::string_view> {
    const auto end = text.find('\n');
    if (end == text.npos || !text.starts_with(name) || end <= name.size() || text[name.size()] != ' ') {
      return std::nullopt;
    }
    const auto value = text.substr(name.size() + 1, end - name.size() - 1);
    text.remove_prefix(end + 1);
    return value;
  };
  Record record;
  const auto size = next("size");
  const auto number = size ? parse_number(*size) : std::nullopt;
  const auto format = next("format");
  const auto known_format = format ? image::parse_disk_format(*format) : std::nullopt;
  const auto source = next("source");
  const auto known_source = source ? parse_parent(*source) : std::nullopt;
  const auto backing = next("backing");
  const auto known_backing = backing ? parse_parent(*backing) : std::nullopt;
  const auto volume = next("volume");
  const auto uid = Uid::parse(volume.value_or(""));
  const auto limits = next("limits");
  const auto known_limits = limits ? parse_limits(*limits) : std::nullopt;
  const auto removed = next("removed");
  if (!number || !known_format || !known_source || !known_backing || !uid || !known_limits || !removed ||
      (*removed != "yes" && *removed != "no") || !text.empty()) {
    return damaged;
  }
  record.size_bytes = *number;
  record.format = *known_format;
  record.source = *known_source;
  record.backing = *known_backing;
  record.volume = *uid;
  record.limits = *known_limits;
  record.is_removed = *removed == "yes";
  return record;
}

}  // namespace ironcore::storage::local
