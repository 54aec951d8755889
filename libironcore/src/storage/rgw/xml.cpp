// SPDX-License-Identifier: Apache-2.0
// The tree of XML of S3.
#include "xml.hpp"

#include <expat.h>

#include <algorithm>
#include <climits>
#include <memory>

namespace ironcore::storage::rgw {

namespace {

constexpr std::size_t most_depth = 16;
constexpr std::size_t most_elements = 100'000;

struct Build {
  XML_Parser parser = nullptr;
  XmlElement root;                // its only child is the document's
  std::vector<XmlElement*> open;  // the children of an open element do not move: only the last one grows
  std::size_t elements = 0;
  const char* refusal = nullptr;

  void refuse(const char* why) {
    refusal = why;
    XML_StopParser(parser, XML_FALSE);
  }
};

void on_start(void* data, const XML_Char* name, const XML_Char**) {
  auto& build = *static_cast<Build*>(data);
  if (build.open.size() > most_depth) return build.refuse("it is nested too deeply");
  if (++build.elements > most_elements) return build.refuse("it has too many elements");
  XmlElement& parent = *build.open.back();
  parent.text.clear();
  build.open.push_back(&parent.children.emplace_back(XmlElement{.name = name, .text = {}, .children = {}}));
}

void on_end(void* data, const XML_Char*) {
  auto& build = *static_cast<Build*>(data);
  if (!build.open.back()->children.empty()) build.open.back()->text.clear();
  build.open.pop_back();
}

void on_text(void* data, const XML_Char* text, int size) {
  static_cast<Build*>(data)->open.back()->text.append(text, static_cast<std::size_t>(size));
}

void on_document_type(void* data, const XML_Char*, const XML_Char*, const XML_Char*, int) {
  static_cast<Build*>(data)->refuse("it has a document type");
}

}  // namespace

const XmlElement* XmlElement::child(std::string_view wanted) const {
  const auto at = std::ranges::find(children, wanted, &XmlElement::name);
  return at == children.end() ? nullptr : &*at;
}

std::string_view XmlElement::text_of(std::string_view wanted) const {
  const XmlElement* found = child(wanted);
  return found == nullptr ? std::string_view() : found->text;
}

Result<XmlElement> parse_xml(std::string_view text) {
  const auto corrupt = [](const std::string& why) {
    return Error(ErrorCode::corrupt, "an answer that should be XML: " + why);
  };
  if (text.size() > INT_MAX) return corrupt("it is too long");
  const std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser(XML_ParserCreate(nullptr), &XML_ParserFree);
  if (!parser) return Error(ErrorCode::exhausted, "no memory for an XML parser");
  Build build;
  build.parser = parser.get();
  build.open.push_back(&build.root);
  XML_SetUserData(parser.get(), &build);
  XML_SetElementHandler(parser.get(), on_start, on_end);
  XML_SetCharacterDataHandler(parser.get(), on_text);
  XML_SetStartDoctypeDeclHandler(parser.get(), on_document_type);
  if (XML_Parse(parser.get(), text.data(), static_cast<int>(text.size()), XML_TRUE) != XML_STATUS_OK)
    return corrupt(build.refusal != nullptr ? build.refusal : XML_ErrorString(XML_GetErrorCode(parser.get())));
  return std::move(build.root.children.front());
}

std::string xml_element(std::string_view name, std::string_view text) {
  std::string out = "<";
  out.append(name).append(">");
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  out.append("</").append(name).append(">");
  return out;
}

}  // namespace ironcore::storage::rgw
