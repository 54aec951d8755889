// SPDX-License-Identifier: Apache-2.0
// The next status of a volume or bucket, put together from what a turn found out.
#pragma once

#include <optional>

#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "trouble.hpp"

namespace ironcore::control {

/// Thread: one.
template <class T>
class StatusDraft {
 public:
  using State = decltype(T::status.state);

  StatusDraft(const T& current, EventRecorder& events, WallTime now) : object(current), events_(events), now_(now) {}

  /// As `set_condition`; trouble that is news is told as an event too.
  void condition(const char* type, const std::optional<Trouble>& trouble, const char* fine, const char* message) {
    if (set_condition(object.status.conditions, type, trouble, fine, message, now_))
      events_.record(reference_to(object), trouble->event_type(), trouble->reason, trouble->message);
  }
  /// What cannot be used is an error if somebody has to change something, else it is waited for.
  void state(bool is_usable, const std::optional<Trouble>& trouble) {
    const bool is_faulty = trouble && trouble->kind == Trouble::Kind::fault;
    const auto next = is_usable ? State::available : is_faulty ? State::error : State::pending;
    auto& status = object.status;
    if (next != status.state || !status.last_state_transition_time) status.last_state_transition_time = now_;
    status.state = next;
  }

  T object;

 private:
  EventRecorder& events_;
  const WallTime now_;
};

/// What becomes of a turn: it failed, or its status could not be written, or it is called again after `look_again`.
inline Result<Requeue> end_turn(const Result<void>& done, const Result<void>& written,
                                std::optional<Duration> look_again) {
  if (!done) return done.error();
  if (!written) return written.error();
  return Requeue{.after = look_again};
}

}  // namespace ironcore::control
