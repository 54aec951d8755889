// SPDX-License-Identifier: Apache-2.0
// A speaker's loop.
#include <mutex>

#include "client_link.hpp"
#include "ironcore/routing/zmq.hpp"

namespace ironcore::routing::zmq {

namespace {

using wire::StopWake;
using wire::Wake;

class ZmqSpeakerNode final : public SpeakerNode {
 public:
  ZmqSpeakerNode(std::unique_ptr<ClientLink> link, std::shared_ptr<Wake> wake, Clock& clock)
      : link_(std::move(link)), wake_(std::move(wake)), clock_(clock) {}

  Result<void> open(SpeakerOptions options, Random& random, Log& log) {
    IRONCORE_TRY(speaker_, Speaker::create(std::move(options), *link_, clock_, random, log));
    return {};
  }

  void with(const std::function<void(Speaker&)>& f) override {
    bool must_wake = true;
    {
      const std::lock_guard lock(mutex_);
      f(*speaker_);
      // What was said is on its way before the loop wakes up; it has to only if there is more for it to do.
      const auto before = until_;
      if (is_running_) must_wake = turn() || until_ < before;
    }
    if (must_wake) wake_->set();
  }

  void on_turn(std::function<Instant(Speaker&)> hook) override { hook_ = std::move(hook); }

  void leave_as(Speaker::Leave leave) override {
    const std::lock_guard lock(mutex_);
    leave_ = leave;
  }

  Result<void> run(std::stop_token stop) override {
    const StopWake stop_wake(stop, wake_);
    std::vector<pollfd> items;
    Instant next_watch{};
    while (!stop.stop_requested()) {
      Instant until;
      {
        const std::lock_guard lock(mutex_);
        is_running_ = true;
        until = until_;
        items.assign(1, {wake_->fd(), POLLIN, 0});
        link_->add_descriptors(items);
      }
      wire::poll_descriptors(items, std::min(until, next_watch), clock_);
      wake_->clear();
      const std::lock_guard lock(mutex_);
      link_->look(items);
      if (const auto now = clock_.now(); now >= next_watch) {
        next_watch = link_->watch(now);
        for (PeerId i = 0; i < link_->size(); ++i) speaker_->trouble(i, link_->trouble(i));
      }
      link_->read([this](PeerId peer, Channel channel, std::string_view message) {
        speaker_->receive(peer, channel, message);
      });
      if (turn()) until_ = {};
    }
    const std::lock_guard lock(mutex_);
    is_running_ = false;
    speaker_->close(leave_);
    return {};
  }

 private:
  /// True: something has come meanwhile.
  bool turn() {
    until_ = speaker_->advance();
    if (hook_) until_ = std::min(until_, hook_(*speaker_));
    link_->act();
    return link_->has_input();
  }

  std::unique_ptr<ClientLink> link_;
  std::shared_ptr<Wake> wake_;
  Clock& clock_;
  std::mutex mutex_;  ///< of everything below, sockets included
  std::unique_ptr<Speaker> speaker_;
  std::function<Instant(Speaker&)> hook_;
  Speaker::Leave leave_ = Speaker::Leave::coming_back;
  Instant until_{};
  bool is_running_ = false;
};

}  // namespace

Result<std::unique_ptr<SpeakerNode>> SpeakerNode::create(Context& context, SpeakerOptions options,
                                                         std::vector<ReflectorEndpoint> reflectors, Clock& clock,
                                                         Random& random, Log& log) {
  options.reflectors = reflectors.size();
  IRONCORE_TRY(auto link, ClientLink::create(context, std::move(reflectors)));
  IRONCORE_TRY(auto wake, Wake::create());
  auto node = std::make_unique<ZmqSpeakerNode>(std::move(link), std::move(wake), clock);
  IRONCORE_CHECK(node->open(std::move(options), random, log));
  return std::unique_ptr<SpeakerNode>(std::move(node));
}

}  // namespace ironcore::routing::zmq
