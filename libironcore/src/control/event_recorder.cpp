// SPDX-License-Identifier: Apache-2.0
// Gathering events in memory, writing them in batches.
#include "ironcore/control/event_recorder.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace ironcore::control {

namespace {

/// FNV-1a: the name must be the same in every process, which std::hash does not promise.
std::string fingerprint(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  constexpr std::string_view digits = "0123456789abcdef";
  std::string name;
  for (int shift = 60; shift >= 0; shift -= 4) name += digits[(hash >> shift) & 0xF];
  return name;
}

std::string identity(const api::Event& event) {
  std::string text;
  for (const auto* word : {&event.source.component, &event.source.host, &event.involved_object.uid,
                           &event.involved_object.name, &event.reason}) {
    text += std::to_string(word->size());
    text += ':';
    text += *word;
  }
  return text + (event.type == api::EventType::normal ? 'n' : 'w');
}

bool is_passing(ErrorCode code) {
  return code == ErrorCode::unavailable || code == ErrorCode::timeout || code == ErrorCode::exhausted;
}

}  // namespace

api::ObjectReference reference_to(const store::Object& object) {
  const auto& metadata = object.metadata();
  return {.api_version = object.kind().api_version(),
          .kind = std::string(object.kind().info().kind),
          .namespace_ = metadata.namespace_,
          .name = metadata.name,
          .uid = metadata.uid};
}

EventRecorder::EventRecorder(store::Store& store, EventRecorderOptions options, Clock& clock, Log& log)
    : store_(store), options_(std::move(options)), clock_(clock), log_(log) {}

bool EventRecorder::record(api::ObjectReference about, api::EventType type, std::string reason, std::string message,
                           std::string action, std::optional<WallTime> when) {
  const auto time = when.value_or(clock_.wall());
  api::Event event;
  event.involved_object = std::move(about);
  event.reason = std::move(reason);
  event.message = std::move(message);
  event.action = std::move(action);
  event.type = type;
  event.source = {.component = options_.component, .host = options_.host};
  event.count = 1;
  event.first_timestamp = time;
  event.last_timestamp = time;
  const auto key = identity(event);
  constexpr std::size_t longest_prefix = 200;
  event.metadata.namespace_ = event.involved_object.namespace_.empty() ? "default" : event.involved_object.namespace_;
  auto prefix = event.involved_object.name.substr(0, longest_prefix);
  while (!prefix.empty() && (prefix.back() == '.' || prefix.back() == '-')) prefix.pop_back();
  event.metadata.name = prefix + "." + fingerprint(key);

  const std::lock_guard lock(mutex_);
  if (const auto known = waiting_.find(key); known != waiting_.end()) {
    auto& waiting = known->second;
    ++waiting.count;
    waiting.last_timestamp = time;
    waiting.message = std::move(event.message);
    waiting.action = std::move(event.action);
    return true;
  }
  if (waiting_.size() >= options_.waiting_limit) {
    ++dropped_;
    return false;
  }
  waiting_.emplace(key, std::move(event));
  order_.push_back(key);
  changed_.notify_all();
  return true;
}

std::uint64_t EventRecorder::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

auto EventRecorder::take_batch() -> std::vector<Waiting> {
  std::vector<Waiting> batch;
  const std::lock_guard lock(mutex_);
  while (!order_.empty() && batch.size() < options_.batch) {
    auto found = waiting_.extract(order_.front());
    order_.pop_front();
    batch.push_back({std::move(found.mapped()), std::move(found.key())});
  }
  return batch;
}

Result<store::Operation> EventRecorder::operation_for(const Waiting& waiting) {
  const auto& event = waiting.event;
  const auto key = store::key<api::Event>(event.metadata.namespace_, event.metadata.name);
  const auto known = store_.get(key);
  if (!known) {
    if (known.error().code() != ErrorCode::not_found) return known.error();
    return store::Create{store::Object::of(event)};
  }
  auto changed = known->as<api::Event>();
  changed.count += event.count;
  changed.last_timestamp = event.last_timestamp;
  changed.message = event.message;
  changed.action = event.action;
  return store::Patch{key, api::merge_patch(*known, store::Object::of(std::move(changed)))};
}

bool EventRecorder::write(std::vector<Waiting> batch) {
  store::Transaction together;
  std::optional<Error> failure;
  for (const auto& waiting : batch) {
    auto operation = operation_for(waiting);
    if (!operation) {
      failure = operation.error();
      break;
    }
    together.operations.push_back(std::move(*operation));
  }
  if (!failure) {
    if (const auto committed = store_.commit(together); !committed) failure = committed.error();
  }
  if (!failure) {
    failures_ = 0;
    return true;
  }
  if (is_passing(failure->code())) {
    // Kept for later, in front of what came in the meantime.
    ++failures_;
    retry_at_ = clock_.now() + std::min<Duration>(std::chrono::milliseconds(100) * failures_, std::chrono::seconds(10));
    const std::lock_guard lock(mutex_);
    for (auto waiting = batch.rbegin(); waiting != batch.rend(); ++waiting) {
      const auto [known, is_new] = waiting_.try_emplace(waiting->key, waiting->event);
      if (is_new) {
        order_.push_front(waiting->key);
      } else {
        known->second.count += waiting->event.count;
        known->second.first_timestamp = waiting->event.first_timestamp;
      }
    }
    return false;
  }
  if (batch.size() > 1) {
    // One of them cannot be written (its namespace is going away, say): the others shall not suffer.
    for (auto& waiting : batch) {
      std::vector<Waiting> single;
      single.push_back(std::move(waiting));
      write(std::move(single));
    }
    return true;
  }
  const auto& event = batch.front().event;
  log_.debug("an event is dropped", {{"object", event.involved_object.kind + " " + event.involved_object.name},
                                     {"reason", event.reason},
                                     {"error", failure->message()}});
  return true;
}

bool EventRecorder::step() {
  if (failures_ > 0 && clock_.now() < retry_at_) return false;
  auto batch = take_batch();
  if (batch.empty()) return false;
  return write(std::move(batch));
}

void EventRecorder::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    if (step()) continue;
    std::unique_lock lock(mutex_);
    if (failures_ > 0 && clock_.now() < retry_at_) {
      clock_.wait(lock, changed_, stop, retry_at_, [] { return false; });
    } else {
      clock_.wait(lock, changed_, stop, Instant::max(), [this] { return !order_.empty(); });
    }
  }
  while (step()) {
  }
}

}  // namespace ironcore::control
