// SPDX-License-Identifier: Apache-2.0
// Defaults and rules of prefixes that are made for other objects.
#include "rules.hpp"

namespace ironcore::api {

IpFamily family_of(const IpAddress& address) {
  return address.is_v4() ? IpFamily::ipv4 : IpFamily::ipv6;
}

std::int32_t address_bits(IpFamily family) {
  return family == IpFamily::ipv4 ? 32 : 128;
}

void complete_prefix_spec(PrefixSpec& spec) {
  if (!spec.ip_family && spec.prefix) spec.ip_family = family_of(spec.prefix->address());
}

namespace {

void check_length(const FieldPath& at, const PrefixSpec& spec, Checks& checks) {
  const auto bits = address_bits(spec.ip_family.value_or(IpFamily::ipv6));
  if (spec.prefix_length < 0 || spec.prefix_length > bits)
    checks.add(at, Checks::Reason::invalid, "must be between 1 and " + std::to_string(bits) + ", or 0 for none");
}

}  // namespace

void check_prefix_spec(const FieldPath& at, const PrefixSpec& spec, Checks& checks) {
  const FieldPath prefix(at, "prefix"), length(at, "prefixLength");
  if (!spec.ip_family) checks.add(FieldPath(at, "ipFamily"), Checks::Reason::required, "is required: IPv4 or IPv6");
  if (spec.prefix && spec.ip_family && family_of(spec.prefix->address()) != *spec.ip_family)
    checks.add(prefix, Checks::Reason::invalid, "is not of the ipFamily beside it");
  check_length(length, spec, checks);
  if (!spec.parent_ref && !spec.parent_selector) {
    if (spec.prefix_length != 0)
      checks.add(length, Checks::Reason::invalid, "needs a parentRef or a parentSelector to take the prefix from");
    if (!spec.prefix)
      checks.add(prefix, Checks::Reason::required, "is required: there is no parent to take a prefix from");
    return;
  }
  if (!spec.prefix && spec.prefix_length == 0)
    checks.add(prefix, Checks::Reason::required, "is required, or else prefixLength");
  if (spec.prefix && spec.prefix_length > 0 && spec.prefix->length() != static_cast<unsigned>(spec.prefix_length))
    checks.add(length, Checks::Reason::invalid, "is not that of prefix " + spec.prefix->to_text());
  checks.optional_reference(FieldPath(at, "parentRef"), spec.parent_ref);
  if (spec.parent_selector) checks.label_selector(FieldPath(at, "parentSelector"), *spec.parent_selector);
}

}  // namespace ironcore::api
