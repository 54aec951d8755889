// SPDX-License-Identifier: Apache-2.0
// What is printed is fetched piece by piece; metalnetd ends it by itself when nobody fetches.
#include "ironcorectl/capture.hpp"

#include <array>
#include <charconv>
#include <ostream>
#include <span>
#include <string_view>

#include "ironcore/api/yaml.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "ironcorectl/dataplane_tables.hpp"

namespace ironcore::ctl {
namespace {

using network::CaptureSpec;
using network::CaptureState;

Error wrong(const std::string& what) {
  return {ErrorCode::invalid, what};
}

/// `192.0.2.1`, `192.0.2.1:4789`, `2001:db8::1`, `[2001:db8::1]:4789`.
Result<network::CaptureUdp> parse_udp(const std::string& text) {
  network::CaptureUdp udp;
  std::string_view address = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find("]:");
    if (end == std::string::npos) return wrong("udp: expected [ADDRESS]:PORT, not " + in_quotes(text));
    address = std::string_view(text).substr(1, end - 1);
    port = std::string_view(text).substr(end + 2);
  } else if (const auto colon = text.find(':');
             colon != std::string::npos && text.find(':', colon + 1) == std::string::npos) {
    address = std::string_view(text).substr(0, colon);
    port = std::string_view(text).substr(colon + 1);
  }
  IRONCORE_TRY(udp.address, within(IpAddress::parse(address), "udp"));
  if (port.data() != nullptr) {
    const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), udp.port);
    if (failed != std::errc() || end != port.data() + port.size() || udp.port == 0)
      return wrong("udp: the port is 1 to 65535, not " + in_quotes(port));
  }
  return udp;
}

Result<CaptureSpec> spec_of(const std::vector<std::string>& words, const CaptureWishes& wishes) {
  if (words.size() < 2)
    return wrong("capture start takes an id and perhaps a filter: `capture start web -w web.pcapng tcp port 80`");
  if (wishes.file.empty() == wishes.udp.empty())
    return wrong("say where to: -w FILE, -w - to print it, or --udp ADDRESS:PORT");
  if (wishes.snap_length < network::least_snap_length || wishes.snap_length > network::most_snap_length)
    return wrong("--snap-length: expected " + std::to_string(network::least_snap_length) + " to " +
                 std::to_string(network::most_snap_length) + ", not " + std::to_string(wishes.snap_length));
  if (wishes.vni > network::most_capture_vni)
    return wrong("--vni: expected 0 to " + std::to_string(network::most_capture_vni) + ", not " +
                 std::to_string(wishes.vni));
  CaptureSpec spec;
  spec.id = words[1];
  for (std::size_t i = 2; i < words.size(); ++i) spec.filter += (i == 2 ? "" : " ") + words[i];
  spec.ports = wishes.ports;
  spec.direction = wishes.direction;
  spec.snap_length = static_cast<std::uint32_t>(wishes.snap_length);
  spec.most_packets = wishes.packets;
  spec.most_bytes = wishes.bytes;
  if (wishes.file == "-") {
    spec.sink = network::CaptureStream{wishes.format};
  } else if (!wishes.file.empty()) {
    using Existing = network::CaptureFile::Existing;
    spec.sink =
        network::CaptureFile{wishes.file, wishes.format, wishes.is_replacing ? Existing::replace : Existing::refuse};
  } else {
    IRONCORE_TRY(auto udp, parse_udp(wishes.udp));
    udp.encapsulation = wishes.encapsulation;
    udp.vni = static_cast<std::uint32_t>(wishes.vni);
    spec.sink = udp;
  }
  IRONCORE_CHECK(check(spec));
  return spec;
}

std::string totals(const CaptureState& state) {
  return std::to_string(state.seen) + " seen, " + std::to_string(state.written) + " written, " +
         std::to_string(state.lost) + " lost";
}

Result<void> print(Session& session, network::zmq::Client& client, const std::string& id) {
  constexpr Duration pause = std::chrono::milliseconds(20);
  for (std::uint64_t offset = 0; !session.stop().stop_requested();) {
    IRONCORE_TRY(const auto chunk, client.read_capture(id, offset));
    session.out().write(chunk.bytes.data(), static_cast<std::streamsize>(chunk.bytes.size()));
    // Whoever stopped reading has seen enough.
    if (const auto flushed = session.flush(); !flushed) {
      if (flushed.error().code() == ErrorCode::cancelled) break;
      return flushed;
    }
    offset += chunk.bytes.size();
    if (chunk.is_last) break;
    if (chunk.bytes.empty()) sleep_for(session.clock(), pause, session.stop());
  }
  return {};
}

Result<void> start(Session& session, const std::vector<std::string>& words, const CaptureWishes& wishes) {
  IRONCORE_TRY(const auto spec, spec_of(words, wishes));
  IRONCORE_TRY(auto* const client, session.dataplane());
  IRONCORE_CHECK(client->start_capture(spec));
  if (!std::holds_alternative<network::CaptureStream>(spec.sink)) {
    session.out() << "capture " << spec.id << " runs\n";
    return {};
  }
  const auto printed = print(session, *client, spec.id);
  const auto stopped = client->stop_capture(spec.id);
  IRONCORE_CHECK(printed);
  IRONCORE_CHECK(stopped);
  session.err() << totals(*stopped) << '\n';
  return {};
}

/// Says which one was perhaps meant.
Error no_such_capture(network::zmq::Client& client, const std::string& id) {
  std::vector<std::string> ids;
  if (const auto captures = client.captures())
    for (const auto& one : *captures) ids.push_back(one.spec.id);
  return {ErrorCode::not_found,
          "there is no capture " + in_quotes(id) + did_you_mean(id, std::span<const std::string>(ids))};
}

Result<void> stop(Session& session, const std::vector<std::string>& words) {
  if (words.size() != 2) return wrong("capture stop takes an id");
  IRONCORE_TRY(auto* const client, session.dataplane());
  const auto stopped = client->stop_capture(words[1]);
  if (!stopped && stopped.error().code() == ErrorCode::not_found) return no_such_capture(*client, words[1]);
  IRONCORE_TRY(const auto& state, stopped);
  session.out() << "capture " << state.spec.id << ": " << totals(state)
                << (state.phase == CaptureState::Phase::failed ? "; it had failed: " + state.reason : "") << '\n';
  return {};
}

Result<void> list(Session& session, const std::vector<std::string>& words, OutputFormat format) {
  if (words.size() != 1) return wrong("capture list takes nothing more");
  IRONCORE_TRY(auto* const client, session.dataplane());
  IRONCORE_TRY(const auto captures, client->captures());
  if (format != OutputFormat::json && format != OutputFormat::yaml) {
    if (captures.empty())
      session.err() << "there are no captures\n";
    else
      print_table(session, std::span<const CaptureState>(captures));
    return {};
  }
  const auto json = to_json(std::span<const CaptureState>(captures));
  IRONCORE_TRY(const auto text, format == OutputFormat::json ? api::to_indented_json(json) : api::to_yaml(json));
  session.out() << text;
  return {};
}

}  // namespace

Result<void> capture(Session& session, const std::vector<std::string>& words, const CaptureWishes& wishes,
                     OutputFormat format) {
  const std::string verb = words.empty() ? "" : words.front();
  if (verb == "start") return start(session, words, wishes);
  if (verb == "stop") return stop(session, words);
  if (verb == "list") return list(session, words, format);
  const std::array<std::string_view, 3> verbs{"start", "stop", "list"};
  return wrong("capture takes start, stop or list" +
               (verb.empty() ? "" : ", not " + in_quotes(verb) + did_you_mean(verb, verbs)));
}

}  // namespace ironcore::ctl
