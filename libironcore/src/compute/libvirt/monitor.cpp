// SPDX-License-Identifier: Apache-2.0
// One thread for each question.
#include "monitor.hpp"

#include <condition_variable>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace ironcore::compute::libvirt {

namespace {

struct Question {
  Question(Found what, Monitor::Ask how) : found(std::move(what)), ask(std::move(how)) {}

  std::optional<Found> found;
  Monitor::Ask ask;
  std::mutex mutex;
  std::condition_variable_any changed;
  std::optional<Result<void>> answer;
  bool is_abandoned = false;
};

Error hangs() {
  return {ErrorCode::timeout, "QEMU does not answer: it hangs, or its host is overloaded"};
}

}  // namespace

Result<void> Monitor::ask(const Uid& uid, Found found, Ask ask) {
  {
    std::lock_guard guard(stuck_->mutex);
    if (stuck_->domains.count(uid) != 0) return hangs();
  }
  const auto calls = found.call.calls();
  const auto question = std::make_shared<Question>(std::move(found), std::move(ask));
  const auto run = [question, uid, stuck = stuck_] {
    auto answer = question->ask(question->found->handle.get());
    {
      std::lock_guard guard(question->mutex);
      if (question->is_abandoned) {
        question->found->call.set_abandoned();
        std::lock_guard stuck_guard(stuck->mutex);
        stuck->domains.erase(uid);
      }
      question->answer = std::move(answer);
      question->changed.notify_all();
    }
    question->found.reset();
  };
  try {
    std::thread(run).detach();
  } catch (const std::system_error&) {
    return Error(ErrorCode::unavailable, "no thread can be started for a call to libvirt");
  }
  std::unique_lock lock(question->mutex);
  if (clock_.wait(lock, question->changed, {}, clock_.now() + patience_, [&] { return question->answer.has_value(); }))
    return *question->answer;
  question->is_abandoned = true;
  calls->abandon();
  std::lock_guard guard(stuck_->mutex);
  stuck_->domains.insert(uid);
  return hangs();
}

}  // namespace ironcore::compute::libvirt
