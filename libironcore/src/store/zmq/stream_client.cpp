// SPDX-License-Identifier: Apache-2.0
// Opening streams: a grant from the request socket, then a connection of its own for each stream.
#include "ironcore/store/zmq_stream.hpp"
#include "shared_channel.hpp"
#include "stream_link.hpp"

namespace ironcore::store::zmq {

namespace {

class ZmqStreamClient final : public StreamClient {
 public:
  explicit ZmqStreamClient(std::shared_ptr<ClientCore> core) : core_(std::move(core)) {}
  ~ZmqStreamClient() override { core_->close(); }

  Result<std::unique_ptr<Stream>> open(const Key& object, std::string_view what) override {
    if (object.kind == nullptr) return Error(ErrorCode::invalid, "a stream needs an object");
    const auto deadline = core_->clock.now() + core_->options.timeout;
    const GrantStreamRequest request{to_record(object, core_->kinds), what};
    IRONCORE_TRY(auto answer, core_->call(request, deadline));
    IRONCORE_TRY(auto grant, core_->reply<GrantStreamReply>(answer));
    IRONCORE_TRY(auto link, StreamLink::open(*core_, core_->facts().streams_endpoint, StreamLink::Pump::waiters));
    return link->open_stream({grant.grant_high, grant.grant_low}, deadline);
  }

 private:
  const std::shared_ptr<ClientCore> core_;
};

}  // namespace

Result<std::unique_ptr<StreamClient>> StreamClient::connect(Context& context, ClientOptions options, Clock& clock,
                                                            Log& log) {
  IRONCORE_CHECK(check_endpoint(options.endpoint, options.keys));
  auto core = std::make_shared<ClientCore>(context.native(), std::move(options), clock, log);
  IRONCORE_CHECK(within(core->first_hello(clock.now() + core->options.connect_timeout), "connect for streams"));
  return std::unique_ptr<StreamClient>(std::make_unique<ZmqStreamClient>(std::move(core)));
}

}  // namespace ironcore::store::zmq
