// SPDX-License-Identifier: Apache-2.0
// One example of each message, byte for byte in both directions, and how two protocol versions meet.
#include <doctest/doctest.h>

#include <fstream>
#include <functional>
#include <iterator>

#include "../wire_messages.hpp"
#include "messages.hpp"
#include "site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t session = 0x1122334455667788;

/// Reads a message of this type, and writes what was read.
template <class Message>
Result<std::string> again(MessageType type, std::string_view bytes) {
  IRONCORE_TRY(const auto envelope, read_envelope(bytes));
  CHECK(envelope.type == type);
  Message message;
  IRONCORE_CHECK(decode(envelope.body, message));
  if constexpr (std::is_same_v<Message, Changes>) {
    ChangesWriter writer;
    for (std::size_t i = 0; i < message.count(); ++i) {
      CHECK(fault_of(message.record(i)) == nullptr);
      writer.add(message.record(i));
    }
    return std::move(writer).finish(envelope.session, message);
  } else {
    return encode(envelope.session, message);
  }
}

constexpr auto messages = [](auto each) {
  const auto one = [&]<class Message>(const std::string& name, MessageType type, std::uint64_t of,
                                      const Message& message) {
    each(name, encode(of, message), [type](std::string_view bytes) { return again<Message>(type, bytes); });
  };
  one("open", MessageType::open, 0,
      Open{.name = "host-1", .instance = 0x0006472d3a5b0000, .sequence = 3, .digest = 0x0102030405060708});
  one("welcome", MessageType::welcome, session,
      Welcome{.name = "reflector-1",
              .epoch = 0xaabbccddeeff0011,
              .instance = 0x0006472d3a5b0000,
              .sequence = 2,
              .digest = 0x1112131415161718,
              .lease_ms = 3'000,
              .heartbeat_ms = 1'000,
              .is_ready = 1,
              .has_relayed = 1,
              .bulk = {},
              .publications = "tcp://192.0.2.1:4712"});
  one("refuse", MessageType::refuse, session,
      Refuse{.reason = Refuse::Reason::older_instance, .detail = 0x0006472d3a5b0000, .text = "a later life was here"});
  one("heartbeat", MessageType::heartbeat, session,
      Heartbeat{.is_ready = 0, .has_relayed = 1, .positions = {{{100, View::direct}, 7}, {{100, View::relayed}, 2}}});
  one("close", MessageType::close, session, Close{Close::Reason::leaving});
  one("position", MessageType::position, session,
      routing::Position{.stream = {100, View::direct},
                        .epoch = 0xaabbccddeeff0011,
                        .sequence = 7,
                        .base = 4,
                        .refused = 0,
                        .wants = 16});
  const auto host = static_cast<OriginId>(0xb0b1b2b3b4b5b6b7);
  ChangesWriter writer;
  writer.add(announcement(*parse_route("100#10.0.0.0/24#2001:db8::1,target=7,weight=3,mobility=9"), host, 21));
  writer.add(withdrawal(announcement(*parse_route("100#2001:db8:1::/48#192.0.2.1#nat#1024#2047"), host, 1), 22));
  writer.add(gone(100, static_cast<OriginId>(0xc0c1c2c3c4c5c6c7)));
  each("changes",
       std::move(writer).finish(0, {.stream = {100, View::direct},
                                    .epoch = 0xaabbccddeeff0011,
                                    .from = 4,
                                    .to = 7,
                                    .head = 7,
                                    .digest = 0x2122232425262728,
                                    .is_ready = 1}),
       [](std::string_view bytes) { return again<Changes>(MessageType::changes, bytes); });
};

std::string golden(const std::string& name) {
  std::ifstream file(std::filesystem::path(IRONCORE_GOLDEN) / (name + ".hex"));
  std::string bytes;
  for (std::string line; std::getline(file, line);) {
    for (std::size_t i = 0; i + 1 < line.size(); i += 2)
      bytes += static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::string of_version(std::uint8_t version, std::string message) {
  message[4] = static_cast<char>(version);
  return message;
}

}  // namespace

TEST_CASE("messages of routes are written as in their golden files") {
  test::check_golden_files(IRONCORE_GOLDEN, messages);
}

TEST_CASE("golden files of routes are read, and written again as they were") {
  messages([](const std::string& name, const std::string&, const auto& read_and_write) {
    INFO(name);
    const auto bytes = golden(name);
    REQUIRE(!bytes.empty());
    const auto written = read_and_write(bytes);
    REQUIRE(written.has_value());
    CHECK(test::to_hex(*written) == test::to_hex(bytes));
  });
}

TEST_CASE("a node of another version is refused by the reflector with both versions, and counted") {
  Site site;
  site.add_reflector();
  const auto end = site.wires.add_speaker({site.reflectors[0]->end});
  std::vector<std::string> answers;
  site.wires.attach(end, {[&](PeerId, Channel, std::string_view message) { answers.emplace_back(message); }, {}});
  site.wires.link(end).send(0, Channel::control, of_version(9, encode(0, Open{.name = "a", .instance = 1})));
  site.wires.link(end).send(0, Channel::bulk, of_version(9, ChangesWriter().finish(5, {.epoch = 1})));
  site.run(1ms);
  CHECK(site.reflector(0).status().counters.foreign_version == 2);
  CHECK(site.reflector(0).nodes().empty());
  REQUIRE(answers.size() == 1);
  const auto envelope = read_envelope(answers[0]);
  REQUIRE(envelope.has_value());
  Refuse refuse;
  REQUIRE(decode(envelope->body, refuse).has_value());
  CHECK(refuse.reason == Refuse::Reason::foreign_version);
  CHECK(refuse.text.find("version 9, this is 1") != std::string_view::npos);
  // A refusal is not answered, whatever its version: two sides must not refuse each other for ever.
  for (const auto version : {std::uint8_t{1}, std::uint8_t{9}})
    site.wires.link(end).send(0, Channel::control, of_version(version, encode(0, refuse)));
  site.run(1s);
  CHECK(answers.size() == 1);
}

TEST_CASE("a reflector of another version is not heard, but its refusal is told to the operator") {
  Site site;
  site.add_reflector();
  site.kill_reflector(0);
  const auto a = site.add_speaker("a", {0});
  REQUIRE(site.speaker(a).announce(*parse_route("100#10.0.0.1/32#fd00::a")).has_value());
  std::size_t opens = 0;
  site.wires.attach(
      site.reflectors[0]->end,
      {[&](PeerId peer, Channel channel, std::string_view) {
         ++opens;
         auto& link = site.wires.link(site.reflectors[0]->end);
         link.send(
             peer, channel,
             of_version(9, encode(7, Welcome{.name = "r", .epoch = 1, .lease_ms = 3'000, .heartbeat_ms = 1'000})));
         link.send(peer, channel,
                   of_version(9, encode(0, Refuse{.reason = Refuse::Reason::foreign_version,
                                                  .text = "message has version 1, this is 9"})));
       },
       {}});
  site.run(1s);
  auto status = site.speaker(a).status();
  CHECK(status.foreign_version == 1);
  CHECK(status.reflectors[0].phase == ReflectorSession::Phase::refused);
  CHECK(status.reflectors[0].refusal.find("version 1, this is 9") != std::string::npos);
  CHECK(opens == 1);
  // It is asked again now and then, and heard when it was brought to the same version.
  site.run(30s);
  CHECK(opens >= 3);
  site.start_reflector(0);
  CHECK(site.run_until([&] { return site.reflector(0).status().routes == 1; }, 15s));
}
