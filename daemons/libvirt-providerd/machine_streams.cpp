// SPDX-License-Identifier: Apache-2.0
// One thread for each console or log that somebody looks at.
#include "libvirt-providerd/machine_streams.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "program/stream_request.hpp"

namespace ironcore::providerd {
namespace {

constexpr auto key_latency =
    std::chrono::milliseconds(20);                         // a key press waits at most this long for the guest's output
constexpr auto log_poll = std::chrono::milliseconds(300);  // a log that is followed is read so often
constexpr auto patience = std::chrono::seconds(10);  // for the client's first line, and for a client that does not read
constexpr std::size_t whole_log = 64 << 20;          // more than is ever kept

/// Hands all bytes over; waits for a client that reads slowly, as long as it takes.
Result<void> send(store::zmq::Stream& stream, std::string_view bytes, Clock& clock, const std::stop_token& stop) {
  while (!bytes.empty()) {
    IRONCORE_TRY(const std::size_t taken, stream.write(bytes, clock.now() + patience, stop));
    bytes.remove_prefix(taken);
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, "the provider stops");
  }
  return {};
}

/// The first line that the client sends.
Result<std::string> read_line(store::zmq::Stream& stream, Clock& clock, const std::stop_token& stop) {
  const Instant deadline = clock.now() + patience;
  std::string line;
  while (line.find('\n') == std::string::npos) {
    IRONCORE_TRY(const std::string bytes, stream.read(deadline, stop, 100));
    if (bytes.empty() || line.size() > 100) return Error(ErrorCode::invalid, "the log request did not come");
    line += bytes;
  }
  return line;
}

}  // namespace

std::string_view last_lines(std::string_view text, std::uint64_t count) {
  if (count == 0) return text;
  std::size_t start = text.size();
  while (start > 0 && count > 0) {
    // The line break before `start` is the end of the line that is taken.
    const auto at = start < 2 ? std::string_view::npos : text.rfind('\n', start - 2);
    start = at == std::string_view::npos ? 0 : at + 1;
    --count;
  }
  return text.substr(start);
}

std::string_view appended(std::string_view before, std::string_view now) {
  if (now.starts_with(before)) return now.substr(before.size());
  // The oldest part was dropped: the longest end of `before` that is a beginning of `now`. Knuth, Morris and Pratt, because
  // logs repeat themselves, and trying each place would take the square of their size.
  if (before.size() > now.size()) before.remove_prefix(before.size() - now.size());
  std::vector<std::uint32_t> border(before.size(), 0);
  const auto grow = [&](std::uint32_t matched, char next) {
    while (matched > 0 && (matched == border.size() || now[matched] != next)) matched = border[matched - 1];
    return now[matched] == next ? matched + 1 : matched;
  };
  for (std::size_t i = 1; i < border.size(); ++i) border[i] = grow(border[i - 1], now[i]);
  std::uint32_t matched = 0;
  for (const char c : before) matched = grow(matched, c);
  return now.substr(matched);
}

template <class F>
Result<void> MachineStreams::start(F body) {
  const std::lock_guard lock(mutex_);
  std::erase_if(sessions_, [](const Session& session) { return session.is_over; });
  if (sessions_.size() >= most_streams) {
    return Error(ErrorCode::exhausted, "too many consoles and logs are open on this host: close some");
  }
  Session& session = sessions_.emplace_back();
  session.thread = std::jthread([this, &session, body = std::move(body)](std::stop_token stop) mutable {
    body(std::move(stop));
    const std::lock_guard inner(mutex_);
    session.is_over = true;
  });
  return {};
}

Result<void> MachineStreams::take(const store::zmq::StreamRequest& request,
                                  std::unique_ptr<store::zmq::Stream> stream) {
  const auto shared = std::shared_ptr<store::zmq::Stream>(std::move(stream));
  log_.info("stream asked for",
            {{"what", request.what}, {"machine", request.object.to_text()}, {"identity", request.identity}});
  if (request.what == program::console_stream) {
    IRONCORE_TRY(auto opened, machines_.console(request.object.namespace_, request.object.name));
    const auto console = std::shared_ptr<compute::Console>(std::move(opened));
    return start([this, shared, console](std::stop_token stop) { copy_console(*console, *shared, std::move(stop)); });
  }
  if (request.what == program::log_stream) {
    return start(
        [this, shared, key = request.object](std::stop_token stop) { copy_log(key, *shared, std::move(stop)); });
  }
  return Error(ErrorCode::unsupported, "this provider has no stream \"" + request.what + '"');
}

void MachineStreams::stop() {
  {
    const std::lock_guard lock(mutex_);
    for (Session& session : sessions_) session.thread.request_stop();
  }
  // The threads take the lock once more, so it cannot be held while they are joined; nobody adds sessions any
  // more.
  for (Session& session : sessions_) {
    if (session.thread.joinable()) session.thread.join();
  }
  const std::lock_guard lock(mutex_);
  sessions_.clear();
}

void MachineStreams::close(store::zmq::Stream& stream, std::string_view reason) {
  stream.close(reason, clock_.now() + patience);
}

void MachineStreams::copy_console(compute::Console& console, store::zmq::Stream& stream, std::stop_token stop) {
  while (!stop.stop_requested()) {
    const auto output = console.read(clock_.now() + key_latency, stop);
    if (!output) return close(stream, output.error().message());
    if (!output->empty() && !send(stream, *output, clock_, stop)) break;
    auto input = stream.read(clock_.now(), stop);
    if (!input) break;  // the client left
    if (!input->empty()) {
      const auto written = console.write(*input, clock_.now() + patience);
      if (!written) return close(stream, written.error().message());
    }
  }
  close(stream, "the provider stops");
}

void MachineStreams::copy_log(const store::Key& machine, store::zmq::Stream& stream, std::stop_token stop) {
  const auto line = read_line(stream, clock_, stop);
  if (!line) return close(stream, line.error().message());
  const auto request = program::parse_log_request(*line);
  if (!request) return close(stream, request.error().message());
  auto text = machines_.console_log(machine.namespace_, machine.name, whole_log);
  if (!text) return close(stream, text.error().message());
  if (!send(stream, last_lines(*text, request->tail), clock_, stop)) return;
  while (request->is_follow && !stop.stop_requested()) {
    auto input = stream.read(clock_.now() + log_poll, stop);
    if (!input) return;  // the client left
    auto now = machines_.console_log(machine.namespace_, machine.name, whole_log);
    if (!now) return close(stream, now.error().message());
    if (!send(stream, appended(*text, *now), clock_, stop)) return;
    text = std::move(now);
  }
  close(stream, "end of the log");
}

}  // namespace ironcore::providerd
