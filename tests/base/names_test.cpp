// SPDX-License-Identifier: Apache-2.0
// Legal names and labels, and suggestions for unknown words.
#include "ironcore/base/names.hpp"

#include <doctest/doctest.h>

#include <array>

using namespace ironcore;

TEST_CASE("DNS labels") {
  for (const auto* text : {"a", "web-1", "0", "a--b"}) CHECK_FALSE(check_dns_label(text));
  CHECK_FALSE(check_dns_label(std::string(63, 'a')));
  for (const auto* text : {"", "-a", "a-", "A", "a.b", "a_b", "a b", "\u00e4", "a\n", "a/b"}) {
    CAPTURE(text);
    CHECK(check_dns_label(text));
  }
  CHECK(*check_dns_label(std::string(64, 'a')) == "must have at most 63 characters");
  CHECK(*check_dns_label("-a") == "must start and end with a lower-case letter or a digit");
}

TEST_CASE("DNS subdomains") {
  for (const auto* text : {"a", "a.b", "topology.ironcore.dev", "a-1.b-2"}) CHECK_FALSE(check_dns_subdomain(text));
  for (const auto* text : {"", ".", ".a", "a.", "a..b", "a.-b", "a-.b", "A.b", "a_b"}) {
    CAPTURE(text);
    CHECK(check_dns_subdomain(text));
  }
  CHECK_FALSE(check_dns_subdomain(std::string(253, 'a')));
  CHECK(check_dns_subdomain(std::string(254, 'a')));
}

TEST_CASE("label keys") {
  for (const auto* text : {"a", "A_b.C-1", "ironcore.dev/zone", "x.y/Z"}) CHECK_FALSE(check_label_key(text));
  for (const auto* text : {"", "/", "a/", "/a", "a/b/c", "A/b", "a b", "-a", "a-", "a./b", "_a"}) {
    CAPTURE(text);
    CHECK(check_label_key(text));
  }
  CHECK_FALSE(check_label_key("a/" + std::string(63, 'b')));
  CHECK(check_label_key("a/" + std::string(64, 'b')));
  CHECK(check_label_key(std::string(254, 'a') + "/b"));
}

TEST_CASE("label values") {
  for (const auto* text : {"", "a", "A_b.C-1", "1"}) CHECK_FALSE(check_label_value(text));
  for (const auto* text : {"-", "a b", "a/b", ".a", "a_"}) {
    CAPTURE(text);
    CHECK(check_label_value(text));
  }
  CHECK(check_label_value(std::string(64, 'a')));
}

TEST_CASE("the nearest known word is found") {
  const std::array<std::string_view, 5> words{"machineClassRef", "machinePoolRef", "power", "volumes", "image"};
  CHECK(nearest("volume", words) == "volumes");
  CHECK(nearest("machineclassref", words) == "machineClassRef");
  CHECK(nearest("POWER", words) == "power");
  CHECK(nearest("pwoer", words) == "power");
  CHECK(nearest("machinePoolref", words) == "machinePoolRef");
  CHECK(did_you_mean("imgae", words) == " (did you mean \"image\"?)");
}

TEST_CASE("nothing is suggested for a word that is far from all others") {
  const std::array<std::string_view, 3> words{"power", "image", "x"};
  CHECK_FALSE(nearest("quantity", words));
  CHECK_FALSE(nearest("", words));
  CHECK_FALSE(nearest("y", words));
  CHECK_FALSE(nearest(std::string(100000, 'a'), words));
  CHECK(did_you_mean("quantity", words).empty());
  CHECK_FALSE(nearest("power", std::span<const std::string_view>()));
}

TEST_CASE("an exact match wins over a change of case, and that over an edit") {
  const std::vector<std::string> words{"Spec", "spec", "spek"};
  CHECK(nearest("spec", words) == "spec");
  CHECK(nearest("SPEC", words) == "Spec");
}
