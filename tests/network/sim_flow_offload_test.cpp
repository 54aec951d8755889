// SPDX-License-Identifier: Apache-2.0
// Flows in a card in memory keep the contract of the seam, and have the faults that tests ask for.
#include "ironcore/sim/flow_offload.hpp"

#include "flow_offload_conformance.hpp"
#include "ironcore/sim/virtual_clock.hpp"

namespace ironcore::tests {

namespace {

/// At once, or each command after a while.
template <int Milliseconds>
class SimBody final : public FlowOffloadBody {
 public:
  network::FlowOffload& offload() override { return offload_; }
  std::uint32_t port(std::size_t which) override { return which == 0 ? 3 : 5; }
  std::optional<Out> pass(std::uint32_t port, const Bytes& frame) override {
    auto passed = offload_.pass(port, frame);
    if (!passed) return std::nullopt;
    return Out{passed->port, std::move(passed->frame)};
  }
  void wait(std::chrono::milliseconds time) override { clock.advance(time); }
  std::size_t capacity() const override { return 20; }
  bool reset() override {
    offload_.reset();
    return true;
  }

  sim::VirtualClock clock;

 private:
  sim::FlowOffload offload_{
      clock, {.queues = 2, .capacity = 20, .room = 16, .delay = std::chrono::milliseconds(Milliseconds)}};
};
using SimAtOnce = SimBody<0>;
using SimSlow = SimBody<50>;

}  // namespace
}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::SimAtOnce);
TYPE_TO_STRING(ironcore::tests::SimSlow);

namespace ironcore::tests {

IRONCORE_FLOW_OFFLOAD_CONFORMANCE(SimAtOnce);
IRONCORE_FLOW_OFFLOAD_CONFORMANCE(SimSlow);

TEST_CASE("a card has the faults that are asked for") {
  using Fault = sim::FlowOffload::Fault;
  SimAtOnce body;
  auto& card = static_cast<sim::FlowOffload&>(body.offload());
  card.set(Fault::full);
  CHECK(offload::refusal(body, offload::flow(body, 1)) == network::FlowEvent::Refusal::full);
  card.set(Fault::fails);
  CHECK(offload::refusal(body, offload::flow(body, 1)) == network::FlowEvent::Refusal::failed);
  CHECK(name(network::FlowEvent::Refusal::failed) == "failed");
  card.set(Fault::stuck);
  REQUIRE(card.install(0, offload::flow(body, 1)));
  body.wait(std::chrono::seconds(5));
  std::array<network::FlowEvent, 4> some;
  CHECK(card.poll(0, some) == 0);
  CHECK(card.flows().empty());
  card.set(Fault::none);
  CHECK(offload::events(body, 1).front().kind == network::FlowEvent::Kind::installed);
  CHECK(card.flows() == std::vector{offload::flow(body, 1)});
}

}  // namespace ironcore::tests
