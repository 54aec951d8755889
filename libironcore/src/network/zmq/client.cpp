// SPDX-License-Identifier: Apache-2.0
// The client: one connection for each call in flight, kept for the next ones.
#include <algorithm>
#include <utility>

#include "../../base/wire/request_pool.hpp"
#include "capture_records.hpp"
#include "counter_records.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcore/network/zmq.hpp"
#include "port_records.hpp"
#include "usage_records.hpp"

namespace ironcore::network::zmq {

namespace {

using ironcore::wire::Answer;
using ironcore::wire::StopWake;
using ironcore::wire::Wake;

// Each question is asked anew after this, so that a server forgets those who have gone.
constexpr Duration watch_span = std::chrono::seconds(5);

class ZmqClient final : public Client {
 public:
  ZmqClient(std::shared_ptr<Context::Native> context, ClientOptions options, Clock& clock)
      : options_(std::move(options)),
        clock_(clock),
        pool_(std::move(context), options_.endpoint, options_.keys, clock) {}

  /// Over a fresh connection; says whether it was the keys.
  Result<void> meet() {
    IRONCORE_TRY(const auto answer, pool_.meet(HelloRequest{}, clock_.now() + options_.timeout));
    IRONCORE_CHECK(ironcore::wire::reply_of<HelloReply>(answer));
    return {};
  }

  Result<ServerFacts> facts() override {
    IRONCORE_TRY(const auto answer, call(HelloRequest{}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<HelloReply>(answer));
    return ServerFacts{std::string(reply.program.substr(0, 64)), reply.instance, reply.revision, reply.workers};
  }

  Result<std::uint64_t> apply(std::span<const Change> batch) override {
    const auto json = to_json(batch);
    if (json.size() > max_request_bytes - 1024 * 1024)
      return Error(ErrorCode::exhausted, "a batch may take 15 MiB as JSON: apply it in several ones");
    IRONCORE_TRY(const auto answer, call(ApplyRequest{json}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<ApplyReply>(answer));
    return reply.revision;
  }

  Result<ObjectPage> list(std::string_view kind, std::size_t limit, const std::optional<Change>& after) override {
    const auto key = after ? to_json(*after) : std::string();
    const auto most = static_cast<std::uint32_t>(std::min<std::size_t>(limit, UINT32_MAX));
    return list({.kind = kind, .limit = most, .after = key});
  }

  Result<Change> get(const Change& key) override {
    const auto json = to_json(key);
    IRONCORE_TRY(auto page, list({.kind = kind_of(key), .limit = 1, .after = json, .is_exact = true}));
    if (page.objects.size() != 1) return Error(ErrorCode::internal, "the server's answer has not one object");
    return std::move(page.objects.front());
  }

  Result<ConfigurationPage<VniUse>> vnis(std::size_t limit, std::optional<Vni> after) override {
    const auto most = static_cast<std::uint32_t>(std::min<std::size_t>(limit, UINT32_MAX));
    IRONCORE_TRY(const auto answer, call(VnisRequest{most, !after, after.value_or(Vni()).value()}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<VnisReply>(answer));
    return vnis_of(reply);
  }

  Result<std::vector<AppliedBatch>> watch(std::uint64_t after, Instant deadline, std::stop_token stop,
                                          std::size_t limit) override {
    IRONCORE_TRY(const auto cancel, Wake::create());
    const StopWake stop_wake(stop, cancel);
    const auto most = static_cast<std::uint32_t>(std::clamp<std::size_t>(limit, 1, std::size_t{65536}));
    while (!stop.stop_requested()) {
      const auto until = std::min(deadline, clock_.now() + watch_span);
      const auto answer = pool_.call(WatchRequest{after, most}, until, until + options_.timeout, cancel);
      if (!answer && answer.error().code() == ErrorCode::cancelled) break;
      IRONCORE_CHECK(answer);
      IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<WatchReply>(*answer));
      std::vector<AppliedBatch> batches;
      for (const auto& record : reply.batches) {
        IRONCORE_TRY(auto changes, read(record.changes));
        batches.push_back({record.revision, std::make_shared<const std::vector<Change>>(std::move(changes))});
      }
      if (!batches.empty() || clock_.now() >= deadline) return batches;
    }
    return std::vector<AppliedBatch>();
  }

  Result<AllCounters> counters() override {
    IRONCORE_TRY(const auto answer, call(CountersRequest{}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<CountersReply>(answer));
    IRONCORE_TRY(auto counters, counters_of(reply));
    IRONCORE_TRY(counters.dataplane.offload, offload());
    return counters;
  }

  Result<DataplaneUsage> usage() override {
    IRONCORE_TRY(const auto answer, call(UsageRequest{}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<UsageReply>(answer));
    return usage_of(reply);
  }

  Result<Explanation> explain(const std::string& port, std::span<const std::uint8_t> frame,
                              std::size_t worker) override {
    const Text bytes(reinterpret_cast<const char*>(frame.data()), frame.size());
    const auto number = static_cast<std::uint32_t>(std::min<std::size_t>(worker, UINT32_MAX));
    IRONCORE_TRY(const auto answer, call(ExplainRequest{port, number, bytes}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<ExplainReply>(answer));
    Explanation explanation;
    for (const auto& step : reply.steps) explanation.steps.push_back({std::string(step.stage), std::string(step.text)});
    IRONCORE_TRY(explanation.drop, drop_of(reply.drop));
    explanation.port = reply.port;
    explanation.frame.assign(reply.frame.begin(), reply.frame.end());
    return explanation;
  }

  Result<PortState> open_port(const PortSpec& spec) override {
    std::string mac;
    IRONCORE_TRY(const auto answer, call(OpenPortRequest{to_record(spec, mac)}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<OpenPortReply>(answer));
    IRONCORE_TRY(auto report, report_of(reply.port));
    return std::move(report.state);
  }

  Result<void> close_port(const std::string& name) override {
    IRONCORE_TRY(const auto answer, call(ClosePortRequest{name}));
    IRONCORE_CHECK(ironcore::wire::reply_of<ClosePortReply>(answer));
    return {};
  }

  Result<std::vector<PortReport>> ports() override {
    IRONCORE_TRY(const auto answer, call(PortsRequest{}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<PortsReply>(answer));
    std::vector<PortReport> ports;
    for (const auto& record : reply.ports) {
      IRONCORE_TRY(auto report, report_of(record));
      ports.push_back(std::move(report));
    }
    return ports;
  }

  Result<CaptureState> start_capture(const CaptureSpec& spec) override {
    EncodedCaptureSpec encoded(spec);
    IRONCORE_TRY(const auto answer, call(StartCaptureRequest{encoded.record()}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<StartCaptureReply>(answer));
    return state_of(reply.capture);
  }

  Result<CaptureState> stop_capture(const std::string& id) override {
    IRONCORE_TRY(const auto answer, call(StopCaptureRequest{id}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<StopCaptureReply>(answer));
    return state_of(reply.capture);
  }

  Result<std::vector<CaptureState>> captures() override {
    IRONCORE_TRY(const auto answer, call(CapturesRequest{}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<CapturesReply>(answer));
    std::vector<CaptureState> captures;
    for (const auto& record : reply.captures) {
      IRONCORE_TRY(auto state, state_of(record));
      captures.push_back(std::move(state));
    }
    return captures;
  }

  Result<CaptureChunk> read_capture(const std::string& id, std::uint64_t offset) override {
    IRONCORE_TRY(const auto answer, call(ReadCaptureRequest{id, offset}));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<ReadCaptureReply>(answer));
    return CaptureChunk{std::string(reply.bytes), reply.is_last};
  }

 private:
  /// A server that does not know the question has no hardware for flows, either.
  Result<std::optional<OffloadCounters>> offload() {
    IRONCORE_TRY(const auto answer, call(OffloadRequest{}));
    const auto reply = ironcore::wire::reply_of<OffloadReply>(answer);
    if (reply) return offload_of(*reply);
    if (reply.error().code() == ErrorCode::unsupported) return std::optional<OffloadCounters>();
    return reply.error();
  }

  static Result<Drop> drop_of(Text word) {
    for (std::size_t i = 0; i < drop_reasons; ++i)
      if (name(static_cast<Drop>(i)) == word) return static_cast<Drop>(i);
    return Error(
        ErrorCode::unsupported,
        "the server drops for a reason that this program does not know: install the same release on both sides");
  }
  /// A newer server may say what this program cannot read.
  static Result<std::vector<Change>> read(Text json) { return within(parse_changes(json), "read the server's answer"); }

  Result<ObjectPage> list(const ListRequest& request) {
    IRONCORE_TRY(const auto answer, call(request));
    IRONCORE_TRY(const auto reply, ironcore::wire::reply_of<ListReply>(answer));
    IRONCORE_TRY(auto objects, read(reply.objects));
    return ObjectPage{std::move(objects), reply.revision, reply.has_more};
  }

  template <class Request>
  Result<Answer> call(const Request& request) {
    return pool_.call(request, clock_.now() + options_.timeout);
  }

  const ClientOptions options_;
  Clock& clock_;
  ironcore::wire::RequestPool pool_;
};

}  // namespace

Result<std::unique_ptr<Client>> Client::connect(Context& context, ClientOptions options, Clock& clock) {
  IRONCORE_CHECK(ironcore::wire::check_endpoint(options.endpoint, options.keys));
  auto client = std::make_unique<ZmqClient>(context.native(), std::move(options), clock);
  IRONCORE_CHECK(client->meet());
  return std::unique_ptr<Client>(std::move(client));
}

}  // namespace ironcore::network::zmq
