// SPDX-License-Identifier: Apache-2.0
// Tests of following a log that is read whole each time, and of the words of a log request.
#include "libvirt-providerd/machine_streams.hpp"

#include <doctest/doctest.h>

#include "program/stream_request.hpp"

using namespace ironcore;

TEST_CASE("what was appended to a log is what comes after what was there") {
  CHECK(providerd::appended("", "boot\n") == "boot\n");
  CHECK(providerd::appended("boot\n", "boot\nready\n") == "ready\n");
  CHECK(providerd::appended("boot\n", "boot\n") == "");
}

TEST_CASE("a log that lost its oldest part goes on where it was") {
  CHECK(providerd::appended("one\ntwo\nthree\n", "two\nthree\nfour\n") == "four\n");
  CHECK(providerd::appended("one\ntwo\nthree\n", "three\nfour\n") == "four\n");
  const std::string large(10'000, 'x');
  CHECK(providerd::appended("dropped" + large, large + "new") == "new");
  // Repeats itself almost everywhere: trying each place in turn would not end.
  std::string same;
  for (int i = 0; i < 400'000; ++i) same += "0123456\n";
  CHECK(providerd::appended("x" + same + "tail\n", same.substr(8) + "tail\nnew\n") == "new\n");
  CHECK(providerd::appended(same + "y", same + "z") == same + "z");
}

TEST_CASE("a log that was replaced altogether is printed altogether") {
  CHECK(providerd::appended("old life\n", "BIOS\n") == "BIOS\n");
  CHECK(providerd::appended("something", "") == "");
}

TEST_CASE("the last lines of a log") {
  CHECK(providerd::last_lines("one\ntwo\nthree\n", 2) == "two\nthree\n");
  CHECK(providerd::last_lines("one\ntwo\nlogin: ", 2) == "two\nlogin: ");
  CHECK(providerd::last_lines("one\n\n\n", 2) == "\n\n");
  CHECK(providerd::last_lines("one\ntwo\n", 9) == "one\ntwo\n");
  CHECK(providerd::last_lines("one\ntwo\n", 0) == "one\ntwo\n");
  CHECK(providerd::last_lines("\n", 1) == "\n");
  CHECK(providerd::last_lines("", 3) == "");
}

TEST_CASE("a log request survives the way to the provider") {
  const auto read = program::parse_log_request(program::to_text({.tail = 20, .is_follow = true}));
  REQUIRE(read.has_value());
  CHECK(read->tail == 20);
  CHECK(read->is_follow);
}

TEST_CASE("words of a newer client are ignored, nonsense is refused") {
  const auto newer = program::parse_log_request("tail=5 since=7 follow=0\n");
  REQUIRE(newer.has_value());
  CHECK(newer->tail == 5);
  CHECK(program::parse_log_request("tail=-1\n").has_error());
  CHECK(program::parse_log_request("GET / HTTP/1.1\n").has_error());
}
