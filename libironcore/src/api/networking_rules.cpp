// SPDX-License-Identifier: Apache-2.0
// Defaults and rules of NetworkInterface.
#include "rules.hpp"

namespace ironcore::api {

namespace {

using Reason = Checks::Reason;

PrefixSpec* template_of(std::optional<EphemeralPrefix>& source) {
  return source && source->prefix_template ? &source->prefix_template->spec : nullptr;
}

std::optional<IpFamily> source_family(IpSource& source) {
  if (source.value) return family_of(*source.value);
  const auto* const spec = template_of(source.ephemeral);
  return spec == nullptr ? std::nullopt : spec->ip_family;
}

/// The template, if there is one to check further.
const PrefixSpec* check_template(const FieldPath& at, const std::optional<PrefixTemplate>& wanted, Checks& checks) {
  if (!wanted) {
    checks.add(at, Reason::required, "is required: what the prefix is made from");
    return nullptr;
  }
  check_template_metadata(FieldPath(at, "metadata"), wanted->metadata, checks);
  check_prefix_spec(FieldPath(at, "spec"), wanted->spec, checks);
  return &wanted->spec;
}

void check_ip(const FieldPath& at, const IpSource& source, std::optional<IpFamily> family, Checks& checks) {
  constexpr std::string_view one_address = "must be a single address: ";
  OneSource one(at, checks);
  if (one.take("value", source.value.has_value()) && family && family_of(*source.value) != *family)
    checks.add(FieldPath(at, "value"), Reason::invalid, "is not of the family at its place in ipFamilies");
  if (one.take("ephemeral", source.ephemeral.has_value())) {
    const FieldPath ephemeral(at, "ephemeral");
    const FieldPath pattern(ephemeral, "prefixTemplate");
    const FieldPath inside(pattern, "spec");
    if (const auto* const spec = check_template(pattern, source.ephemeral->prefix_template, checks)) {
      if (family && spec->ip_family && *spec->ip_family != *family)
        checks.add(FieldPath(inside, "ipFamily"), Reason::forbidden, "must be that at its place in ipFamilies");
      if (spec->prefix && !spec->prefix->is_host())
        checks.add(FieldPath(inside, "prefix"), Reason::forbidden, std::string(one_address) + "a /32 or a /128");
      const auto bits = address_bits(spec->ip_family.value_or(family.value_or(IpFamily::ipv4)));
      if (spec->prefix_length != 0 && spec->prefix_length != bits)
        checks.add(FieldPath(inside, "prefixLength"), Reason::forbidden,
                   std::string(one_address) + std::to_string(bits));
    }
  }
  one.finish("value or ephemeral");
}

void check_ips(const FieldPath& at, const NetworkInterfaceSpec& spec, Checks& checks) {
  const FieldPath families(at, "ipFamilies"), ips(at, "ips");
  // Beyond the original: on the user-mode network of its host an interface needs no addresses of ours.
  if (spec.ip_families.empty() && (!spec.network_ref.name.empty() || !spec.ips.empty()))
    checks.add(families, Reason::required, "is required: IPv4, IPv6 or both");
  std::set<IpFamily> seen;
  for (std::size_t i = 0; i < spec.ip_families.size(); ++i)
    if (!seen.insert(spec.ip_families[i]).second)
      checks.add(FieldPath(families, i), Reason::duplicate, "is used already");
  if (!spec.ip_families.empty() && spec.ips.size() != spec.ip_families.size())
    checks.add(ips, Reason::invalid,
               "must be one for each of ipFamilies: " + std::to_string(spec.ip_families.size()) + ", not " +
                   std::to_string(spec.ips.size()));
  for (std::size_t i = 0; i < spec.ips.size(); ++i)
    check_ip(FieldPath(ips, i), spec.ips[i],
             i < spec.ip_families.size() ? std::optional(spec.ip_families[i]) : std::nullopt, checks);
}

void check_prefixes(const FieldPath& at, const NetworkInterfaceSpec& spec, Checks& checks) {
  for (std::size_t i = 0; i < spec.prefixes.size(); ++i) {
    const FieldPath entry(at, i);
    const auto& source = spec.prefixes[i];
    OneSource one(entry, checks);
    one.take("value", source.value.has_value());
    if (one.take("ephemeral", source.ephemeral.has_value())) {
      const FieldPath ephemeral(entry, "ephemeral");
      check_template(FieldPath(ephemeral, "prefixTemplate"), source.ephemeral->prefix_template, checks);
    }
    one.finish("value or ephemeral");
  }
}

void check_virtual_ip(const FieldPath& at, const VirtualIpSource& source, Checks& checks) {
  OneSource one(at, checks);
  if (one.take("virtualIPRef", source.virtual_ip_ref.has_value()))
    checks.optional_reference(FieldPath(at, "virtualIPRef"), source.virtual_ip_ref);
  if (one.take("ephemeral", source.ephemeral.has_value())) {
    const FieldPath ephemeral(at, "ephemeral");
    const FieldPath pattern(ephemeral, "virtualIPTemplate");
    const auto& wanted = source.ephemeral->virtual_ip_template;
    if (!wanted) {
      checks.add(pattern, Reason::required, "is required: what the virtual IP is made from");
    } else {
      const FieldPath spec(pattern, "spec");
      check_template_metadata(FieldPath(pattern, "metadata"), wanted->metadata, checks);
      if (!wanted->spec.type) checks.add(FieldPath(spec, "type"), Reason::required, "is required: Public");
      if (!wanted->spec.ip_family)
        checks.add(FieldPath(spec, "ipFamily"), Reason::required, "is required: IPv4 or IPv6");
      checks.optional_reference(FieldPath(spec, "targetRef"), wanted->spec.target_ref);
    }
  }
  one.finish("virtualIPRef or ephemeral");
}

}  // namespace

void complete_network_interface_spec(NetworkInterfaceSpec& spec) {
  for (auto& source : spec.prefixes)
    if (auto* const made = template_of(source.ephemeral)) complete_prefix_spec(*made);
  for (auto& source : spec.ips)
    if (auto* const made = template_of(source.ephemeral)) complete_prefix_spec(*made);
  if (spec.ip_families.empty()) {
    for (auto& source : spec.ips) {
      const auto family = source_family(source);
      if (!family) {
        spec.ip_families.clear();
        break;
      }
      spec.ip_families.push_back(*family);
    }
  }
  for (std::size_t i = 0; i < spec.ips.size(); ++i) {
    auto* const made = template_of(spec.ips[i].ephemeral);
    if (made == nullptr) continue;
    if (!made->ip_family && spec.ip_families.size() == spec.ips.size()) made->ip_family = spec.ip_families[i];
    if (!made->prefix && made->prefix_length == 0 && made->ip_family)
      made->prefix_length = address_bits(*made->ip_family);
  }
}

void check_network_interface_spec(const FieldPath& at, const NetworkInterfaceSpec& spec, Checks& checks) {
  // Beyond the original: without a network the interface is on the user-mode network of its host.
  const FieldPath network(at, "networkRef");
  checks.dns_subdomain(FieldPath(network, "name"), spec.network_ref.name);
  checks.optional_reference(FieldPath(at, "machineRef"), spec.machine_ref);
  check_ips(at, spec, checks);
  check_prefixes(FieldPath(at, "prefixes"), spec, checks);
  if (spec.virtual_ip) check_virtual_ip(FieldPath(at, "virtualIP"), *spec.virtual_ip, checks);
  const FieldPath attributes(at, "attributes");
  for (const auto& [key, value] : spec.attributes)
    checks.required(FieldPath::entry(attributes, key), key, "an attribute has a name");
}

void complete(NetworkInterface& object, const NetworkInterface*, Checks&) {
  complete_network_interface_spec(object.spec);
}

void check(const NetworkInterface& object, Checks& checks) {
  const FieldPath root;
  check_network_interface_spec(FieldPath(root, "spec"), object.spec, checks);
}

void check_change(const NetworkInterface& current, const NetworkInterface& wanted, Checks& checks) {
  const FieldPath root;
  const FieldPath spec(root, "spec");
  checks.immutable(FieldPath(spec, "networkRef"), current.spec.network_ref, wanted.spec.network_ref);
  checks.immutable(FieldPath(spec, "ipFamilies"), current.spec.ip_families, wanted.spec.ip_families);
  checks.immutable(FieldPath(spec, "attributes"), current.spec.attributes, wanted.spec.attributes);
}

}  // namespace ironcore::api
