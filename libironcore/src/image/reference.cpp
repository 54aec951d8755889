// SPDX-License-Identifier: Apache-2.0
// Image references from text.
#include "ironcore/image/reference.hpp"

#include <algorithm>

#include "ironcore/base/text.hpp"

namespace ironcore::image {

namespace {

constexpr std::size_t longest = 4096;

bool is_lower_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_word(char c) {
  return is_lower_alphanumeric(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_tag(std::string_view text) {
  return !text.empty() && text.size() <= 128 && is_word(text.front()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_word(c) || c == '.' || c == '-'; });
}

/// Lower-case words joined by one of `.`, `_`, `__` or dashes.
bool is_repository_part(std::string_view text) {
  if (text.empty() || !is_lower_alphanumeric(text.front()) || !is_lower_alphanumeric(text.back())) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_lower_alphanumeric(text[i])) continue;
    auto end = i;
    while (end < text.size() && text[end] == text[i]) ++end;
    const auto run = end - i;
    const bool joins = text[i] == '-' || (text[i] == '.' && run == 1) || (text[i] == '_' && run <= 2);
    if (!joins || !is_lower_alphanumeric(text[end])) return false;
    i = end - 1;
  }
  return true;
}

bool is_host(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon != std::string_view::npos) {
    const auto port = text.substr(colon + 1);
    if (port.empty() || port.size() > 5 ||
        !std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return false;
    text = text.substr(0, colon);
  }
  return !text.empty() && text.front() != '.' && text.front() != '-' && text.back() != '.' && text.back() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return (is_word(c) && c != '_') || c == '.' || c == '-'; });
}

template <class Check>
bool all_parts(std::string_view path, Check check) {
  for (std::size_t at = 0; at <= path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    if (!check(path.substr(at, end - at))) return false;
    at = end + 1;
  }
  return true;
}

}  // namespace

Result<Reference> Reference::parse(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return Error(ErrorCode::invalid,
                 in_quotes(text) + " is not an image reference: " + std::string(why) +
                     "; write it like oci:/var/lib/images/debian:12 or registry.example/team/debian:12");
  };
  if (text.empty()) return wrong("it is empty");
  if (text.size() > longest) return wrong("it has more than 4096 characters");
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    return wrong("it contains blanks or control characters");

  Reference reference;
  auto rest = text;
  if (rest.starts_with("oci:")) {
    rest.remove_prefix(4);
  } else {
    reference.kind_ = Kind::registry;
  }
  const auto after_slash = [&] { return rest.rfind('/') == std::string_view::npos ? 0 : rest.rfind('/') + 1; };
  if (const auto at = rest.rfind('@'); at != std::string_view::npos && at >= after_slash()) {
    auto digest = crypto::Digest::parse(rest.substr(at + 1));
    if (!digest) return wrong(digest.error().message());
    reference.digest_ = *digest;
    rest = rest.substr(0, at);
  }
  if (const auto colon = rest.rfind(':'); colon != std::string_view::npos && colon >= after_slash()) {
    if (!is_tag(rest.substr(colon + 1)))
      return wrong("the tag after ':' may contain only letters, digits, '_', '.' and '-'");
    reference.tag_ = std::string(rest.substr(colon + 1));
    rest = rest.substr(0, colon);
  }

  if (reference.kind_ == Kind::layout) {
    while (rest.size() > 1 && rest.back() == '/') rest.remove_suffix(1);
    if (!rest.starts_with('/') || rest.size() < 2) return wrong("the path of the layout must be absolute");
    if (!all_parts(rest, [](std::string_view part) { return part != ".." && part != "."; }))
      return wrong("the path of the layout must not contain '.' or '..'");
    // Behind a trailing slash they would be part of the name here and a tag or digest once the slash is gone.
    if (rest.find_first_of(":@", after_slash()) != std::string_view::npos)
      return wrong("the last part of the layout's path must not contain ':' or '@'");
    reference.location_ = rest;
    return reference;
  }
  const auto slash = rest.find('/');
  const auto first = rest.substr(0, slash);
  const bool has_host =
      slash != std::string_view::npos &&
      (first.find('.') != std::string_view::npos || first.find(':') != std::string_view::npos || first == "localhost");
  const auto host = has_host ? std::string(first) : std::string("docker.io");
  const auto repository = has_host                          ? std::string(rest.substr(slash + 1))
                          : slash == std::string_view::npos ? "library/" + std::string(rest)
                                                            : std::string(rest);
  if (!is_host(host)) return wrong("the registry's host is malformed");
  if (repository.size() > 255 || !all_parts(repository, is_repository_part))
    return wrong("the repository must be at most 255 characters: lower-case words joined by '/', '-', '.' or '_'");
  reference.location_ = host + "/" + repository;
  return reference;
}

std::string Reference::to_text() const {
  std::string text = kind_ == Kind::layout ? "oci:" + location_ : location_;
  if (tag_) text += ":" + *tag_;
  if (digest_) text += "@" + digest_->to_text();
  return text;
}

}  // namespace ironcore::image
