// SPDX-License-Identifier: Apache-2.0
// The table of kinds, and how words find them.
#include <algorithm>
#include <array>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/api/networking.hpp"
#include "ironcore/api/object.hpp"
#include "ironcore/api/storage.hpp"
#include "ironcore/base/names.hpp"

namespace ironcore::api {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace

std::string Kind::api_version() const {
  const auto& names = info();
  std::string text(names.group);
  if (!text.empty()) text += '/';
  return text += names.version;
}

std::string Kind::resource() const {
  const auto& names = info();
  std::string text(names.plural);
  if (!names.group.empty()) text.append(".").append(names.group);
  return text;
}

std::span<const Kind* const> kinds() {
  // By group, then by name.
  static const std::array<const Kind*, 14> all{
      &kind_of<Event>(),        &kind_of<Namespace>(),      &kind_of<Secret>(),           &kind_of<Machine>(),
      &kind_of<MachineClass>(), &kind_of<MachinePool>(),    &kind_of<NetworkInterface>(), &kind_of<Bucket>(),
      &kind_of<BucketClass>(),  &kind_of<BucketPool>(),     &kind_of<Volume>(),           &kind_of<VolumeClass>(),
      &kind_of<VolumePool>(),   &kind_of<VolumeSnapshot>(),
  };
  return all;
}

Result<const Kind*> find_kind(std::string_view word) {
  const auto wanted = lower(word);
  std::vector<std::string> words;
  for (const auto* const kind : kinds()) {
    const auto& names = kind->info();
    if (wanted == names.plural || wanted == lower(names.kind) || wanted == kind->resource() ||
        (!names.short_name.empty() && wanted == names.short_name))
      return kind;
    words.emplace_back(names.plural);
    words.push_back(lower(names.kind));
  }
  std::string list;
  for (const auto* const kind : kinds()) list.append(list.empty() ? "" : ", ").append(kind->info().plural);
  const auto shown = wanted.substr(0, 64);
  return Error(ErrorCode::not_found, "there is no kind \"" + shown + "\"" +
                                         did_you_mean(shown, std::span<const std::string>(words)) + "; there are " +
                                         list);
}

Result<const Kind*> find_kind(std::string_view api_version, std::string_view kind) {
  for (const auto* const candidate : kinds()) {
    const auto& names = candidate->info();
    if (names.kind != kind) continue;
    const auto slash = names.group.empty() ? 0 : names.group.size() + 1;
    if (api_version.size() == slash + names.version.size() && api_version.ends_with(names.version) &&
        api_version.starts_with(names.group) && (slash == 0 || api_version[slash - 1] == '/'))
      return candidate;
    return Error(ErrorCode::not_found, "the apiVersion of kind " + std::string(kind) + " is " +
                                           candidate->api_version() + ", not \"" +
                                           std::string(api_version.substr(0, 64)) + "\"");
  }
  std::vector<std::string_view> names;
  for (const auto* const candidate : kinds()) names.push_back(candidate->info().kind);
  const auto shown = kind.substr(0, 64);
  return Error(ErrorCode::not_found, "there is no kind \"" + std::string(shown) + "\"" +
                                         did_you_mean(shown, std::span<const std::string_view>(names)));
}

}  // namespace ironcore::api
