// SPDX-License-Identifier: Apache-2.0
// ipam.ironcore.dev, as far as network interfaces need it: the Prefix that is made for one.
#pragma once

#include "ironcore/api/references.hpp"
#include "ironcore/base/prefix.hpp"

namespace ironcore::api {

/// A root (neither parent) names its prefix; a child asks a parent for a prefix or for a length.
struct PrefixSpec {
  std::optional<IpFamily> ip_family;  ///< default: that of `prefix`
  std::optional<Prefix> prefix;
  std::int32_t prefix_length = 0;  ///< 0 = none asked for
  std::optional<LocalReference> parent_ref;
  std::optional<LabelSelector> parent_selector;
  Unknown unknown;
  friend bool operator==(const PrefixSpec&, const PrefixSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(PrefixSpec, (), (ip_family, prefix, prefix_length, parent_ref, parent_selector))

struct PrefixTemplate {
  TemplateMetadata metadata;
  PrefixSpec spec;
  Unknown unknown;
  friend bool operator==(const PrefixTemplate&, const PrefixTemplate&) = default;
};
BOOST_DESCRIBE_STRUCT(PrefixTemplate, (), (metadata, spec))

/// A Prefix that lives as long as the object around it.
struct EphemeralPrefix {
  std::optional<PrefixTemplate> prefix_template;
  Unknown unknown;
  friend bool operator==(const EphemeralPrefix&, const EphemeralPrefix&) = default;
};
BOOST_DESCRIBE_STRUCT(EphemeralPrefix, (), (prefix_template))

}  // namespace ironcore::api
