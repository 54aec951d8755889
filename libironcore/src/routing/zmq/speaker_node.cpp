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
    {
      const std::lock_guard lock(mutex_);
      f(*speaker_);
    }
    wake_->set();
  }

  void on_turn(std::function<Instant(Speaker&)> hook) override { hook_ = std::move(hook); }

  Result<void> run(std::stop_token stop, Speaker::Leave leave) override {
    const StopWake stop_wake(stop, wake_);
    std::vector<zmq_pollitem_t> items;
    Instant until{};
    while (!stop.stop_requested()) {
      items.assign(1, wire::poll_item(wake_->fd(), ZMQ_POLLIN));
      link_->add_poll_items(items);
      if (!wire::poll(items, until, clock_))
        return Error(ErrorCode::internal, wire::zmq_error("wait for messages").message() + ": restart the program");
      if (items[0].revents != 0) wake_->clear();
      const std::lock_guard lock(mutex_);
      const bool is_busy = link_->read([this](PeerId peer, Channel channel, std::string_view message) {
        speaker_->receive(peer, channel, message);
      });
      until = speaker_->advance();
      if (hook_) until = std::min(until, hook_(*speaker_));
      link_->act();
      if (is_busy) until = {};
    }
    const std::lock_guard lock(mutex_);
    speaker_->close(leave);
    return {};
  }

 private:
  std::unique_ptr<ClientLink> link_;
  std::shared_ptr<Wake> wake_;
  Clock& clock_;
  std::mutex mutex_;
  std::unique_ptr<Speaker> speaker_;
  std::function<Instant(Speaker&)> hook_;
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
