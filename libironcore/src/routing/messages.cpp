// SPDX-License-Identifier: Apache-2.0
// Messages to bytes and back, every length checked.
#include "messages.hpp"

#include <concepts>

namespace ironcore::routing {

namespace {

constexpr std::string_view magic = "ICZM";
constexpr std::size_t envelope_bytes = 24;
constexpr std::size_t changes_bytes = 56;  ///< of a body before its records

class Writer {
 public:
  Writer(std::uint64_t session, MessageType type) {
    out_.append(magic);
    put(protocol_version);
    put(static_cast<std::uint16_t>(type));
    put(session);
    put(std::uint32_t{0});  // nobody waits for an answer
    put(std::uint32_t{0});  // bytes that follow
  }
  template <std::unsigned_integral T>
  void put(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(std::string_view text) {
    put(static_cast<std::uint16_t>(text.size()));
    out_.append(text);
  }
  void put(const StreamName& stream) {
    put(stream.vni);
    put(static_cast<std::uint8_t>(stream.view));
  }
  std::string finish() && {
    const auto bytes = static_cast<std::uint32_t>(out_.size() - envelope_bytes);
    std::memcpy(out_.data() + 20, &bytes, sizeof bytes);
    return std::move(out_);
  }

 private:
  std::string out_;
};

/// The first thing that does not fit makes it fail, and everything after that reads as zero.
class Reader {
 public:
  explicit Reader(std::string_view rest) : rest_(rest) {}
  template <std::unsigned_integral T>
  T take() noexcept {
    T value{};
    if (rest_.size() < sizeof value) return fail(), value;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  std::uint8_t flag() noexcept {
    const auto value = take<std::uint8_t>();
    if (value > 1) fail();
    return value;
  }
  template <class E>
  E word(E first, E last) noexcept {
    const auto value = take<std::uint8_t>();
    if (value < static_cast<std::uint8_t>(first) || value > static_cast<std::uint8_t>(last)) return fail(), first;
    return static_cast<E>(value);
  }
  std::string_view text(std::size_t most) noexcept {
    const std::size_t bytes = take<std::uint16_t>();
    if (bytes > most || bytes > rest_.size()) return fail(), std::string_view();
    const auto text = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return text;
  }
  StreamName stream() noexcept {
    StreamName stream;
    stream.vni = take<std::uint32_t>();
    if (stream.vni > Vni::max) fail();
    stream.view = word(View::own, View::relayed);
    return stream;
  }
  bool has_failed() const noexcept { return has_failed_; }
  std::string_view all() noexcept { return std::exchange(rest_, {}); }
  void fail() noexcept {
    has_failed_ = true;
    rest_ = {};
  }
  Result<void> end() const {
    if (has_failed_) return Error(ErrorCode::corrupt, "message is damaged: a size or value in it cannot be");
    if (!rest_.empty()) return Error(ErrorCode::corrupt, "message is damaged: bytes are left over at its end");
    return {};
  }

 private:
  std::string_view rest_;
  bool has_failed_ = false;
};

}  // namespace

Result<Envelope> read_envelope(std::string_view message) {
  if (message.size() < envelope_bytes || message.substr(0, 4) != magic)
    return Error(ErrorCode::corrupt, "message is none of this protocol");
  Reader reader(message.substr(4, envelope_bytes - 4));
  const auto version = reader.take<std::uint16_t>();
  Envelope envelope;
  envelope.type = static_cast<MessageType>(reader.take<std::uint16_t>());
  envelope.session = reader.take<std::uint64_t>();
  if (version != protocol_version && envelope.type != MessageType::refuse)
    return Error(ErrorCode::unsupported, "message has protocol version " + std::to_string(version) + ", this is " +
                                             std::to_string(protocol_version) + ": update the older side");
  reader.take<std::uint32_t>();
  envelope.body = message.substr(envelope_bytes);
  if (reader.take<std::uint32_t>() != envelope.body.size())
    return Error(ErrorCode::corrupt, "message is damaged: its size is not the one that it says");
  return envelope;
}

std::string encode(std::uint64_t session, const Open& open) {
  Writer out(session, MessageType::open);
  out.put(open.instance);
  out.put(open.sequence);
  out.put(open.digest);
  out.put(open.name);
  return std::move(out).finish();
}

Result<void> decode(std::string_view body, Open& open) {
  Reader in(body);
  open.instance = in.take<std::uint64_t>();
  open.sequence = in.take<std::uint64_t>();
  open.digest = in.take<std::uint64_t>();
  open.name = in.text(max_name_bytes);
  if (open.instance == 0 || open.instance > max_instance || open.name.empty()) in.fail();
  return in.end();
}

std::string encode(std::uint64_t session, const Welcome& welcome) {
  Writer out(session, MessageType::welcome);
  out.put(welcome.epoch);
  out.put(welcome.instance);
  out.put(welcome.sequence);
  out.put(welcome.digest);
  out.put(welcome.lease_ms);
  out.put(welcome.heartbeat_ms);
  out.put(welcome.is_ready);
  out.put(welcome.has_relayed);
  out.put(welcome.name);
  out.put(welcome.bulk);
  out.put(welcome.publications);
  return std::move(out).finish();
}

Result<void> decode(std::string_view body, Welcome& welcome) {
  Reader in(body);
  welcome.epoch = in.take<std::uint64_t>();
  welcome.instance = in.take<std::uint64_t>();
  welcome.sequence = in.take<std::uint64_t>();
  welcome.digest = in.take<std::uint64_t>();
  welcome.lease_ms = in.take<std::uint32_t>();
  welcome.heartbeat_ms = in.take<std::uint32_t>();
  welcome.is_ready = in.flag();
  welcome.has_relayed = in.flag();
  welcome.name = in.text(max_name_bytes);
  welcome.bulk = in.text(max_name_bytes);
  welcome.publications = in.text(max_name_bytes);
  const Duration heartbeat = std::chrono::milliseconds(welcome.heartbeat_ms);
  const Duration lease = std::chrono::milliseconds(welcome.lease_ms);
  if (welcome.epoch == 0 || heartbeat < least_heartbeat || heartbeat > longest_heartbeat || lease < 2 * heartbeat ||
      lease > longest_lease)
    in.fail();
  return in.end();
}

std::string encode(std::uint64_t session, const Refuse& refuse) {
  Writer out(session, MessageType::refuse);
  out.put(static_cast<std::uint8_t>(refuse.reason));
  out.put(refuse.detail);
  out.put(refuse.text);
  return std::move(out).finish();
}

Result<void> decode(std::string_view body, Refuse& refuse) {
  Reader in(body);
  refuse.reason = in.word(Refuse::Reason::forbidden, Refuse::Reason::stream);
  refuse.detail = in.take<std::uint64_t>();
  refuse.text = in.text(1024);
  return in.end();
}

std::string encode(std::uint64_t session, const Heartbeat& heartbeat) {
  Writer out(session, MessageType::heartbeat);
  out.put(heartbeat.is_ready);
  out.put(heartbeat.has_relayed);
  out.put(static_cast<std::uint16_t>(heartbeat.positions.size()));
  for (const auto& position : heartbeat.positions) {
    out.put(position.stream);
    out.put(position.sequence);
  }
  return std::move(out).finish();
}

Result<void> decode(std::string_view body, Heartbeat& heartbeat) {
  Reader in(body);
  heartbeat.is_ready = in.flag();
  heartbeat.has_relayed = in.flag();
  const std::size_t count = in.take<std::uint16_t>();
  if (count > max_positions) in.fail();
  heartbeat.positions.clear();
  for (std::size_t i = 0; i < count && !in.has_failed(); ++i) {
    auto& position = heartbeat.positions.emplace_back();
    position.stream = in.stream();
    position.sequence = in.take<std::uint64_t>();
  }
  return in.end();
}

std::string encode(std::uint64_t session, const Close& close) {
  Writer out(session, MessageType::close);
  out.put(static_cast<std::uint8_t>(close.reason));
  return std::move(out).finish();
}

Result<void> decode(std::string_view body, Close& close) {
  Reader in(body);
  close.reason = in.word(Close::Reason::leaving, Close::Reason::stopping);
  return in.end();
}

std::string encode(std::uint64_t session, const Position& position) {
  Writer out(session, MessageType::position);
  out.put(position.stream);
  out.put(position.wants);
  out.put(position.epoch);
  out.put(position.sequence);
  out.put(position.base);
  out.put(position.refused);
  return std::move(out).finish();
}

Result<void> decode(std::string_view body, Position& position) {
  Reader in(body);
  position.stream = in.stream();
  position.wants = in.take<std::uint8_t>();
  if (position.wants > max_pieces) in.fail();
  position.epoch = in.take<std::uint64_t>();
  position.sequence = in.take<std::uint64_t>();
  position.base = in.take<std::uint64_t>();
  position.refused = in.take<std::uint64_t>();
  return in.end();
}

Result<void> decode(std::string_view body, Changes& changes) {
  Reader in(body);
  changes.stream = in.stream();
  changes.is_ready = in.flag();
  changes.is_restart = in.flag();
  if (in.take<std::uint8_t>() != 0) in.fail();
  changes.epoch = in.take<std::uint64_t>();
  changes.from = in.take<std::uint64_t>();
  changes.to = in.take<std::uint64_t>();
  changes.head = in.take<std::uint64_t>();
  changes.digest = in.take<std::uint64_t>();
  const auto count = in.take<std::uint32_t>();
  if (in.take<std::uint32_t>() != 0) in.fail();
  changes.records = in.all();
  if (count > max_records || changes.records.size() != std::size_t{count} * sizeof(Record) || changes.epoch == 0 ||
      changes.from > changes.to || changes.to > changes.head || count > changes.to - changes.from ||
      (changes.is_restart != 0 && changes.from != 0))
    in.fail();
  return in.end();
}

ChangesWriter::ChangesWriter(std::size_t records) {
  message_.reserve(envelope_bytes + changes_bytes + records * sizeof(Record));
  message_.resize(envelope_bytes + changes_bytes);
}

std::size_t ChangesWriter::count() const noexcept {
  return (message_.size() - envelope_bytes - changes_bytes) / sizeof(Record);
}

std::string ChangesWriter::finish(std::uint64_t session, const Changes& changes) && {
  Writer out(session, MessageType::changes);
  out.put(changes.stream);
  out.put(changes.is_ready);
  out.put(changes.is_restart);
  out.put(std::uint8_t{0});
  out.put(changes.epoch);
  out.put(changes.from);
  out.put(changes.to);
  out.put(changes.head);
  out.put(changes.digest);
  out.put(static_cast<std::uint32_t>(count()));
  out.put(std::uint32_t{0});
  const auto start = std::move(out).finish();
  std::memcpy(message_.data(), start.data(), start.size());
  const auto bytes = static_cast<std::uint32_t>(message_.size() - envelope_bytes);
  std::memcpy(message_.data() + 20, &bytes, sizeof bytes);
  return std::move(message_);
}

}  // namespace ironcore::routing
