// SPDX-License-Identifier: Apache-2.0
// Tests of what the programs share: log lines, settings, parts that run together.
#include <doctest/doctest.h>

#include <sstream>

#include "program/command_line.hpp"
#include "program/log_sink.hpp"
#include "program/together.hpp"

using namespace ironcore;
using program::Command;

namespace {

struct Line {
  program::Reading reading;
  std::string out, err;
};

Line read(const Command& command, std::vector<const char*> words) {
  words.insert(words.begin(), "tool");
  std::ostringstream out, err;
  Line line{program::read_command_line(command, static_cast<int>(words.size()), words.data(), out, err), "", ""};
  line.out = out.str();
  line.err = err.str();
  return line;
}

}  // namespace

TEST_CASE("log lines quote what would break them") {
  CHECK(
      program::logfmt_text("it \"works\"", {{"a", "1"}, {"b", "two words"}, {"c", ""}, {"d", "x=y"}, {"e", "a\nb"}}) ==
      R"(msg="it \"works\"" a=1 b="two words" c="" d="x=y" e="a\nb")");
  CHECK(program::json_text("a\\b", {{"k", std::string("\x01", 1)}}) == R"("msg":"a\\b","k":"\u0001")");
}

TEST_CASE("flags before and after a command, repeated ones and those with = are read") {
  std::string name = "x";
  std::vector<std::string> files, words;
  bool is_all = false;
  Command tool{.name = "tool", .settings = {program::with_letter('n', program::text("name", name, "N", "a name"))}};
  tool.commands.push_back({.name = "do",
                           .settings = {program::with_letter('f', program::texts("file", files, "F", "files")),
                                        program::with_letter('A', program::toggle("all", is_all, "everything"))},
                           .arguments = {{.name = "WORDS", .least = 0, .most = 10, .target = &words}},
                           .run = [] { return 0; }});
  const auto line = read(tool, {"do", "-f", "a", "one", "--file=b", "-A", "two", "-n", "y", "-f", "-"});
  REQUIRE_MESSAGE(line.reading.command, line.err);
  CHECK(line.reading.command->name == "do");
  CHECK(files == std::vector<std::string>{"a", "b", "-"});
  CHECK(words == std::vector<std::string>{"one", "two"});
  CHECK(name == "y");
  CHECK(is_all);
  CHECK(line.reading.given == std::set<std::string>{"all", "file", "name"});
}

TEST_CASE("one argument too many and one too few are told") {
  std::vector<std::string> words;
  Command tool{.name = "tool", .run = [] { return 0; }};
  tool.arguments = {{.name = "TARGET", .help = "the file to make", .target = &words}};
  CHECK(read(tool, {"a", "b"}).err == "error: one argument too many: \"b\"; see `tool --help`\n");
  CHECK(read(tool, {}).err == "error: TARGET is missing: the file to make; see `tool --help`\n");
  CHECK(read(tool, {}).reading.exit_code == program::exit_usage);
}

TEST_CASE("help wins over everything that is wrong") {
  std::uint64_t number = 1;
  const Command tool{
      .name = "tool", .summary = "Does it.", .settings = {program::count("number", number, "how many")}, .run = [] {
        return 0;
      }};
  const auto line = read(tool, {"--number", "x", "--help"});
  CHECK(line.reading.exit_code == 0);
  CHECK(line.out.find("Does it.") == 0);
  CHECK(line.out.find("(default 1)") != std::string::npos);
}

TEST_CASE("sizes, times and labels are read and printed the same") {
  std::uint64_t size = 0;
  Duration time{};
  std::map<std::string, std::string> labels;
  const auto round = [](const program::Setting& setting, std::vector<std::string> words) {
    REQUIRE(setting.set(words));
    CHECK(setting.get() == words);
  };
  round(program::bytes("size", size, ""), {"512Mi"});
  CHECK(size == 512u << 20);
  round(program::duration("time", time, ""), {"1m30s"});
  round(program::labels("labels", labels, ""), {"rack=r1", "topology.ironcore.dev/zone=a"});
  CHECK_FALSE(program::labels("labels", labels, "").set({"no label"}));
  CHECK_FALSE(program::bytes("size", size, "").set({"-1"}));
  CHECK_FALSE(program::duration("time", time, "").set({"-5s"}));
  CHECK(size == 512u << 20);
}

TEST_CASE("a part that fails takes the others with it and is named") {
  program::Signals signals;
  bool is_stopped = false;
  const auto waits = [&](std::stop_token stop) -> Result<void> {
    SystemClock clock;
    is_stopped = !sleep_until(clock, Instant::max(), stop);
    return {};
  };
  const auto fails = [](std::stop_token) -> Result<void> { return Error(ErrorCode::exhausted, "no room"); };
  const auto done = program::run_together(signals, {{"waits", waits}, {"fails", fails}}, [] { return Result<void>(); });
  REQUIRE_FALSE(done);
  CHECK(done.error().message() == "fails: no room");
  CHECK(is_stopped);
}

TEST_CASE("parts end together when the program is told to stop") {
  program::Signals signals;
  const auto waits = [](std::stop_token stop) -> Result<void> {
    SystemClock clock;
    sleep_until(clock, Instant::max(), stop);
    return {};
  };
  CHECK(program::run_together(signals, {{"a", waits}, {"b", waits}}, [&]() -> Result<void> {
    signals.request_stop();
    return {};
  }));
}
