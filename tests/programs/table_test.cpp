// SPDX-License-Identifier: Apache-2.0
// Tests of ironcorectl's tables: columns, cutting, what a peer may not put on a terminal.
#include "ironcorectl/table.hpp"

#include <doctest/doctest.h>

#include <sstream>

using namespace ironcore;

namespace {

std::string printed(ctl::Table table, ctl::Terminal terminal) {
  std::ostringstream out;
  table.print(out, terminal);
  return out.str();
}

ctl::Table two_machines() {
  ctl::Table table({"Name", "Image"});
  table.add({"web-1", "oci:/var/lib/ironcore/images/debian:12"});
  table.add({"a-machine-with-a-name", ""});
  return table;
}

}  // namespace

TEST_CASE("columns are as wide as their widest cell and lines have no blanks at their end") {
  CHECK(printed(two_machines(), {}) ==
        "NAME                   IMAGE\n"
        "web-1                  oci:/var/lib/ironcore/images/debian:12\n"
        "a-machine-with-a-name\n");
}

TEST_CASE("on a terminal the widest column is shortened until every line fits") {
  std::istringstream lines(printed(two_machines(), {.is_terminal = true, .width = 40}));
  std::size_t cut = 0;
  for (std::string line; std::getline(lines, line);) {
    CHECK(ctl::width_of(line) <= 40);
    cut += line.ends_with("…") ? 1 : 0;
  }
  CHECK(cut == 2);
}

TEST_CASE("a terminal that is too narrow for anything still gets a table") {
  CHECK(printed(two_machines(), {.is_terminal = true, .width = 1}).find("web-1") != std::string::npos);
}

TEST_CASE("control characters of cells do not reach the terminal") {
  ctl::Table table({"Name"});
  table.add({"a\x1b[2Jb\nc"});
  CHECK(printed(std::move(table), {}) == "NAME\na?[2Jb?c\n");
}

TEST_CASE("code points count once, and a cut never splits one") {
  CHECK(ctl::width_of("größe") == 5);
  CHECK(ctl::shortened("größe", 4) == "grö…");
  CHECK(ctl::shortened("größe", 5) == "größe");
}

TEST_CASE("rows that come later keep the columns of the first print") {
  ctl::Table table({"Name", "State"});
  table.add({"web-1", "Pending"});
  std::ostringstream out;
  table.print(out, {});
  table.add({"web-1", "Running"});
  table.print_more(out);
  CHECK(out.str() == "NAME   STATE\nweb-1  Pending\nweb-1  Running\n");
}
