// SPDX-License-Identifier: Apache-2.0
// A serial port over a libvirt stream.
#pragma once

#include <libvirt/libvirt.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/compute/hypervisor.hpp"

namespace ironcore::compute::libvirt {

/// What the event loop and the holder of a console share. The loop fills `input` and stops reading while it is full,
/// so that a guest which talks faster than its listener waits instead of filling our memory.
class ConsoleLine : public std::enable_shared_from_this<ConsoleLine> {
 public:
  ConsoleLine(const Uid& uid, virStreamPtr stream) : uid_(uid), stream_(stream) {}
  ~ConsoleLine();

  /// Registers with the event loop.
  Result<void> begin();
  /// Ends the stream; the next holder may come.
  void end();
  /// The guest or the connection is gone: wakes everybody up.
  void mark_gone();
  const Uid& uid() const { return uid_; }

  Result<std::string> read(Clock& clock, Instant deadline, std::stop_token stop);
  Result<void> write(Clock& clock, std::string_view bytes, Instant deadline);

 private:
  void on_stream(int events);
  /// Asks for what is needed now. Needs the mutex.
  void update_interest();

  const Uid uid_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  virStreamPtr stream_;
  std::string input_;
  bool is_begun_ = false;
  bool is_gone_ = false;
  bool wants_to_write_ = false;
  bool may_write_ = true;
};

/// Opens the domain's first serial port. `wrong_state` while somebody has it.
Result<std::shared_ptr<ConsoleLine>> open_console(virDomainPtr domain, const Uid& uid);
std::unique_ptr<Console> make_console(std::shared_ptr<ConsoleLine> line, Clock& clock);

}  // namespace ironcore::compute::libvirt
