// SPDX-License-Identifier: Apache-2.0
// Selectors: what they match, what is refused, and that their text means the same.
#include "ironcore/store/selector.hpp"

#include <doctest/doctest.h>

#include "objects.hpp"

using namespace ironcore;
using ironcore::store::FieldSelector;
using ironcore::store::LabelSelector;

namespace {

bool selects(const char* text, const std::map<std::string, std::string>& labels) {
  return LabelSelector::parse(text).value().matches(labels);
}

}  // namespace

TEST_CASE("a label selector selects as in Kubernetes") {
  const std::map<std::string, std::string> web{
      {"app", "web"}, {"tier", "front"}, {"empty", ""}, {"test.dev/role", "x"}};
  for (const auto* text : {"",
                           "  ",
                           "app=web",
                           "app==web",
                           "app = web",
                           " app=web , tier=front ",
                           "tier!=back",
                           "missing!=x",
                           "app in (web)",
                           "app in (db, web)",
                           "app notin (db)",
                           "missing notin (a,b)",
                           "app",
                           "!missing",
                           "! missing",
                           "empty=",
                           "empty",
                           "app=web,tier in (front,back),!x",
                           "test.dev/role=x",
                           "empty in ()",
                           "empty in (,a)"}) {
    CAPTURE(text);
    CHECK(selects(text, web));
  }
  for (const auto* text : {"app=db", "app=", "app!=web", "missing", "missing=x", "missing=", "!app",
                           "app notin (web,db)", "missing in (a)", "app=web,tier=back", "empty!=", "app in ()"}) {
    CAPTURE(text);
    CHECK_FALSE(selects(text, web));
  }
}

TEST_CASE("a malformed label selector is refused with the part that is wrong") {
  for (const auto* text :
       {"=web", "app=web,", ",", "app in web", "app in (web", "app in", "app within (a)", "app ? x", "!app=web", "!",
        "app=we b", "-app=web", "app=-", "app=web)", "a b", "app=a=b", "app!web", "app in (a))", "app=\n"}) {
    CAPTURE(text);
    const auto selector = LabelSelector::parse(text);
    REQUIRE(selector.has_error());
    CHECK(selector.error().code() == ErrorCode::invalid);
    CHECK(selector.error().message().starts_with("label selector"));
    CHECK(selector.error().message().find('\n') == std::string::npos);
  }
  CHECK(LabelSelector::parse(std::string(100'000, 'a')).has_error());
}

TEST_CASE("the text of a label selector selects the same") {
  for (const auto* text :
       {"", "app=web", "app!=web", "app in (a,b)", "app notin (a,b)", "app", "!app", "a=b,c!=d,e in (f),!g,h"}) {
    CAPTURE(text);
    const auto selector = LabelSelector::parse(text).value();
    CHECK(selector.to_text() == text);
    CHECK(LabelSelector::parse(selector.to_text()).value() == selector);
    CHECK(selector.is_empty() == (text[0] == 0));
  }
}

TEST_CASE("a field selector compares any scalar field") {
  auto value = test::machine_on("web-1", "pool-a");
  value.metadata.labels["odd"] = "a,b=c\\d";
  const auto object = api::Object::of(value);
  for (const auto* text :
       {"", "metadata.name=web-1", "metadata.name==web-1", "metadata.name!=x", "metadata.namespace=default",
        "spec.machinePoolRef.name=pool-a", "spec.power=On", "spec.missing=", "spec.missing!=x",
        "metadata.name=web-1, spec.power=On", R"(metadata.labels.odd=a\,b\=c\\d)"}) {
    CAPTURE(text);
    CHECK(FieldSelector::parse(text).value().matches(object));
  }
  for (const auto* text : {"metadata.name=web-2", "metadata.name!=web-1", "spec.machinePoolRef.name=", "spec.missing=x",
                           "spec.power=On,metadata.name=x"}) {
    CAPTURE(text);
    CHECK_FALSE(FieldSelector::parse(text).value().matches(object));
  }
}

TEST_CASE("a field selector tells which value it requires") {
  const auto selector = FieldSelector::parse("a.b=c,d!=e").value();
  REQUIRE(selector.required("a.b") != nullptr);
  CHECK(*selector.required("a.b") == "c");
  CHECK(selector.required("d") == nullptr);
  CHECK(selector.required("x") == nullptr);
}

TEST_CASE("a malformed field selector is refused") {
  for (const auto* text :
       {"a", "=b", "a=b,", ",", ".a=b", "a.=b", "a..b=c", "a=b=c", R"(a=\x)", R"(a=b\)", "a b=c", "!=c"}) {
    CAPTURE(text);
    const auto selector = FieldSelector::parse(text);
    REQUIRE(selector.has_error());
    CHECK(selector.error().code() == ErrorCode::invalid);
  }
}

TEST_CASE("the text of a field selector selects the same") {
  for (const auto* text : {"", "a=b", "a!=b", "a.b.c=", R"(a=x\,y\=z\\)", "a=b,c!=d"}) {
    CAPTURE(text);
    const auto selector = FieldSelector::parse(text).value();
    CHECK(selector.to_text() == text);
    CHECK(FieldSelector::parse(selector.to_text()).value() == selector);
  }
}
