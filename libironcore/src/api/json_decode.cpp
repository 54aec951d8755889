// SPDX-License-Identifier: Apache-2.0
// Reading the values that declared structs are made of.
#include "json_decode.hpp"
#include "ironcore/api/json.hpp"

#include <algorithm>
#include <charconv>

#include "ironcore/base/base64.hpp"
#include "ironcore/base/names.hpp"
#include "json_text.hpp"

namespace ironcore::api {

using Reason = FieldError::Reason;

void Decoding::note(const FieldPath& at, Reason reason, std::string message) {
  if (reader.has_failed()) return;
  if (errors.size() == max_field_errors) {
    reader.fail("there are more than " + std::to_string(max_field_errors) + " wrong fields; the first is " +
                errors.front().field + ": " + errors.front().message);
    return;
  }
  errors.push_back({at.text(), reason, std::move(message)});
}

void Decoding::wrong(const FieldPath& at, Reason reason, std::string message) {
  if (reader.skip()) note(at, reason, std::move(message));
}

void Decoding::wrong_type(const FieldPath& at, std::string_view wanted) {
  // The value itself is never quoted here: it may be a secret.
  wrong(at, Reason::invalid, "must be " + std::string(wanted));
}

void Decoding::twice(std::string_view key) {
  reader.fail("the member \"" + std::string(key.substr(0, 256)) + "\" comes twice");
}

bool Decoding::read_text(const FieldPath& at, std::string_view& out) {
  switch (reader.peek()) {
    case json::Type::string:
      return reader.read_string(out);
    case json::Type::number:
      wrong_type(at, "a string: put the number in quotes");
      return false;
    case json::Type::boolean:
      wrong_type(at, "a string: put true or false in quotes");
      return false;
    default:
      wrong_type(at, "a string");
      return false;
  }
}

void Decoding::read_integer(const FieldPath& at, std::int64_t min, std::int64_t max, std::int64_t& out) {
  if (reader.peek() != json::Type::number) return wrong_type(at, "a whole number");
  std::string_view text;
  if (!reader.read_number(text)) return;
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc::result_out_of_range || (failure == std::errc() && (value < min || value > max))) {
    note(at, Reason::invalid, "must be between " + std::to_string(min) + " and " + std::to_string(max));
  } else if (failure != std::errc() || end != text.data() + text.size()) {
    note(at, Reason::invalid, "must be a whole number");
  } else {
    out = value;
  }
}

void Decoding::read_quantity(const FieldPath& at, Quantity& out) {
  std::string_view text;
  switch (reader.peek()) {
    case json::Type::string:
      if (!reader.read_string(text)) return;
      break;
    case json::Type::number:
      if (!reader.read_number(text)) return;
      break;
    default:
      return wrong_type(at, "an amount such as 2, 500m or 10Gi");
  }
  // The longest amount that means something is far below this; the message quotes the text.
  if (text.size() > 64)
    return note(
        at, Reason::invalid,
        "must be an amount such as 2, 500m or 10Gi, not a text of " + std::to_string(text.size()) + " characters");
  auto amount = Quantity::parse(text);
  if (!amount) return note(at, Reason::invalid, amount.error().message());
  out = *amount;
}

void Decoding::read_time(const FieldPath& at, WallTime& out) {
  if (reader.peek() != json::Type::string) return wrong_type(at, "a time such as 2026-11-23T01:45:08Z");
  std::string_view text;
  if (!reader.read_string(text)) return;
  if (text.size() > 64) return note(at, Reason::invalid, "must be a time such as 2026-11-23T01:45:08Z");
  const auto time = parse_rfc3339(text);
  if (!time) return note(at, Reason::invalid, time.error().message());
  out = *time;
}

void Decoding::read_revision(const FieldPath& at, Revision& out) {
  std::string_view text;
  if (!read_text(at, text)) return;
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty()) {
    out = {};
  } else if (failure != std::errc() || end != text.data() + text.size()) {
    note(at, Reason::invalid, "must be the decimal number that the store gave out, in quotes");
  } else {
    out.value = value;
  }
}

void Decoding::read_bytes(const FieldPath& at, Bytes& out) {
  if (reader.peek() != json::Type::string) return wrong_type(at, "a string of base64");
  std::string_view text;
  if (!reader.read_string(text)) return;
  std::string joined;
  if (text.find_first_of("\r\n") != std::string_view::npos) {
    // `base64 FILE` breaks its lines; Kubernetes takes that as well.
    std::copy_if(text.begin(), text.end(), std::back_inserter(joined), [](char c) { return c != '\r' && c != '\n'; });
    text = joined;
  }
  auto bytes = base64_decode(text);
  if (!bytes) return note(at, Reason::invalid, "must be base64");
  out.value = std::move(*bytes);
}

void Decoding::read_address(const FieldPath& at, IpAddress& out) {
  std::string_view text;
  if (!read_text(at, text)) return;
  const auto address = IpAddress::parse(text);
  if (!address) return note(at, Reason::invalid, "must be an IP address such as 10.0.0.1 or fd00::1");
  out = *address;
}

void Decoding::read_prefix(const FieldPath& at, Prefix& out) {
  std::string_view text;
  if (!read_text(at, text)) return;
  const auto prefix = Prefix::parse(text);
  if (!prefix) return note(at, Reason::invalid, "must be a prefix such as 10.0.0.0/24 or fd00::/64");
  out = *prefix;
}

void Decoding::read_fixed(const FieldPath& at, std::string_view wanted) {
  std::string_view text;
  if (!read_text(at, text)) return;
  if (text != wanted)
    note(at, Reason::invalid,
         "must be " + std::string(wanted) + " here, not \"" + std::string(text.substr(0, 256)) + "\"");
}

std::size_t Decoding::read_enumerator(const FieldPath& at, std::span<const std::string_view> names) {
  std::string list;
  const auto one_of = [&] {
    for (const auto name : names) {
      list += list.empty() ? "one of " : ", ";
      list += name;
    }
    return list;
  };
  std::string_view text;
  if (reader.peek() == json::Type::boolean) {
    // YAML before 1.2 reads a bare On or Off as a boolean: some tool in between may have done so.
    wrong_type(at, one_of() + ", in quotes");
    return std::string_view::npos;
  }
  if (reader.peek() != json::Type::string) {
    wrong_type(at, one_of());
    return std::string_view::npos;
  }
  if (!reader.read_string(text)) return std::string_view::npos;
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  const auto shown = text.substr(0, 64);
  note(at, Reason::not_supported, "must be " + one_of() + did_you_mean(shown, names));
  return std::string_view::npos;
}

void Decoding::read_unknown(const FieldPath& at, std::string_view key, std::span<const std::string_view> known,
                            std::set<std::string, std::less<>>& nulls, Unknown& out) {
  std::string name(key);
  if (unknown == UnknownFields::refuse && !(kept != nullptr && kept->contains(FieldPath(at, name).place()))) {
    const auto shown = name.substr(0, 64);
    wrong(FieldPath(at, shown), Reason::unknown, "unknown field" + did_you_mean(shown, known));
    return;
  }
  const auto& members = out.members();
  const auto before = members.find(name);
  const bool is_there = before != members.end();
  if (nulls.contains(name) || (is_there && !is_patch)) return twice(name);
  if (reader.peek() == json::Type::null) {
    reader.read_null();
    if (is_there) out.remove(name);
    nulls.insert(std::move(name));
    return;
  }
  if (!is_patch) {
    json::Text text;
    if (reader.copy(text, json::Order::sort)) out.set(std::move(name), text.text());
    return;
  }
  // Nulls inside count in a patch, and `copy` would drop them.
  const auto start = reader.offset();
  if (!reader.skip()) return;
  const auto patch = json::parse_tree(reader.text().substr(start, reader.offset() - start), json::Nulls::keep);
  auto value = is_there ? json::parse_tree(before->second, json::Nulls::drop) : Result<json::Tree>(json::Tree());
  if (!patch || !value) {
    reader.fail("the unknown member \"" + name + "\" cannot be merged");
    return;
  }
  json::merge(*value, *patch);
  const auto merged = json::to_text(*value);
  // Lists came over as they are; a null in one of their objects means absent like everywhere.
  json::Text text;
  if (!json::Reader(merged).copy(text, json::Order::sort))
    return void(reader.fail("the unknown member \"" + name + "\" cannot be merged"));
  out.set(std::move(name), text.text());
}

Result<> check_size(std::string_view text) {
  if (text.size() <= json::max_text_size) return {};
  return Error(ErrorCode::exhausted, "an object may take up to 1.5 MiB (" + std::to_string(json::max_text_size) +
                                         " bytes) as JSON; this one takes " + std::to_string(text.size()));
}

Result<> check_patch(std::string_view patch) {
  IRONCORE_CHECK(check_size(patch));
  json::Reader reader(patch);
  if (reader.skip() && reader.finish()) return {};
  return reader.error();
}

Result<> finish_decoding(Decoding& in) {
  if (!in.reader.finish()) return in.reader.error();
  if (!in.is_patch) {
    if (!in.has_kind && in.errors.size() < max_field_errors)
      in.errors.insert(in.errors.begin(), {"kind", Reason::required, "is required"});
    if (!in.has_api_version && in.errors.size() < max_field_errors)
      in.errors.insert(in.errors.begin(), {"apiVersion", Reason::required, "is required"});
  }
  if (!in.errors.empty()) return Error(std::move(in.errors));
  return {};
}

}  // namespace ironcore::api
