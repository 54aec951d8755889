// SPDX-License-Identifier: Apache-2.0
// Manifests in YAML and JSON: what values mean, where errors are, what is refused; and printing.
#include "ironcore/api/yaml.hpp"

#include <doctest/doctest.h>

#include "objects.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

/// The JSON of each document on a line, or the error.
std::string parsed(std::string_view text) {
  const auto manifests = parse_manifests(text);
  if (!manifests) return manifests.error().message();
  std::string out;
  for (const auto& manifest : *manifests) out += manifest.json() + "\n";
  return out;
}

/// The JSON of the value of `v`.
std::string value(std::string_view yaml) {
  const auto json = parsed("v: " + std::string(yaml) + "\n");
  return json.starts_with("{\"v\":") ? json.substr(5, json.size() - 7) : json;
}

std::string places(std::string_view text, std::string_view field) {
  const auto manifests = parse_manifests(text).value();
  const auto place = manifests.at(0).find(field);
  return std::to_string(place.line) + ":" + std::to_string(place.column);
}

}  // namespace

TEST_CASE("plain scalars mean what the YAML 1.2 core schema says") {
  struct Row {
    const char* yaml;
    const char* json;
  };
  const Row rows[] = {
      {"null", "null"},
      {"~", "null"},
      {"", "null"},
      {"Null", "null"},
      {"true", "true"},
      {"False", "false"},
      {"TRUE", "true"},
      {"on", "\"on\""},
      {"yes", "\"yes\""},
      {"Off", "\"Off\""},
      {"n", "\"n\""},
      {"tRuE", "\"tRuE\""},
      {"0", "0"},
      {"-0", "-0"},
      {"007", "7"},
      {"+12", "12"},
      {"0o17", "15"},
      {"0x1F", "31"},
      {"0b1", "\"0b1\""},
      {"1_000", "\"1_000\""},
      {"1.50", "1.50"},
      {".5", "0.5"},
      {"5.", "5"},
      {"-.5e+3", "-0.5e+3"},
      {"1e3", "1e3"},
      {"1E3", "1e3"},
      {"00.10", "0.10"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {"500m", "\"500m\""},
      {"10Gi", "\"10Gi\""},
      {"12:30", "\"12:30\""},
      {"2026-11-23", "\"2026-11-23\""},
      {"1.2.3", "\"1.2.3\""},
      {"--", "\"--\""},
      {"+", "\"+\""},
      {".", "\".\""},
      {"e3", "\"e3\""},
      {"1e", "\"1e\""},
      {"0x", "\"0x\""},
      {"0xg", "\"0xg\""},
      {"0o8", "\"0o8\""},
      {"'on'", "\"on\""},
      {"\"5\"", "\"5\""},
      {"'null'", "\"null\""},
      {"\"a\\tb\\u00e4\"", "\"a\\tb\xC3\xA4\""},
      {"\"\"", "\"\""},
      {"!!str 5", "\"5\""},
      {"!!int 5", "5"},
      {"!!float 5", "5"},
      {"!!bool true", "true"},
      {"! 5", "\"5\""},
      {"[1, 'a', {b: c}]", "[1,\"a\",{\"b\":\"c\"}]"},
      {"{}", "{}"},
      {"[]", "[]"},
      {"|\n  a\n   b\n\n  c\n", "\"a\\n b\\n\\nc\\n\""},
      {"|-\n  a\n", "\"a\""},
      {">\n  a\n  b\n", "\"a b\\n\""},
  };
  for (const auto& row : rows) {
    CAPTURE(row.yaml);
    CHECK(value(row.yaml) == row.json);
  }
}

TEST_CASE("what has no JSON form is refused in its place") {
  CHECK(value(".inf") == "line 1, column 4: JSON has no such number; put it in quotes if it is meant as text");
  CHECK(value("-.Inf").starts_with("line 1, column 4: "));
  CHECK(value(".nan").starts_with("line 1, column 4: "));
  CHECK(value("0xFFFFFFFFFFFFFFFFF").starts_with("line 1, column 4: "));
  CHECK(value("!!int text").find("does not fit") != std::string::npos);
  CHECK(value("!!binary aGk=").find("not supported") != std::string::npos);
  CHECK(value("!mine {a: b}").find("not supported") != std::string::npos);
  CHECK(value("!!map [a]").find("does not fit") != std::string::npos);
}

TEST_CASE("several documents, and empty ones between them") {
  CHECK(parsed("") == "");
  CHECK(parsed("# nothing\n") == "");
  CHECK(parsed("---\n---\na: 1\n---\n# only a comment\n---\nb: 2\n...\n") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(parsed("{\"a\":1}\n---\n{\"b\":2}\n") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(parsed("\xEF\xBB\xBF"
               "a: 1\n") == "{\"a\":1}\n");
  CHECK(parsed("%YAML 1.2\n---\na: 1\n") == "{\"a\":1}\n");
}

TEST_CASE("anchors and aliases repeat values, within limits") {
  CHECK(parsed("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]\n") ==
        "{\"a\":{\"b\":[1,2]},\"c\":{\"b\":[1,2]},\"d\":[{\"b\":[1,2]},{\"b\":[1,2]}]}\n");
  CHECK(parsed("- &x one\n- *x\n- &y [*x]\n- *y\n") == "[\"one\",\"one\",[\"one\"],[\"one\"]]\n");
  CHECK(parsed("a: &x 1\nb: &x 2\nc: *x\n") == "{\"a\":1,\"b\":2,\"c\":2}\n");
  CHECK(parsed("a: &x [*x]\n") == "line 1, column 8: an alias cannot stand inside what it stands for");
  CHECK(parsed("a: *nobody\n").starts_with("line 1, column 4: "));
  CHECK(parsed("a: &x b\n*x : c\n") == "line 2, column 1: an alias cannot be the name of a member: write it out");
  CHECK(parsed("a: {b: 1}\nc:\n  <<: {d: 1}\n") ==
        "line 3, column 3: merge keys (<<) are not supported: write the members out");

  // A billion laughs.
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 10; ++i) {
    const auto before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int k = 1; k < 10; ++k) bomb += "," + before;
    bomb += "]\n";
  }
  const auto result = parse_manifests(bomb);
  CHECK(result.error().code() == ErrorCode::exhausted);
  CHECK(result.error().message().find("more than 100000 values") != std::string::npos);
  // The same with few values that are long.
  std::string heavy = "a: &a " + std::string(100'000, 'x') + "\nb: [*a";
  for (int i = 0; i < 100; ++i) heavy += ", *a";
  CHECK(parse_manifests(heavy + "]\n").error().message().find("1.5 MiB") != std::string::npos);
  // And with depth.
  std::string deep = "a0: &a0 [x]\n";
  for (int i = 1; i < 40; ++i)
    deep += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  CHECK(parsed(deep).find("nested deeper than 32 levels") != std::string::npos);
}

TEST_CASE("depth and size are bounded") {
  CHECK(parsed(std::string(32, '[') + std::string(32, ']')) == std::string(32, '[') + std::string(32, ']') + "\n");
  CHECK(parsed(std::string(33, '[') + std::string(33, ']')).find("nested deeper") != std::string::npos);
  CHECK(parsed(std::string(100'000, '[')).starts_with("line 1, column "));
  CHECK(parsed(std::string(2'000, '{')).starts_with("line 1, column "));
  std::string dashes;
  for (int i = 0; i < 500; ++i) dashes += "- ";
  CHECK(parsed(dashes + "x").find("nested deeper") != std::string::npos);
  CHECK(parse_manifests(std::string(5 * 1024 * 1024, ' ')).error().code() == ErrorCode::exhausted);
}

TEST_CASE("limits may be others") {
  std::string list = "[";
  for (int i = 0; i < 150'000; ++i) list += "1,";
  list += "1]";
  CHECK(parse_manifests(list).error().message().find("more than 100000 values") != std::string::npos);
  const auto parsed_list = parse_manifests(list, {.values = 200'000});
  REQUIRE(parsed_list.has_value());
  CHECK(parsed_list->front().json() == list);
  CHECK(parse_manifests("a: [1, 2, 3]\n", {.values = 4}).error().code() == ErrorCode::exhausted);
  CHECK(parse_manifests("a: [1, 2, 3]\n", {.values = 5}).has_value());
  CHECK(parse_manifests("a: 123\n", {.file_bytes = 6}).error().message() ==
        "a manifest file may have up to 0 MiB; this one has 7 bytes");
  CHECK(parse_manifests("a: b\n", {.json_bytes = 4}).error().code() == ErrorCode::exhausted);
  // Documents that are small where they stand, and large as JSON.
  std::string many;
  for (int i = 0; i < 20; ++i) many += "a: &a " + std::string(1000, 'x') + "\nb: [*a, *a, *a, *a]\n---\n";
  CHECK(parse_manifests(many).has_value());
  const auto too_many = parse_manifests(many, {.all_json_bytes = 50'000});
  REQUIRE(too_many.has_error());
  CHECK(too_many.error().code() == ErrorCode::exhausted);
  CHECK(too_many.error().message().find("aliases counted") != std::string::npos);
}

TEST_CASE("brackets are counted before they are read") {
  CHECK(parsed("a: {b: " + std::string(32, '[')) == "line 1, column 39: the value is nested deeper than 32 levels");
  const auto count = [](std::string_view before, std::string_view again, std::string_view after) {
    std::string text(before);
    for (int i = 0; i < 100'001; ++i) text += again;
    return parse_manifests(text += after).error();
  };
  for (const auto& error :
       {count("a: [", "1,", "1]\n"), count("- {a: b}\n- [", "\n1,", "1]\n"), count("a: &x !!seq [", "[],", "]\n"),
        count("{", "a: 1,", "a: 1}"), count("{\"a\": [", "1,", "1]}\n"), count("{\"a\": [", "1,", "\n")}) {
    CHECK(error.code() == ErrorCode::exhausted);
    CHECK(error.message().find("more than 100000 values") != std::string::npos);
  }
  // Not brackets: in texts, quotes and comments.
  const std::string many(100, '[');
  for (const auto& text :
       {"a: |\n  " + many + "\nb: c\n", "- a: >-\n    x\n    " + many + "\n  b: c\n", "a: '" + many + "'\n",
        "a: \"\\\"" + many + "\"\n", "a: x" + many + "\n", "# " + many + "\na: b # " + many + "\n",
        "a: [b, 'c" + many + "', \"d" + many + "\"] # " + many + "\n", "'" + many + "': a\n",
        "--- |\n " + many + "\n--- >\n " + many + "\n"}) {
    CAPTURE(text);
    CHECK(parse_manifests(text).has_value());
  }
  // Behind such a text they count again.
  CHECK(parsed("- a: |\n    x\n  b: " + many).find("nested deeper") != std::string::npos);
  CHECK(parsed("- a: |\n  b: " + many).find("nested deeper") != std::string::npos);
}

TEST_CASE("columns count characters") {
  CHECK(places("{\"\xC3\xA4\": \"\xE2\x82\xAC\", \"b\": 1}", "b") == "1:12");
  CHECK(places("{\xC3\xA4: \xF0\x9F\x98\x80, b: 1}", "b") == "1:8");
  CHECK(parsed("a: {\xC3\xA4\xC3\xA4\xC3\xA4: .inf}\n").starts_with("line 1, column 10: JSON has no such number"));
  CHECK(parsed("{\"\xC3\xA4\" 1}") == "line 1, column 6: a colon is missing after the name of a member");
  CHECK(parsed("x: \xC3\xA4\n\xC3\xA4: \xC3\xA4 'b': c: d\n").starts_with("line 2, column "));
  std::string wide = "k: [";
  for (int i = 0; i < 100; ++i) wide += "\xC3\xA4, ";
  CHECK(places(wide + "{b: 1}]\n", "k[100].b") == "1:306");
}

TEST_CASE("a member that comes twice is refused, in YAML and in JSON") {
  CHECK(parsed("a: 1\nb:\n  c: 1\n  c: 2\n") == "line 4, column 3: the member \"c\" comes twice");
  CHECK(parsed("{\"a\": 1,\n \"a\": 2}") == "line 2, column 2: the member \"a\" comes twice");
  CHECK(parsed("1: a\n'1': b\n").find("twice") != std::string::npos);
}

TEST_CASE("names of members are texts") {
  CHECK(parsed("1: a\ntrue: b\n1.0: c\nyes: d\n") == "{\"1\":\"a\",\"true\":\"b\",\"1.0\":\"c\",\"yes\":\"d\"}\n");
  CHECK(parsed("[a]: b\n").find("a text, not a list") != std::string::npos);
  CHECK(parsed("? {a: b}\n: c\n").find("a text, not a list") != std::string::npos);
  CHECK(parsed("a:\n  : b\n").starts_with("line 2, column 3: the name of a member is missing"));
  CHECK(parsed("~: b\n").find("the name of a member is missing") != std::string::npos);
}

TEST_CASE("malformed YAML is refused with line and column") {
  for (const char* text : {"a: b: c\n",
                           "a: [1, 2\n",
                           "a: {b\n",
                           "a: 'x\n",
                           "a: \"\\q\"\n",
                           "a: \"\\ud800\"\n",
                           "a\nb: c\n",
                           "a: *\n",
                           "a: &\n",
                           "\ta: b\n",
                           "a:\n\t- b\n",
                           "a: @x\n",
                           "a: `x\n",
                           "- a\nb: c\n",
                           "a: 'x\n",
                           "? 'x\n",
                           "a: !!str &b \"x\nc: d\n",
                           "a: 'it''s\n",
                           "a: \"x\\\"\n",
                           "--- a\n--- b\nc: d\n}\n",
                           "]\n",
                           "a: |x\n  b\n",
                           "--- a\nb\n: c"}) {
    CAPTURE(text);
    const auto error = parsed(text);
    CAPTURE(error);
    CHECK(error.starts_with("line "));
  }
  CHECK(parsed("a: \"\xFF\"\n") == "line 1, column 5: this is not UTF-8");
  CHECK(parsed(std::string_view("a: \0\n", 5)) == "line 1, column 4: there is a control character");
  CHECK(parsed("{\"a\": 1,\n \"b\" 2}") == "line 2, column 6: a colon is missing after the name of a member");
}

TEST_CASE("quotes are found behind characters of several bytes and behind line breaks of other systems") {
  CHECK(parsed("a: \xC3\xA4\r\nb: 'x'\r\nc: !!str \"\xE2\x82\xAC\"\r\nd: &e 'it''s'\r\n") ==
        "{\"a\":\"\xC3\xA4\",\"b\":\"x\",\"c\":\"\xE2\x82\xAC\",\"d\":\"it's\"}\n");
  CHECK(parsed("a: \xC3\xA4\r\nb: 'x\r\n").find("the quote that starts here does not end") != std::string::npos);
}

TEST_CASE("a stray mark between documents ends the reading") {
  CHECK(parsed("--- a\n...\n, b\n").starts_with("line 3, column 1: "));
  CHECK(parsed(", b\n").starts_with("line 1, column 1: "));
  CHECK(parsed("a: 1\n, b\n").starts_with("line 2, column 1: "));
}

TEST_CASE("JSON stays as it is, with pairs of surrogates") {
  constexpr std::string_view text = "{\n  \"a\": \"\\ud83d\\ude00\", \"b\": 1e2 }\n";
  CHECK(parse_manifests(text).value().at(0).json() + "\n" == text);
  CHECK(parsed("{a: b}") == "{\"a\":\"b\"}\n");
  CHECK(parsed("{\"a\": 1} # a comment\n") == "{\"a\":1}\n");
  // What starts like JSON is JSON: nobody means YAML by a comma too many.
  CHECK(parsed("{\"a\": 1,}") == "line 1, column 9: the quoted name of a member is missing");
  CHECK(parsed("{\"a\": b}").starts_with("line 1, column 7: a value is expected here"));
  CHECK(parsed("{\"a\": 1} {\"b\": 2}") == "line 1, column 10: something follows the end of the value");
}

TEST_CASE("fields are found by their path") {
  constexpr std::string_view yaml =
      "# first line\n"
      "apiVersion: compute.ironcore.dev/v1alpha1\n"
      "metadata:\n"
      "  labels: {a.b/c: d}\n"
      "spec:\n"
      "  volumes:\n"
      "  - name: root\n"
      "    device: oda\n"
      "  - name: data\n"
      "    localDisk:\n"
      "      image: x\n";
  CHECK(places(yaml, "apiVersion") == "2:1");
  CHECK(places(yaml, "spec.volumes") == "6:3");
  CHECK(places(yaml, "spec.volumes[0].device") == "8:5");
  CHECK(places(yaml, "spec.volumes[1]") == "9:5");
  CHECK(places(yaml, "spec.volumes[1].localDisk.image") == "11:7");
  CHECK(places(yaml, "metadata.labels[a.b/c]") == "4:12");
  CHECK(places(yaml, "spec.volumes[1].localDisk.sizeLimit") == "10:5");
  CHECK(places(yaml, "spec.volumes[7].name") == "6:3");
  CHECK(places(yaml, "spec.volumesX") == "5:1");
  CHECK(places(yaml, "kind") == "2:1");
  CHECK(places("{\n \"a\": {\"b\": [1,\n  {\"c\": 2}]}}", "a.b[1].c") == "3:4");
  CHECK(places("{\n \"a\": {\"b\": [1,\n  {\"c\": 2}]}}", "a.b[0]") == "2:14");
}

TEST_CASE("wrong fields are reported with file, line and column") {
  const auto manifest = parse_manifests(
                            "apiVersion: compute.ironcore.dev/v1alpha1\nkind: Machine\nmetadata:\n  name: "
                            "web-1\nspec:\n  powr: On\n  volumes:\n  - name: 5\n")
                            .value()
                            .at(0);
  const auto object = Object::decode(manifest.json(), UnknownFields::refuse);
  CHECK(locate(object.error(), manifest, "web.yaml") ==
        std::vector<std::string>{"web.yaml:6:3: spec.powr: unknown field (did you mean \"power\"?)",
                                 "web.yaml:8:5: spec.volumes[0].name: must be a string: put the number in quotes"});
  CHECK(locate(Error(ErrorCode::conflict, "somebody was faster"), manifest, "-") ==
        std::vector<std::string>{"-:1:1: somebody was faster"});
}

TEST_CASE("a machine in YAML is the machine in JSON") {
  const auto yaml = to_yaml(running_machine).value();
  CHECK(yaml.starts_with("apiVersion: compute.ironcore.dev/v1alpha1\nkind: Machine\nmetadata:\n  name: web-1\n"));
  CHECK(yaml.find("\n  power: \"On\"\n  networkInterfaces:\n  - name: nic\n    ephemeral:\n") != std::string::npos);
  CHECK(parsed(yaml) == std::string(running_machine) + "\n");
}

TEST_CASE("printed YAML reads back as the same JSON") {
  for (
      const char* json :
      {R"({"a":[],"b":{},"c":null,"d":"","e":[[],[[1,2],[3]],{}]})", R"([{"a":[{"b":1,"c":[2]}]},{"d":"x"}])",
       R"("text")", "17", "[]", "{}",
       R"({"a":"on","b":"1","c":"0x1","d":"null","e":"2026-01-01","f":"12:30","g":"1_0","h":"~","i":"- x","j":"a: b","k":"a #b","l":"a:","m":" x","n":"x ","o":"'q'"})",
       R"({"on":1,"1":2,"a b":3,"a: b":4,"":5,"- ":6,"?":7,"<<":8})",
       "{\"a\":\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\",\"b\":\"\xC2\x85\xEF\xBB\xBF\"}",
       R"({"a":"x\ny\n","b":"x\n y","c":"x\n\n\n","d":"\nx","e":" x\ny","f":"x\t\ny","g":"x \ny","h":"\n","i":"---\n...\n","j":"# no comment\n","k":"a\r\nb"})",
       R"({"l":["x\ny","x\n"],"m":[["x\ny\n"]]})", "{\"a\":\"\\u0001\x7F\\\"\\\\\"}",
       R"({"n":[1.50,-0,1e999,123456789012345678901234567890]})",
       R"({"a":"y","b":"NO","c":"=","d":"%x","e":"@x","f":"`x","g":"!x","h":"&x","i":"*x","j":"|","k":">","l":"[x","m":"}","n":",","o":"x,y","p":"x]"})"}) {
    CAPTURE(json);
    const auto yaml = to_yaml(json).value();
    CAPTURE(yaml);
    // A document that is a null or empty would be left out: wrap it.
    CHECK(parsed(yaml) == parsed(json));
  }
  CHECK(to_yaml("{").has_error());
}

TEST_CASE("texts of several lines are printed as blocks") {
  CHECK(to_yaml(R"({"a":{"b":"line 1\n  line 2\n","c":"x\ny"}})").value() ==
        "a:\n  b: |\n    line 1\n      line 2\n  c: |-\n    x\n    y\n");
}

TEST_CASE("JSON is indented for people") {
  CHECK(to_indented_json(R"({"a":[1,{}],"b":"c"})").value() ==
        "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"c\"\n}\n");
  CHECK(to_indented_json("[1").has_error());
}
