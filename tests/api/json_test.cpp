// SPDX-License-Identifier: Apache-2.0
// Trees of JSON: members by name, texts, numbers that keep their digits.
#include "ironcore/api/json.hpp"

#include <doctest/doctest.h>

using namespace ironcore;
using namespace ironcore::api::json;

namespace {

Tree parsed(std::string_view text) {
  return parse_tree(text, Nulls::keep).value();
}

}  // namespace

TEST_CASE("a tree prints what it read, with every digit") {
  for (const char* text :
       {R"({"a":[1.50,1e99999999999,1234567890.123456789,9007199254740993,-0],"b":{"c":null,"d":"\u0001\n"}})", "[]",
        "{}", "null", "true", "\"\"", "1"})
    CHECK(to_text(parsed(text)) == text);
  CHECK(to_text(parse_tree(R"({"a":null,"b":[null]})", Nulls::drop).value()) == R"({"b":[null]})");
  CHECK(parse_tree(R"({"a":1,"a":2})", Nulls::keep).has_error());
}

TEST_CASE("members are set, made, found and removed by name") {
  auto tree = parsed(R"({"a":1,"metadata":7})");
  tree.set("a", Tree::string("x\"\xC3\xA4"));
  tree.set("b", Tree::list());
  tree.object_at("metadata").object_at("labels").set("k", Tree::string("v"));
  tree.object_at("metadata").object_at("labels").set("k", Tree::string("w"));
  CHECK(to_text(tree) == "{\"a\":\"x\\\"\xC3\xA4\",\"metadata\":{\"labels\":{\"k\":\"w\"}},\"b\":[]}");
  CHECK(tree.find("a")->text() == "x\"\xC3\xA4");
  CHECK(tree.find("c") == nullptr);
  CHECK(tree.find("b")->find("c") == nullptr);
  tree.remove("metadata");
  tree.remove("nothing");
  CHECK(tree.members.size() == 2);
}

TEST_CASE("the text of a scalar is its characters or its JSON") {
  CHECK(parsed(R"("a\u00e4")").text() == "a\xC3\xA4");
  CHECK(parsed("1.50").text() == "1.50");
  CHECK(parsed("true").text() == "true");
  CHECK(parsed("null").text() == "null");
  CHECK(parsed("[1]").text() == "");
}

TEST_CASE("two patches overlap where both change a field") {
  const auto do_overlap = [](std::string_view a, std::string_view b) { return overlaps(parsed(a), parsed(b)); };
  CHECK(!do_overlap(R"({"a":1,"b":{"c":1}})", R"({"b":{"d":1},"e":1})"));
  CHECK(do_overlap(R"({"b":{"c":1}})", R"({"b":{"c":null}})"));
  CHECK(do_overlap(R"({"b":[1]})", R"({"b":{"c":1}})"));
  CHECK(!do_overlap("{}", R"({"b":1})"));
}
