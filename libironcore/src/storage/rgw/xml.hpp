// SPDX-License-Identifier: Apache-2.0
// XML of S3: a small tree, read by expat within bounds, and text made fit for it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::storage::rgw {

/// Attributes, comments and the text between children are left out.
struct XmlElement {
  std::string name;
  std::string text;
  std::vector<XmlElement> children;

  /// The first child of this name, or null.
  const XmlElement* child(std::string_view wanted) const;
  /// Its text; empty if there is none.
  std::string_view text_of(std::string_view wanted) const;
};

/// `corrupt` for what is not well-formed, has a document type, or more depth or elements than any answer of S3.
Result<XmlElement> parse_xml(std::string_view text);

/// `<name>text</name>`, escaped. The text must have no control characters.
std::string xml_element(std::string_view name, std::string_view text);

}  // namespace ironcore::storage::rgw
