// SPDX-License-Identifier: Apache-2.0
// Tests of what the programs share: log lines, settings, parts that run together.
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "program/command_line.hpp"
#include "program/directory.hpp"
#include "program/endpoint.hpp"
#include "program/log_sink.hpp"
#include "program/serving.hpp"
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

TEST_CASE("the name of a command is a word like any other after a command") {
  std::vector<std::string> shown, removed;
  std::string name;
  Command tool{.name = "tool", .settings = {program::with_letter('n', program::text("name", name, "N", "a name"))}};
  for (auto* target : {&shown, &removed}) {
    tool.commands.push_back({.name = target == &shown ? "get" : "delete",
                             .arguments = {{.name = "WORDS", .least = 0, .most = 10, .target = target}},
                             .run = [] { return 0; }});
  }
  const auto line = read(tool, {"get", "machine", "delete", "get", "-n", "delete", "web-1"});
  REQUIRE_MESSAGE(line.reading.command, line.err);
  CHECK(line.reading.command->name == "get");
  CHECK(shown == std::vector<std::string>{"machine", "delete", "get", "web-1"});
  CHECK(name == "delete");
  CHECK(removed.empty());
}

TEST_CASE("after -- every word is an argument, and -- alone harms nothing") {
  std::vector<std::string> words;
  Command tool{.name = "tool"};
  tool.commands.push_back({.name = "get",
                           .arguments = {{.name = "WORDS", .least = 0, .most = 10, .target = &words}},
                           .run = [] { return 0; }});
  tool.commands.push_back({.name = "version", .run = [] { return 0; }});
  CHECK(read(tool, {"get", "a", "--", "-b"}).reading.command);
  CHECK(words == std::vector<std::string>{"a", "-b"});
  CHECK(read(tool, {"get", "--"}).reading.command);
  CHECK(read(tool, {"--"}).err.find("a command is missing") != std::string::npos);
  CHECK(read(tool, {"version", "--"}).reading.command);
  CHECK(read(tool, {"version", "---"}).err.find("unknown flag ---") != std::string::npos);
  CHECK(read(tool, {"version", "--", "x"}).err.find("one argument too many: \"x\"") != std::string::npos);
}

TEST_CASE("a flag without its value, and a value where none belongs, are told") {
  std::string name;
  bool is_all = false;
  Command tool{.name = "tool",
               .settings = {program::with_letter('n', program::text("name", name, "N", "a name")),
                            program::toggle("all", is_all, "everything")},
               .run = [] { return 0; }};
  CHECK(read(tool, {"--name"}).err == "error: --name needs a value; see `tool --help`\n");
  CHECK(read(tool, {"-n"}).err == "error: --name needs a value; see `tool --help`\n");
  CHECK(read(tool, {"--all=maybe"}).err == "error: --all takes no value; see `tool --help`\n");
  CHECK(read(tool, {"-n=x"}).reading.command);
  CHECK(name == "x");
}

TEST_CASE("help is a word too, unless a command has that name") {
  Command tool{.name = "tool", .summary = "Does it."};
  tool.commands.push_back({.name = "get", .summary = "Shows it.", .run = [] { return 0; }});
  CHECK(read(tool, {"help"}).out.starts_with("Does it."));
  CHECK(read(tool, {"help", "get"}).out.starts_with("Shows it."));
}

TEST_CASE("arguments that repeat are shown so once") {
  std::vector<std::string> words;
  Command tool{.name = "tool", .run = [] { return 0; }};
  tool.arguments = {{.name = "KIND [NAME…]", .help = "which", .least = 0, .most = 9, .target = &words}};
  CHECK(read(tool, {"--help"}).out.find("Usage: tool [KIND [NAME…]] [FLAGS]\n") != std::string::npos);
}

TEST_CASE("endpoints are a path or an address with two more ports above") {
  CHECK(program::parse_endpoint("ipc:///run/api.sock")->path == "/run/api.sock");
  CHECK(program::parse_endpoint("tcp://[::1]:7400")->tcp->address == "[::1]");
  CHECK(program::parse_endpoint("tcp://host:65533")->tcp->port == 65533);
  for (const char* wrong :
       {"", "ipc://", "ipc:///", "ipc://api.sock", "ipc:///run/", "http://foo", "tcp://", "tcp://host", "tcp://:7400",
        "tcp://host:65534", "tcp://host:70000", "tcp://host:x", "tcp://host:"}) {
    CAPTURE(wrong);
    CHECK_FALSE(program::parse_endpoint(wrong).has_value());
  }
  CHECK_FALSE(program::parse_endpoint("ipc:///" + std::string(95, 'a')).has_value());
}

TEST_CASE("who wants a directory waits for one that lets go of it, and not for one that stays") {
  std::string pattern = (std::filesystem::temp_directory_path() / "program-test-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  const std::filesystem::path root = pattern;
  SystemClock clock;
  auto first = program::claim_directory(root, clock, {}).value();
  const auto refused = program::claim_directory(root, clock, {}, Duration::zero());
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == ErrorCode::wrong_state);
  CHECK(refused.error().message().find("in use by another process") != std::string::npos);
  std::stop_source stopped;
  stopped.request_stop();
  CHECK(program::claim_directory(root, clock, stopped.get_token(), std::chrono::hours(1)).has_error());
  {
    const std::jthread ends([&] { first.lock.reset(); });
    const auto second = program::claim_directory(root, clock, {}, std::chrono::minutes(1));
    REQUIRE(second.has_value());
    CHECK(second->id == first.id);
  }
  std::filesystem::remove_all(root);
}

TEST_CASE("a directory of somebody else keeps its mode, one of ours gets the right one") {
  std::string pattern = (std::filesystem::temp_directory_path() / "program-test-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()));
  const std::filesystem::path root = pattern;
  const auto mode_of = [](const std::filesystem::path& path) {
    struct stat found {};
    ::stat(path.c_str(), &found);
    return found.st_mode & 07777;
  };
  CHECK(program::make_directory(root / "deep/new", 0700, "mark"));
  CHECK(mode_of(root / "deep/new") == 0700);

  ::mkdir((root / "open").c_str(), 0700);
  ::chmod((root / "open").c_str(), 01777);
  const auto refused = program::make_directory(root / "open", 0700, "mark");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().find("`chmod 0700 ") != std::string::npos);
  CHECK(mode_of(root / "open") == 01777);

  std::ofstream(root / "open/mark") << "ours";
  CHECK(program::make_directory(root / "open", 0700, "mark"));
  CHECK(mode_of(root / "open") == 0700);
  std::filesystem::remove_all(root);
}

TEST_CASE("a second SIGTERM changes nothing about an orderly end") {
  program::Signals signals;
  ::kill(::getpid(), SIGTERM);
  SystemClock clock;
  while (!signals.stop().stop_requested()) sleep_for(clock, std::chrono::milliseconds(1), {});
  ::kill(::getpid(), SIGTERM);
  ::kill(::getpid(), SIGINT);  // the first one of its kind
  // Both are taken, and this process still is there.
  const auto are_pending = [] {
    sigset_t pending;
    ::sigpending(&pending);
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
  };
  const auto deadline = clock.now() + std::chrono::seconds(30);
  while (are_pending() && clock.now() < deadline) sleep_for(clock, std::chrono::milliseconds(1), {});
  CHECK_FALSE(are_pending());
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

TEST_CASE("SIGHUP does what it is told to for as long as somebody wants it") {
  program::Signals signals;
  SystemClock clock;
  std::atomic<int> count = 0;
  const auto deadline = clock.now() + std::chrono::seconds(30);
  {
    const program::OnHangup guard(signals, [&] { ++count; });
    ::kill(::getpid(), SIGHUP);
    while (count == 0 && clock.now() < deadline) sleep_for(clock, std::chrono::milliseconds(1), {});
    CHECK(count == 1);
    CHECK_FALSE(signals.stop().stop_requested());
  }
  ::kill(::getpid(), SIGHUP);
  while (!signals.stop().stop_requested() && clock.now() < deadline) sleep_for(clock, std::chrono::milliseconds(1), {});
  CHECK(signals.stop().stop_requested());
  CHECK(count == 1);
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

TEST_CASE("addresses for other protocols are read") {
  CHECK(program::parse_tcp_address("127.0.0.1:9464").value().port == 9464);
  CHECK(program::parse_tcp_address("[::1]:9464").value().address == "[::1]");
  CHECK(program::parse_tcp_address("host-1:1").value().address == "host-1");
  for (const char* text :
       {"", ":", "9464", ":9464", "::1:9464", "[::1]", "[::1:9464", "a:", "a:0", "a:65536", "a:x", "a:1 "}) {
    CAPTURE(text);
    CHECK(program::parse_tcp_address(text).error().code() == ErrorCode::invalid);
  }
}

TEST_CASE("endpoints and keys fit together, or the setting that does not is named") {
  const auto said = [](program::Serving serving) {
    const auto checked = program::check_serving(serving);
    return checked ? std::string("right") : checked.error().message();
  };
  CHECK(said({.listen = {"ipc:///run/a.sock"}}) == "right");
  CHECK(said({.listen = {"ipc:///run/a.sock", "tcp://10.0.0.1:7"}, .key_file = "k", .identities_file = "i"}) ==
        "right");
  CHECK(said({}).starts_with("listen: "));
  CHECK(said({.listen = {"x"}}).starts_with("listen: "));
  CHECK(said({.listen = {"tcp://10.0.0.1:7"}}).starts_with("key-file: "));
  CHECK(said({.listen = {"tcp://10.0.0.1:7"}, .key_file = "k"}).starts_with("identities-file: "));
  CHECK(said({.listen = {"ipc:///run/a.sock"}, .identities_file = "i"}).find("are for tcp") != std::string::npos);

  program::Serving serving;
  std::vector<program::Setting> settings;
  add_settings(settings, serving, "where");
  REQUIRE(settings.size() == 3);
  REQUIRE(settings[0].set({"ipc:///a", "tcp://b:1"}).has_value());
  REQUIRE(settings[1].set({"key"}).has_value());
  REQUIRE(settings[2].set({"identities"}).has_value());
  CHECK(serving.listen == std::vector<std::string>{"ipc:///a", "tcp://b:1"});
  CHECK(serving.key_file == "key");
  CHECK(serving.identities_file == "identities");
}
