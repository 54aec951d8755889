// SPDX-License-Identifier: Apache-2.0
// Writing and reading XML.
#include "xml.hpp"

#include <algorithm>
#include <cstdint>

namespace ironcore::compute::libvirt {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";
constexpr int kDepth = 64;

/// Bytes of the UTF-8 sequence at the start of `text`, 0 if it is none that XML 1.0 allows.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 || first == '\t' || first == '\n' || first == '\r' ? 1 : 0;
  std::size_t length = 0;
  std::uint32_t point = 0;
  std::uint32_t least = 0;
  if ((first & 0xe0) == 0xc0) {
    length = 2, point = first & 0x1f, least = 0x80;
  } else if ((first & 0xf0) == 0xe0) {
    length = 3, point = first & 0x0f, least = 0x800;
  } else if ((first & 0xf8) == 0xf0) {
    length = 4, point = first & 0x07, least = 0x10000;
  } else {
    return 0;
  }
  if (text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3f);
  }
  const bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
  return point < least || point > 0x10ffff || is_surrogate || point == 0xfffe || point == 0xffff ? 0 : length;
}

void append_point(std::string& out, std::uint32_t point) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6), put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12), put(0x80 | (point >> 6 & 0x3f)), put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | point >> 18), put(0x80 | (point >> 12 & 0x3f)), put(0x80 | (point >> 6 & 0x3f)),
        put(0x80 | (point & 0x3f));
  }
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == ':' || (static_cast<unsigned char>(c) & 0x80) != 0;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<XmlElement> document() {
    IRONCORE_CHECK(skip_misc());
    IRONCORE_TRY(XmlElement root, element(0));
    IRONCORE_CHECK(skip_misc());
    if (!text_.empty()) return bad("something follows the root element");
    return root;
  }

 private:
  static Error bad(const char* why) { return {ErrorCode::corrupt, std::string("bad XML: ") + why}; }

  bool take(std::string_view token) {
    if (text_.substr(0, token.size()) != token) return false;
    text_.remove_prefix(token.size());
    return true;
  }
  void skip_space() {
    while (!text_.empty() && is_space(text_.front())) text_.remove_prefix(1);
  }
  Result<void> skip_past(std::string_view token) {
    const std::size_t end = text_.find(token);
    if (end == std::string_view::npos) return bad("an unfinished comment or declaration");
    text_.remove_prefix(end + token.size());
    return {};
  }
  Result<void> skip_misc() {
    for (;;) {
      skip_space();
      if (take("<!--")) {
        IRONCORE_CHECK(skip_past("-->"));
      } else if (take("<?")) {
        IRONCORE_CHECK(skip_past("?>"));
      } else {
        return {};
      }
    }
  }
  std::string name() {
    std::size_t length = 0;
    while (length < text_.size() && is_name(text_[length])) ++length;
    std::string out(text_.substr(0, length));
    text_.remove_prefix(length);
    return out;
  }

  Result<std::string> unescape(std::string_view raw) {
    std::string out;
    while (!raw.empty()) {
      if (raw.front() != '&') {
        const std::size_t length = std::min(raw.find('&'), raw.size());
        out += raw.substr(0, length);
        raw.remove_prefix(length);
        continue;
      }
      const std::size_t end = raw.find(';');
      constexpr std::size_t longest_entity = 10;
      if (end > longest_entity) return bad("an unfinished entity");
      const std::string_view entity = raw.substr(1, end - 1);
      raw.remove_prefix(end + 1);
      if (entity == "lt") {
        out += '<';
      } else if (entity == "gt") {
        out += '>';
      } else if (entity == "amp") {
        out += '&';
      } else if (entity == "quot") {
        out += '"';
      } else if (entity == "apos") {
        out += '\'';
      } else if (!entity.empty() && entity.front() == '#') {
        const bool is_hex = entity.size() > 1 && (entity[1] == 'x' || entity[1] == 'X');
        std::uint32_t point = 0;
        const std::string_view digits = entity.substr(is_hex ? 2 : 1);
        if (digits.empty()) return bad("an empty numeric entity");
        for (const char c : digits) {
          int digit = -1;
          if (c >= '0' && c <= '9') digit = c - '0';
          if (is_hex && c >= 'a' && c <= 'f') digit = c - 'a' + 10;
          if (is_hex && c >= 'A' && c <= 'F') digit = c - 'A' + 10;
          if (digit < 0) return bad("a numeric entity that is no number");
          point = point * (is_hex ? 16 : 10) + static_cast<std::uint32_t>(digit);
          if (point > 0x10ffff) return bad("a numeric entity out of range");
        }
        append_point(out, point);
      } else {
        return bad("an unknown entity");
      }
    }
    return out;
  }

  Result<XmlElement> element(int depth) {
    if (depth > kDepth) return bad("too deep");
    if (!take("<")) return bad("an element is missing");
    XmlElement out;
    out.name = name();
    if (out.name.empty()) return bad("an element without a name");
    for (;;) {
      skip_space();
      if (take("/>")) return out;
      if (take(">")) break;
      std::string key = name();
      if (key.empty()) return bad("an attribute without a name");
      skip_space();
      if (!take("=")) return bad("an attribute without a value");
      skip_space();
      const char quote = text_.empty() ? '\0' : text_.front();
      if (quote != '"' && quote != '\'') return bad("an attribute without quotes");
      const std::size_t end = text_.find(quote, 1);
      if (end == std::string_view::npos) return bad("an unfinished attribute");
      IRONCORE_TRY(std::string value, unescape(text_.substr(1, end - 1)));
      text_.remove_prefix(end + 1);
      out.attributes.emplace(std::move(key), std::move(value));
    }
    for (;;) {
      if (text_.empty()) return bad("an unfinished element");
      if (take("</")) {
        if (name() != out.name) return bad("elements overlap");
        skip_space();
        if (!take(">")) return bad("an unfinished end of an element");
        return out;
      }
      if (take("<!--")) {
        IRONCORE_CHECK(skip_past("-->"));
      } else if (take("<![CDATA[")) {
        const std::size_t end = text_.find("]]>");
        if (end == std::string_view::npos) return bad("unfinished character data");
        out.text += text_.substr(0, end);
        text_.remove_prefix(end + 3);
      } else if (take("<?")) {
        IRONCORE_CHECK(skip_past("?>"));
      } else if (text_.front() == '<') {
        IRONCORE_TRY(XmlElement inner, element(depth + 1));
        out.children.push_back(std::move(inner));
      } else {
        const std::size_t end = std::min(text_.find('<'), text_.size());
        IRONCORE_TRY(const std::string piece, unescape(text_.substr(0, end)));
        out.text += piece;
        text_.remove_prefix(end);
      }
    }
  }

  std::string_view text_;
};

}  // namespace

std::string xml_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) {
      out += kReplacement;
      text.remove_prefix(1);
      continue;
    }
    switch (text.front()) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&apos;";
        break;
      // A parser would turn these into spaces inside an attribute.
      case '\t':
        out += "&#9;";
        break;
      case '\n':
        out += "&#10;";
        break;
      case '\r':
        out += "&#13;";
        break;
      default:
        out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

const XmlElement* XmlElement::child(std::string_view child_name) const {
  const auto found =
      std::find_if(children.begin(), children.end(), [&](const XmlElement& one) { return one.name == child_name; });
  return found == children.end() ? nullptr : &*found;
}

std::string_view XmlElement::attribute(const std::string& attribute_name) const {
  const auto found = attributes.find(attribute_name);
  return found == attributes.end() ? std::string_view() : std::string_view(found->second);
}

Result<XmlElement> parse_xml(std::string_view text) {
  return Parser(text).document();
}

}  // namespace ironcore::compute::libvirt
