// SPDX-License-Identifier: Apache-2.0
// Answering the streams of one pool: registers, hands offers on, starts over when the server was lost.
#include <atomic>

#include "ironcore/store/zmq_stream.hpp"
#include "stream_link.hpp"

namespace ironcore::store::zmq {

namespace {

constexpr Duration retry_after = std::chrono::seconds(1);

class ZmqStreamWorker final : public StreamWorker {
 public:
  ZmqStreamWorker(std::shared_ptr<ClientCore> core, const api::Kind& placed, std::string pool, Handler handler)
      : core_(std::move(core)), resource_(placed.resource()), pool_(std::move(pool)), handler_(std::move(handler)) {}
  ~ZmqStreamWorker() override { core_->close(); }

  Result<void> run(std::stop_token stop) override {
    while (!stop.stop_requested()) {
      auto served = serve(stop);
      is_registered_.store(false);
      if (served) continue;
      const auto code = served.error().code();
      if (code == ErrorCode::forbidden || code == ErrorCode::unsupported || code == ErrorCode::invalid) return served;
      core_->log.warning("streams cannot be served now, trying again",
                         {{"pool", pool_}, {"error", served.error().message()}});
      sleep_for(core_->clock, retry_after, stop);
    }
    return {};
  }

  bool is_registered() const override { return is_registered_.load(); }

 private:
  /// Until told to stop, or the server was lost.
  Result<void> serve(std::stop_token stop) {
    auto facts = core_->hello(core_->clock.now() + retry_after);
    if (!facts) {
      if (stop.stop_requested()) return {};
      return std::move(facts).error();
    }
    IRONCORE_TRY(const auto link, StreamLink::open(*core_, facts->streams_endpoint, StreamLink::Pump::owner));
    std::uint64_t instance = 0;
    Instant say_again{};
    Result<void> outcome;
    while (outcome && !stop.stop_requested()) {
      const auto now = core_->clock.now();
      if (now >= say_again) {
        link->send(encode(0, 0, ServeStreams{resource_, pool_}));
        say_again = now + stream_ping;
      }
      link->pump(say_again, stop);
      while (const auto answer = link->next_answer()) {
        outcome = take(*answer, instance);
        if (!outcome) break;
      }
      while (auto offer = link->next_offer(core_->kinds)) link->settle(std::move(*offer), handler_);
      if (outcome && core_->clock.now() - link->last_heard() > stream_silence)
        outcome = Error(ErrorCode::unavailable, "the server was lost: nothing was heard from it for 10 s");
    }
    const bool is_told = stop.stop_requested();
    link->end(is_told ? Error(ErrorCode::cancelled, "the worker was stopped") : outcome.error());
    return is_told ? Result<void>() : outcome;
  }

  Result<void> take(const Answer& answer, std::uint64_t& instance) {
    const auto reply = ClientCore::reply<ServeStreamsReply>(answer);
    if (!reply) {
      is_registered_.store(false);
      // Another one serves this pool: wait until it is gone.
      if (reply.error().code() == ErrorCode::already_exists) return {};
      return reply.error();
    }
    if (instance != 0 && instance != reply->instance) return Error(ErrorCode::unavailable, "the server was restarted");
    instance = reply->instance;
    is_registered_.store(true);
    return {};
  }

  const std::shared_ptr<ClientCore> core_;
  const std::string resource_;
  const std::string pool_;
  const Handler handler_;
  std::atomic<bool> is_registered_{false};
};

}  // namespace

Result<std::unique_ptr<StreamWorker>> StreamWorker::create(Context& context, ClientOptions options,
                                                           const api::Kind& placed, std::string pool, Handler handler,
                                                           Clock& clock, Log& log) {
  IRONCORE_CHECK(check_endpoint(options.endpoint, options.keys));
  auto core = std::make_shared<ClientCore>(context.native(), std::move(options), clock, log);
  return std::unique_ptr<StreamWorker>(
      std::make_unique<ZmqStreamWorker>(std::move(core), placed, std::move(pool), std::move(handler)));
}

}  // namespace ironcore::store::zmq
