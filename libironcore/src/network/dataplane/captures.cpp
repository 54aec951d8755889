// SPDX-License-Identifier: Apache-2.0
// Locks are taken in this order: starting, a capture's writing, all captures.
#include "captures.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <thread>

#include "capture_format.hpp"
#include "capture_ring.hpp"
#include "capture_sink.hpp"
#include "tally.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint32_t no_index = UINT32_MAX;
constexpr std::size_t least_ring = 64 * 1024;
constexpr std::size_t most_ring = 1024 * 1024 * 1024;
/// Before others get their turn.
constexpr int batches_per_turn = 16;
/// A ring of 1 MiB takes what 8 Gbit/s bring meanwhile.
constexpr Duration write_interval = std::chrono::milliseconds(1);
constexpr Duration reader_patience = std::chrono::seconds(10);

}  // namespace

struct Captures::Capture {
  /// Of one worker.
  struct alignas(64) Lane {
    explicit Lane(std::size_t bytes) : ring(bytes) {}
    CaptureRing ring;
    Counter seen;
    Counter lost;
  };

  explicit Capture(const CaptureSpec& a_spec) : spec(a_spec) {}

  CaptureState state() const {
    CaptureState out{.spec = spec, .phase = phase, .reason = reason};
    for (const auto& lane : lanes) {
      out.seen += lane->seen.get();
      out.lost += lane->lost.get();
    }
    out.written = written.get();
    out.lost += lost.get();
    out.bytes = bytes.get();
    return out;
  }

  /// The same one for the same name, also if the port has another number now.
  std::uint32_t index_of(const std::string& port) {
    const auto [known, is_new] = indexes.emplace(port, static_cast<std::uint32_t>(ports.size()));
    if (is_new) ports.push_back(port);
    return known->second;
  }

  const CaptureSpec spec;
  std::uint64_t most_bytes = 0;  ///< 0 = no limit
  std::unique_ptr<const CaptureFilter> filter;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::uint64_t wall_ahead_ns = 0;  ///< of the workers' clock, modulo 2^64

  // Of who writes.
  std::mutex writing;
  std::optional<CaptureEncoder> encoder;
  std::unique_ptr<CaptureSink> sink;  ///< none = it is closed
  CaptureStreamSink* stream = nullptr;
  CaptureBatch batch;
  Counter written;
  Counter bytes;
  Counter lost;

  // With the mutex of all captures.
  std::vector<std::string> ports;  ///< by their indexes; only grows
  std::map<std::string, std::uint32_t> indexes;
  CaptureState::Phase phase = CaptureState::Phase::running;
  std::string reason;
  Instant read_at;
};

struct Captures::Taps {
  struct Tap {
    Capture* capture;
    bool takes_in;
    bool takes_out;
    std::vector<std::uint32_t> indexes;  ///< by the port's number
  };
  std::vector<Tap> taps;
};

Result<void> check(const CaptureSettings& settings) {
  if (!std::has_single_bit(settings.ring_bytes) || settings.ring_bytes < least_ring || settings.ring_bytes > most_ring)
    return Error({FieldError{"captures.ring_bytes", FieldError::Reason::invalid,
                             "must be a power of two from 65536 to 1073741824"}});
  return {};
}

Captures::Captures(CaptureSettings settings, std::size_t workers, Clock& clock, Log& log)
    : settings_(std::move(settings)),
      workers_(workers),
      clock_(clock),
      log_(log),
      taps_(workers, std::make_unique<const Taps>()) {}

Captures::~Captures() {
  for (const auto& [id, capture] : captures_) {
    const std::lock_guard writing(capture->writing);
    while (drain(*capture) > 0) {
    }
  }
}

// ---- control -----------------------------------------------------------------------------------------------------------

Result<CaptureState> Captures::start(const CaptureSpec& spec) {
  IRONCORE_CHECK(check(spec));
  const std::lock_guard starting(starting_);
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = captures_.find(spec.id); known != captures_.end()) {
      const auto state = known->second->state();
      if (state.phase == CaptureState::Phase::running && state.spec == spec) return state;
      return Error(ErrorCode::already_exists,
                   "there is a capture " + spec.id + " already: stop it, or take another id");
    }
    if (captures_.size() >= most_captures)
      return Error(ErrorCode::exhausted, "there are " + std::to_string(most_captures) + " captures: stop one of them");
    for (std::size_t i = 0; i < spec.ports.size(); ++i)
      if (!ports_.contains(spec.ports[i]))
        return Error(ErrorCode::not_found, "ports[" + std::to_string(i) + "]: no port is called " + spec.ports[i]);
    const auto* file = std::get_if<CaptureFile>(&spec.sink);
    for (const auto& [id, other] : captures_) {
      const auto* its = std::get_if<CaptureFile>(&other->spec.sink);
      if (file != nullptr && its != nullptr && its->name == file->name && other->phase == CaptureState::Phase::running)
        return Error(ErrorCode::already_exists, "capture " + id + " is writing " + file->name + ": stop it first");
    }
  }
  IRONCORE_TRY(const auto capture, make(spec));
  const std::lock_guard lock(mutex_);
  captures_.emplace(spec.id, capture);
  publish();
  started_.notify_all();
  log_.info("capture starts", {{"capture", spec.id}, {"filter", spec.filter}});
  return capture->state();
}

/// All that may take time: files, sockets, libpcap, memory.
Result<std::shared_ptr<Captures::Capture>> Captures::make(const CaptureSpec& spec) {
  auto capture = std::make_shared<Capture>(spec);
  capture->most_bytes = spec.most_bytes;
  const auto* udp = std::get_if<CaptureUdp>(&spec.sink);
  auto text = spec.filter;
  if (!text.empty() && !settings_.compile)
    return Error(ErrorCode::unsupported, "filter: this dataplane was made without filters: capture all frames");
  if (settings_.compile) {
    if (!text.empty()) {
      // By itself first, so that what is added below cannot make something of half of it.
      IRONCORE_TRY(capture->filter, within(settings_.compile(text), "filter"));
    }
    if (udp != nullptr) {
      // A port may show what this host sends: captured datagrams would beget datagrams for ever.
      const auto own =
          "not (dst host " + udp->address.to_text() + " and udp dst port " + std::to_string(udp->port) + ")";
      IRONCORE_TRY(capture->filter,
                   within(settings_.compile(text.empty() ? own : own + " and (" + text + ")"), "filter"));
    }
  }
  try {
    for (std::size_t i = 0; i < workers_; ++i)
      capture->lanes.push_back(std::make_unique<Capture::Lane>(settings_.ring_bytes));
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::exhausted, "there is no memory for the capture: stop another one");
  }
  {
    const std::lock_guard lock(mutex_);
    capture->index_of(!spec.ports.empty() ? spec.ports.front() : ports_.empty() ? "-" : ports_.begin()->first);
  }
  capture->encoder.emplace(spec, [this, of = capture.get()](std::uint32_t port) {
    const std::lock_guard lock(mutex_);
    return of->ports[port];
  });
  const auto beginning = capture->encoder->beginning();
  if (const auto* file = std::get_if<CaptureFile>(&spec.sink)) {
    if (settings_.directory.empty())
      return Error(ErrorCode::unsupported, "this dataplane has no directory of captures (`--capture-directory`)");
    if (capture->most_bytes == 0 || capture->most_bytes > settings_.most_file_bytes)
      capture->most_bytes = settings_.most_file_bytes;
    IRONCORE_TRY(capture->sink, create_file_sink(settings_.directory, *file, beginning));
  } else if (udp != nullptr) {
    IRONCORE_TRY(capture->sink, create_udp_sink(*udp));
  } else {
    auto stream = create_stream_sink(beginning);
    capture->stream = stream.get();
    capture->sink = std::move(stream);
  }
  capture->bytes.set(beginning.size());
  const auto now = clock_.now();
  capture->read_at = now;
  capture->wall_ahead_ns = static_cast<std::uint64_t>(clock_.wall().time_since_epoch().count()) -
                           static_cast<std::uint64_t>(now.time_since_epoch().count());
  return capture;
}

Result<CaptureState> Captures::stop(const std::string& id) {
  std::shared_ptr<Capture> capture;
  {
    const std::lock_guard lock(mutex_);
    const auto known = captures_.find(id);
    if (known == captures_.end()) return Error(ErrorCode::not_found, "there is no capture " + id);
    capture = known->second;
    captures_.erase(known);
    publish();
    // Workers look at what runs for the time of a round only.
    for (taps_.collect(); taps_.kept() > 1; taps_.collect()) std::this_thread::yield();
  }
  const std::lock_guard writing(capture->writing);
  while (drain(*capture) > 0) {
  }
  capture->sink.reset();
  const std::lock_guard lock(mutex_);
  if (capture->phase == CaptureState::Phase::running) {
    capture->phase = CaptureState::Phase::ended;
    capture->reason = "it was stopped";
  }
  const auto state = capture->state();
  log_.info("capture is stopped",
            {{"capture", id}, {"written", std::to_string(state.written)}, {"lost", std::to_string(state.lost)}});
  return state;
}

std::vector<CaptureState> Captures::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<CaptureState> out;
  for (const auto& [id, capture] : captures_) out.push_back(capture->state());
  return out;
}

Result<CaptureChunk> Captures::read(const std::string& id, std::uint64_t offset) {
  std::shared_ptr<Capture> capture;
  bool has_ended = false;
  {
    const std::lock_guard lock(mutex_);
    const auto known = captures_.find(id);
    if (known == captures_.end())
      return Error(ErrorCode::not_found, "there is no capture " + id + ", or it was not read for too long");
    capture = known->second;
    if (capture->stream == nullptr)
      return Error(ErrorCode::wrong_state, "capture " + id + " is written elsewhere: look there");
    capture->read_at = clock_.now();
    has_ended = capture->phase != CaptureState::Phase::running;
  }
  // The stream lives as long as the capture, which is held here, unless it is stopped.
  const std::lock_guard writing(capture->writing);
  if (!capture->sink) return Error(ErrorCode::not_found, "capture " + id + " was stopped");
  CaptureChunk chunk;
  IRONCORE_TRY(chunk.bytes, capture->stream->read(offset));
  chunk.is_last = has_ended && chunk.bytes.empty();
  return chunk;
}

void Captures::follow(std::span<const PortState> ports) {
  const std::lock_guard lock(mutex_);
  ports_.clear();
  for (const auto& port : ports) ports_[port.spec.name] = port.number;
  publish();
}

bool Captures::has_running() const {
  return std::any_of(captures_.begin(), captures_.end(),
                     [](const auto& one) { return one.second->phase == CaptureState::Phase::running; });
}

void Captures::publish() {
  auto next = std::make_unique<Taps>();
  for (const auto& entry : captures_) {
    const auto& capture = entry.second;  // clang 14 knows no bindings in lambdas
    if (capture->phase != CaptureState::Phase::running) continue;
    const auto direction = capture->spec.direction;
    Taps::Tap tap{capture.get(), direction != CaptureDirection::out, direction != CaptureDirection::in, {}};
    const auto add = [&](const std::string& name, std::uint32_t number) {
      if (tap.indexes.size() <= number) tap.indexes.resize(number + 1, no_index);
      tap.indexes[number] = capture->index_of(name);
    };
    const auto& wanted = capture->spec.ports;
    if (wanted.empty())
      for (const auto& [name, number] : ports_) add(name, number);
    for (const auto& name : wanted)
      if (const auto there = ports_.find(name); there != ports_.end()) add(name, there->second);
    next->taps.push_back(std::move(tap));
  }
  const bool is_any = !next->taps.empty();
  taps_.publish(std::move(next));
  is_any_.store(is_any);
}

// ---- who writes --------------------------------------------------------------------------------------------------------

std::size_t Captures::write() {
  std::vector<std::shared_ptr<Capture>> all;
  std::vector<std::string> unread;
  {
    const std::lock_guard lock(mutex_);
    const auto now = clock_.now();
    for (const auto& [id, capture] : captures_) {
      if (capture->stream != nullptr && now - capture->read_at > reader_patience) unread.push_back(id);
      all.push_back(capture);
    }
  }
  for (const auto& id : unread) {
    log_.warning("capture ends, because nobody reads it", {{"capture", id}});
    static_cast<void>(stop(id));
  }
  std::size_t count = 0;
  for (const auto& capture : all) {
    const std::lock_guard writing(capture->writing);
    count += drain(*capture);
  }
  return count;
}

void Captures::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    if (write() > 0) continue;
    std::unique_lock lock(mutex_);
    if (captures_.empty()) {
      clock_.wait(lock, started_, stop, Instant::max(), [&] { return !captures_.empty(); });
      continue;
    }
    const bool is_running = has_running();
    lock.unlock();
    // One that has ended may be a stream that nobody reads any more.
    sleep_for(clock_, is_running ? write_interval : std::chrono::seconds(1), stop);
  }
}

void Captures::end(Capture& capture, CaptureState::Phase phase, std::string reason) {
  // A stream is still to be read.
  if (capture.stream == nullptr) capture.sink.reset();
  const std::lock_guard lock(mutex_);
  if (capture.phase != CaptureState::Phase::running) return;
  capture.phase = phase;
  capture.reason = std::move(reason);
  publish();
  if (phase == CaptureState::Phase::failed)
    log_.error("capture failed", {{"capture", capture.spec.id}, {"error", capture.reason}});
  else
    log_.info("capture has ended", {{"capture", capture.spec.id}, {"reason", capture.reason}});
}

std::size_t Captures::drain(Capture& capture) {
  std::size_t count = 0;
  for (int i = 0; i < batches_per_turn; ++i) {
    const auto taken = write_batch(capture);
    count += taken;
    if (taken == 0) break;
  }
  return count;
}

/// The oldest first, as far as the workers have them in their rings.
std::size_t Captures::write_batch(Capture& capture) {
  {
    const std::lock_guard lock(mutex_);
    if (capture.phase != CaptureState::Phase::running) return 0;
  }
  if (!capture.sink || !capture.sink->is_ready()) return 0;
  auto& batch = capture.batch;
  batch.clear();
  const auto most_packets = capture.spec.most_packets;
  const auto has_all = [&](std::size_t more) {
    return most_packets != 0 && capture.written.get() + more >= most_packets;
  };
  bool is_too_long = false;
  while (batch.bytes.size() < capture_batch_bytes && !has_all(batch.ends.size())) {
    Capture::Lane* oldest = nullptr;
    CaptureHead head;
    for (const auto& lane : capture.lanes) {
      const auto front = lane->ring.front();
      if (!front || (oldest != nullptr && front->time_ns >= head.time_ns)) continue;
      oldest = lane.get();
      head = *front;
    }
    if (oldest == nullptr) break;
    const auto before = batch.bytes.size();
    auto dated = head;
    dated.time_ns += capture.wall_ahead_ns;
    capture.encoder->add(batch.bytes, dated, oldest->ring.frame(head));
    if (capture.most_bytes != 0 && capture.bytes.get() + batch.bytes.size() > capture.most_bytes) {
      batch.bytes.resize(before);
      is_too_long = true;
      break;
    }
    batch.ends.push_back(batch.bytes.size());
    oldest->ring.pop(head);
  }
  const auto frames = batch.ends.size();
  if (frames > 0) {
    const auto taken = capture.sink->put(batch);
    capture.written.add(taken ? taken->frames : 0);
    capture.bytes.add(taken ? taken->bytes : 0);
    capture.lost.add(frames - (taken ? taken->frames : 0));
    if (!taken) {
      end(capture, CaptureState::Phase::failed, taken.error().message());
      return frames;
    }
  }
  if (has_all(0))
    end(capture, CaptureState::Phase::ended, "it has as many packets as it was asked for");
  else if (is_too_long)
    end(capture, CaptureState::Phase::ended, "it has as many bytes as it may have");
  return frames;
}

// ---- workers -----------------------------------------------------------------------------------------------------------

void Captures::take(const Taps& taps, std::size_t worker, Way way, std::span<const Packet> packets,
                    std::uint64_t now_ns) noexcept {
  for (const auto& tap : taps.taps) {
    if (way == Way::in ? !tap.takes_in : !tap.takes_out) continue;
    const Capture& capture = *tap.capture;
    Capture::Lane& lane = *capture.lanes[worker];
    for (const Packet& packet : packets) {
      const auto index = packet.port < tap.indexes.size() ? tap.indexes[packet.port] : no_index;
      if (index == no_index) continue;
      if (capture.filter && !capture.filter->matches({packet.frame, packet.bytes}, packet.frame_bytes)) continue;
      lane.seen.add(1);
      const CaptureHead head{.time_ns = now_ns,
                             .port = index,
                             .frame_bytes = packet.frame_bytes,
                             .bytes = std::min(packet.bytes, capture.spec.snap_length),
                             .is_out = way == Way::out ? 1U : 0U};
      if (!lane.ring.push(head, packet.frame)) lane.lost.add(1);
    }
  }
}

}  // namespace ironcore::network::dataplane
