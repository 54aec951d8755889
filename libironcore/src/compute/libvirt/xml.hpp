// SPDX-License-Identifier: Apache-2.0
// As much XML as a libvirt client needs: writing with escapes, and reading what libvirt wrote.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::compute::libvirt {

/// Text for an element or a quoted attribute. Markup characters become entities; invalid UTF-8 and control characters,
/// which XML cannot hold, become U+FFFD.
std::string xml_escape(std::string_view text);

struct XmlElement {
  std::string name;  ///< with its prefix
  std::map<std::string, std::string> attributes;
  std::string text;  ///< all direct text, joined
  std::vector<XmlElement> children;

  /// The first child of that name, or null.
  const XmlElement* child(std::string_view child_name) const;
  /// The attribute, or empty.
  std::string_view attribute(const std::string& attribute_name) const;
};

/// The root element. Not a validating parser: declarations, comments and processing instructions are skipped, entities other
/// than the five of XML and numeric ones are refused, nesting is bounded.
Result<XmlElement> parse_xml(std::string_view text);

}  // namespace ironcore::compute::libvirt
