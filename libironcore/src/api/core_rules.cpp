// SPDX-License-Identifier: Apache-2.0
// Defaults and rules of Namespace, Secret and Event.
#include <algorithm>

#include "json_reader.hpp"
#include "rules.hpp"

namespace ironcore::api {

namespace {

constexpr std::size_t max_secret_bytes = 1024 * 1024;
constexpr std::size_t max_message_bytes = 1024;

/// `ignition.yaml`, `tls.crt`: what can be a file name everywhere.
bool is_data_key(std::string_view key) {
  return !key.empty() && key.size() <= 253 && key != "." && key != ".." &&
         std::all_of(key.begin(), key.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

}  // namespace

void complete(Namespace&, const Namespace*, Checks&) {}
void check(const Namespace&, Checks&) {}
void check_change(const Namespace&, const Namespace&, Checks&) {}

void complete(Secret& object, const Secret* current, Checks&) {
  if (object.type.empty()) object.type = current != nullptr ? current->type : "Opaque";
  for (auto& [key, text] : object.string_data) object.data[key].value = std::move(text);
  object.string_data.clear();
}

void check(const Secret& object, Checks& checks) {
  const FieldPath root;
  const FieldPath data(root, "data");
  std::size_t size = 0;
  for (const auto& [key, bytes] : object.data) {
    size += bytes.value.size();
    if (!is_data_key(key))
      checks.add(FieldPath::entry(data, key), Checks::Reason::invalid,
                 "a key has up to 253 letters, digits, dashes, underscores and dots");
  }
  checks.not_longer(data, size, max_secret_bytes, "bytes together");
}

void check_change(const Secret& current, const Secret& wanted, Checks& checks) {
  const FieldPath root;
  checks.immutable(FieldPath(root, "type"), current.type, wanted.type);
  if (!current.immutable.value_or(false)) return;
  constexpr std::string_view why = "cannot be changed: the secret is immutable; delete it and create another";
  if (!wanted.immutable.value_or(false))
    checks.add(FieldPath(root, "immutable"), Checks::Reason::forbidden, std::string(why));
  if (current.data != wanted.data) checks.add(FieldPath(root, "data"), Checks::Reason::forbidden, std::string(why));
}

void complete(Event& object, const Event*, Checks&) {
  // Messages of foreign systems can be long; an event is a hint, so it is cut instead of refused.
  if (object.message.size() <= max_message_bytes) return;
  std::size_t end = 0;
  while (end < object.message.size()) {
    const auto length = std::max<std::size_t>(1, json::utf8_length(std::string_view(object.message).substr(end)));
    if (end + length > max_message_bytes) break;
    end += length;
  }
  object.message.resize(end);
}

void check(const Event& object, Checks& checks) {
  const FieldPath root;
  const FieldPath involved(root, "involvedObject");
  checks.required(FieldPath(involved, "kind"), object.involved_object.kind, "the kind of the object it happened to");
  checks.required(FieldPath(involved, "name"), object.involved_object.name, "the name of the object it happened to");
  checks.required(FieldPath(root, "reason"), object.reason, "one word for what happened");
  checks.not_longer(FieldPath(root, "reason"), object.reason.size(), 128, "characters");
  if (object.count < 1) checks.add(FieldPath(root, "count"), Checks::Reason::invalid, "must be at least 1");
}

void check_change(const Event& current, const Event& wanted, Checks& checks) {
  const FieldPath root;
  checks.immutable(FieldPath(root, "involvedObject"), current.involved_object, wanted.involved_object);
}

}  // namespace ironcore::api
