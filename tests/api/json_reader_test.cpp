// SPDX-License-Identifier: Apache-2.0
// The JSON reader: what it accepts, what it refuses and where it says so.
#include "json_reader.hpp"
#include "ironcore/api/json.hpp"

#include <doctest/doctest.h>

#include "json_writer.hpp"

using namespace ironcore;
using namespace ironcore::api::json;

namespace {

/// The value in its one spelling, or the error.
std::string copied(std::string_view text) {
  Reader reader(text);
  Text out;
  if (!reader.copy(out) || !reader.finish()) return reader.error().message();
  return out.text();
}

std::string nested(std::size_t depth, char open, char close) {
  return std::string(depth, open) + std::string(depth, close);
}

}  // namespace

TEST_CASE("values are copied in one spelling, numbers as they are written") {
  CHECK(copied(" { \"a\" : [ 1 , -0.50e+3 , true , false ] } ") == R"({"a":[1,-0.50e+3,true,false]})");
  CHECK(copied("123456789012345678901234567890.5e999") == "123456789012345678901234567890.5e999");
  CHECK(copied(R"("\u0041\/\"\\\b\f\n\r\t\u00e4\ud83d\ude00")") ==
        "\"A/\\\"\\\\\\u0008\\u000c\\n\\r\\t\xC3\xA4\xF0\x9F\x98\x80\"");
  CHECK(copied("\"\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80\"") == "\"\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80\"");
  CHECK(copied("[]") == "[]");
  CHECK(copied("{}") == "{}");
  CHECK(copied("[[],{}]") == "[[],{}]");
}

TEST_CASE("a member that is null is absent, an element that is null stays") {
  CHECK(copied(R"({"a":null,"b":1,"c":null})") == R"({"b":1})");
  CHECK(copied(R"({"a":null})") == "{}");
  CHECK(copied("[null,1]") == "[null,1]");
}

TEST_CASE("what is not JSON is refused with line, column and reason") {
  CHECK(copied("") == "JSON line 1, column 1: the text ends where a value is expected");
  CHECK(copied("{\n  \"a\": 1,\n  }") == "JSON line 3, column 3: the quoted name of a member is missing");
  CHECK(copied("{\"a\" 1}") == "JSON line 1, column 6: a colon is missing after the name of a member");
  CHECK(copied("{\"a\":1 \"b\":2}") == "JSON line 1, column 8: a comma or } is missing");
  CHECK(copied("[1 2]") == "JSON line 1, column 4: a comma or ] is missing");
  CHECK(copied("[1,]").find("a value is expected") != std::string::npos);
  CHECK(copied("{} {}") == "JSON line 1, column 4: something follows the end of the value");
  CHECK(copied("{'a':1}").find("quoted name") != std::string::npos);
  CHECK(copied("// x\n1").find("a value is expected") != std::string::npos);
  for (const char* text : {"01",        "-",           "+1",  ".5",  "1.",     "1e",      "1e+", "--1",  "0x10",
                           "NaN",       "Infinity",    "tru", "nul", "truex",  "\"",      "\"a", "\"\\", "\"\\x\"",
                           "\"\\u12\"", "\"\\u12g4\"", "[",   "{",   "{\"a\"", "{\"a\":", "[1",  "]"}) {
    CAPTURE(text);
    CHECK(copied(text).starts_with("JSON line 1, column "));
  }
}

TEST_CASE("text that is not UTF-8 is refused") {
  for (const char* text :
       {"\"\x80\"", "\"\xC0\xAF\"", "\"\xC3\"", "\"\xE0\x80\x80\"", "\"\xED\xA0\x80\"", "\"\xF0\x80\x80\x80\"",
        "\"\xF4\x90\x80\x80\"", "\"\xF8\x88\x80\x80\x80\"", "\"\xFF\"", "\"a\\n\xFF\"", "{\"\xFF\":1}"}) {
    CAPTURE(text);
    CHECK(copied(text).find("not UTF-8") != std::string::npos);
  }
  for (const char* text : {R"("\ud83d")", R"("\ude00")", R"("\ud83dx")", R"("\ud83d\u0041")"}) {
    CAPTURE(text);
    CHECK(copied(text).find("surrogate") != std::string::npos);
  }
  CHECK(copied("\"a\nb\"").find("control character") != std::string::npos);
  CHECK(copied(std::string_view("\"a\0b\"", 5)).find("control character") != std::string::npos);
}

TEST_CASE("a member that comes twice is refused, also when one of the two is null") {
  for (const char* text :
       {R"({"a":1,"a":1})", R"({"a":1,"b":{"c":1,"d":2,"c":3}})", R"([{"a":1,"a":2}])", R"({"a":null,"a":1})",
        R"({"a":1,"a":null})", R"({"a":null,"a":null})", R"({"a":1,"\u0061":1})"}) {
    CAPTURE(text);
    CHECK(copied(text).find("twice") != std::string::npos);
  }
}

TEST_CASE("nesting is bounded") {
  CHECK(copied(nested(32, '[', ']')) == nested(32, '[', ']'));
  CHECK(copied(nested(33, '[', ']')) == "JSON line 1, column 33: the value is nested deeper than 32 levels");
  CHECK(copied(nested(1'000'000, '[', ']')).find("nested deeper") != std::string::npos);
  std::string objects;
  for (int i = 0; i < 33; ++i) objects += "{\"a\":";
  CHECK(copied(objects).find("nested deeper") != std::string::npos);
}

TEST_CASE("an object of a quarter of a million members is checked for duplicates in time") {
  std::string text = "{";
  for (int i = 0; i < 250'000; ++i) text += "\"" + std::to_string(i) + "\":1,";
  CHECK(copied(text + "\"x\":1}").size() == text.size() + 6);
  CHECK(copied(text + "\"17\":1}").find("twice") != std::string::npos);
}

TEST_CASE("bytes that are not UTF-8 become U+FFFD when written, so that they can be read again") {
  Text out;
  append_string(out, "a\xFF\xC3\xA4\xC3 \"\\\n\x01");
  CHECK(out.view() == "\"a\xEF\xBF\xBD\xC3\xA4\xEF\xBF\xBD \\\"\\\\\\n\\u0001\"");
  CHECK(copied(out.view()) == out.view());
}

TEST_CASE("times are written as in base") {
  for (const std::int64_t seconds : {0L, 1L, -1L, 951782400L, 1795398308L, 4102444799L}) {
    Text out;
    const WallTime time{std::chrono::seconds(seconds)};
    append_time(out, time);
    CHECK(out.view() == "\"" + to_rfc3339(time) + "\"");
    out.truncate(0);
    append_time(out, time + std::chrono::milliseconds(5));
    CHECK(out.view() == "\"" + to_rfc3339(time + std::chrono::milliseconds(5)) + "\"");
  }
}

TEST_CASE("trees merge as RFC 7386 says") {
  // The table of its appendix A, without the rows whose results contain null.
  const char* rows[][3] = {
      {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
      {R"({"a":"b"})", R"({"a":null})", "{}"},
      {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
      {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
      {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
      {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
      {R"(["a","b"])", R"(["c","d"])", R"(["c","d"])"},
      {R"({"a":"b"})", R"(["c"])", R"(["c"])"},
      {R"({"a":"foo"})", R"("bar")", R"("bar")"},
      {R"([1,2])", R"({"a":"b","c":null})", R"({"a":"b"})"},
      {R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
  };
  for (const auto& row : rows) {
    const auto* target_text = row[0];
    const auto* patch_text = row[1];
    const auto* wanted = row[2];
    CAPTURE(target_text);
    CAPTURE(patch_text);
    auto target = parse_tree(target_text, Nulls::drop).value();
    merge(target, parse_tree(patch_text, Nulls::keep).value());
    CHECK(to_text(target) == wanted);
  }
}

TEST_CASE("the difference of two trees turns one into the other and is empty for equal ones") {
  const char* texts[] = {R"({})",
                         R"({"a":1})",
                         R"({"a":{}})",
                         R"({"a":{"b":[1,{"c":2}],"d":"x"}})",
                         R"({"a":{"b":[1]},"e":true})",
                         R"({"a":{"d":{"f":1.0}}})"};
  for (const char* from : texts) {
    for (const char* to : texts) {
      auto tree = parse_tree(from, Nulls::drop).value();
      const auto target = parse_tree(to, Nulls::drop).value();
      const auto patch = difference(tree, target);
      CHECK((patch.members.empty() == (std::string_view(from) == to)));
      merge(tree, patch);
      CHECK(tree == target);
    }
  }
}

TEST_CASE("indented text is the same value, laid out") {
  CHECK(indented(R"({"a":[1,"x,{}\"[]"],"b":{},"c":[]})") ==
        "{\n  \"a\": [\n    1,\n    \"x,{}\\\"[]\"\n  ],\n  \"b\": {},\n  \"c\": []\n}");
}
