// SPDX-License-Identifier: Apache-2.0
// The side of those who operate a reflector.
#include <algorithm>
#include <array>

#include "../../base/wire/request_pool.hpp"
#include "operations.hpp"

namespace ironcore::routing::zmq {

namespace {

using wire::reply_of;

std::uint32_t at_most_32_bits(std::size_t number) {
  return static_cast<std::uint32_t>(std::min<std::size_t>(number, UINT32_MAX));
}

/// A newer reflector may say what this program does not know.
ReflectorSession::Phase phase_of(Text word) {
  using Phase = ReflectorSession::Phase;
  for (const auto phase : std::array{Phase::connected, Phase::refused})
    if (routing::name(phase) == word) return phase;
  return Phase::connecting;
}

class ZmqOperatorClient final : public OperatorClient {
 public:
  ZmqOperatorClient(std::shared_ptr<Context::Native> context, OperatorOptions options, Clock& clock)
      : timeout_(options.timeout),
        clock_(clock),
        pool_(std::move(context), std::move(options.endpoint), std::move(options.keys), clock) {}

  Result<void> meet() {
    IRONCORE_TRY(const auto answer, pool_.meet(StatusRequest{}, deadline()));
    IRONCORE_CHECK(reply_of<StatusReply>(answer));
    return {};
  }

  Result<OperatorStatus> status() override {
    IRONCORE_TRY(const auto answer, pool_.call(StatusRequest{}, deadline()));
    IRONCORE_TRY(const auto reply, reply_of<StatusReply>(answer));
    OperatorStatus status{.program = std::string(reply.program),
                          .name = std::string(reply.name),
                          .epoch = reply.epoch,
                          .is_ready = reply.is_ready,
                          .heartbeat = std::chrono::milliseconds(reply.heartbeat_ms),
                          .lease = std::chrono::milliseconds(reply.lease_ms),
                          .counts = {},
                          .peers = {}};
    for (const auto& count : reply.counts) status.counts.emplace_back(std::string(count.name), count.count);
    for (const auto& peer : reply.peers)
      status.peers.push_back({.endpoint = std::string(peer.endpoint),
                              .session = {.phase = phase_of(peer.phase),
                                          .name = std::string(peer.name),
                                          .epoch = peer.epoch,
                                          .is_ready = peer.is_ready,
                                          .refusal = std::string(peer.refusal)}});
    return status;
  }

  Result<NodesPage> nodes(std::string_view after, std::size_t limit) override {
    IRONCORE_TRY(const auto answer, pool_.call(NodesRequest{after, at_most_32_bits(limit)}, deadline()));
    IRONCORE_TRY(const auto reply, reply_of<NodesReply>(answer));
    NodesPage page{.nodes = {}, .has_more = reply.has_more};
    for (const auto& node : reply.nodes)
      page.nodes.push_back({.name = std::string(node.name),
                            .origin = OriginId{node.origin},
                            .instance = node.instance,
                            .is_connected = node.is_connected,
                            .silent = std::chrono::milliseconds(node.silent_ms),
                            .routes = node.routes,
                            .announced = node.announced,
                            .refused = node.refused,
                            .streams = node.streams,
                            .behind = node.behind});
    return page;
  }

  Result<VnisPage> vnis(Vni from, std::size_t limit) override {
    IRONCORE_TRY(const auto answer, pool_.call(VnisRequest{from.value(), at_most_32_bits(limit)}, deadline()));
    IRONCORE_TRY(const auto reply, reply_of<VnisReply>(answer));
    VnisPage page{.vnis = {}, .has_more = reply.has_more};
    for (const auto& one : reply.vnis) {
      IRONCORE_TRY(const auto vni, Vni::make(one.vni));
      IRONCORE_TRY(const auto view, view_of(one.view));
      page.vnis.push_back({.vni = vni,
                           .view = view,
                           .routes = one.routes,
                           .tombstones = one.tombstones,
                           .sequence = one.sequence,
                           .digest = one.digest,
                           .is_subscribed = one.is_subscribed});
    }
    return page;
  }

  Result<RoutesPage> routes(const RoutesQuery& query) override {
    const auto prefix = query.match == RoutesQuery::Match::all ? std::string() : query.prefix.to_text();
    const RoutesRequest request{.vni = query.vni.value(),
                                .view = name(query.view),
                                .after = query.after,
                                .limit = at_most_32_bits(query.limit),
                                .has_withdrawals = query.withdrawals == RoutesQuery::Withdrawals::included,
                                .match = name(query.match),
                                .prefix = prefix};
    IRONCORE_TRY(const auto answer, pool_.call(request, deadline()));
    IRONCORE_TRY(const auto reply, reply_of<RoutesReply>(answer));
    RoutesPage page{.routes = {},
                    .next = reply.next,
                    .is_last = reply.is_last,
                    .has_forgotten = reply.has_forgotten,
                    .epoch = reply.epoch};
    for (const auto& record : reply.routes) {
      IRONCORE_TRY(auto route, within(route_of(record), "read the reflector's answer"));
      page.routes.push_back(std::move(route));
    }
    return page;
  }

 private:
  Instant deadline() const { return clock_.now() + timeout_; }

  const Duration timeout_;
  Clock& clock_;
  wire::RequestPool pool_;
};

}  // namespace

Result<std::unique_ptr<OperatorClient>> OperatorClient::connect(Context& context, OperatorOptions options,
                                                                Clock& clock) {
  IRONCORE_CHECK(wire::check_endpoint(options.endpoint, options.keys));
  auto client = std::make_unique<ZmqOperatorClient>(context.native(), std::move(options), clock);
  IRONCORE_CHECK(client->meet());
  return std::unique_ptr<OperatorClient>(std::move(client));
}

}  // namespace ironcore::routing::zmq
