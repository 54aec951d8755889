// SPDX-License-Identifier: Apache-2.0
// The remote body of the Store seam.
#include <atomic>

#include "ironcore/store/zmq.hpp"
#include "shared_channel.hpp"
#include "watch.hpp"

namespace ironcore::store::zmq {

namespace {

class RemoteStore final : public Store {
 public:
  explicit RemoteStore(std::shared_ptr<ClientCore> core) : core_(std::move(core)) {}
  ~RemoteStore() override { core_->close(); }

  Result<Object> get(const Key& key) override {
    if (key.kind == nullptr) return Error(ErrorCode::invalid, "get needs a kind");
    IRONCORE_TRY(auto answer, core_->call(GetRequest{to_record(key, core_->kinds)}, deadline()));
    IRONCORE_TRY(auto reply, core_->reply<GetReply>(answer));
    return key.kind->decode(reply.json);
  }

  Result<Page> list(const Query& query, const ListOptions& options) override {
    if (query.kind == nullptr) return Error(ErrorCode::invalid, "list needs a kind");
    return list_remote(*core_, query, options);
  }

  Result<Committed> commit(const Transaction& transaction) override;

  Result<std::unique_ptr<Watch>> watch(const Query& query, Revision from) override {
    if (query.kind == nullptr) return Error(ErrorCode::invalid, "watch needs a kind");
    return watch_remote(core_, query, from);
  }

  Result<Revision> revision() override {
    IRONCORE_TRY(auto answer, core_->call(RevisionRequest{}, deadline()));
    IRONCORE_TRY(auto reply, core_->reply<RevisionReply>(answer));
    return Revision{reply.revision};
  }

  Result<Lease> acquire_lease(const std::string& name, const std::string& holder, Duration time_to_live) override {
    if (time_to_live <= Duration::zero()) return Error(ErrorCode::invalid, "a lease needs a positive time to live");
    const AcquireLeaseRequest request{name, holder, static_cast<std::uint64_t>(time_to_live.count())};
    IRONCORE_TRY(auto answer, core_->call(request, deadline()));
    IRONCORE_TRY(auto reply, core_->reply<AcquireLeaseReply>(answer));
    return lease_of(reply.lease);
  }
  Result<void> release_lease(const std::string& name, std::uint64_t token) override {
    IRONCORE_TRY(auto answer, core_->call(ReleaseLeaseRequest{name, token}, deadline()));
    IRONCORE_CHECK(core_->reply<ReleaseLeaseReply>(answer));
    return {};
  }
  Result<std::vector<Lease>> leases(const std::string& prefix) override {
    IRONCORE_TRY(auto answer, core_->call(LeasesRequest{prefix}, deadline()));
    IRONCORE_TRY(auto reply, core_->reply<LeasesReply>(answer));
    std::vector<Lease> leases;
    leases.reserve(reply.leases.size());
    for (const auto& lease : reply.leases) leases.push_back(lease_of(lease));
    return leases;
  }

 private:
  Instant deadline() const { return core_->clock.now() + core_->options.timeout; }

  std::shared_ptr<ClientCore> core_;
  // Together the id of a commit: random for this client, and counted.
  const std::uint64_t commits_of_ = random_number();
  std::atomic<std::uint64_t> commits_{random_number()};
};

Result<Committed> RemoteStore::commit(const Transaction& transaction) {
  const auto until = deadline();
  EncodedTransaction encoded(transaction, core_->kinds);
  encoded.request.id_high = commits_of_;
  encoded.request.id_low = commits_.fetch_add(1, std::memory_order_relaxed);
  encoded.request.instance = core_->facts().instance;

  IRONCORE_TRY(const auto channel, core_->share());
  for (;;) {
    const auto id = channel->next_id();
    std::string bytes;
    bytes.reserve(encoded.expected_bytes());
    encode(bytes, id, milliseconds_until(until, core_->clock), encoded.request);
    if (bytes.size() > max_request_bytes) {
      return Error(ErrorCode::exhausted, "the transaction takes " + std::to_string(bytes.size()) + " bytes, at most " +
                                             std::to_string(max_request_bytes) + " fit into one request: split it");
    }
    unsigned sends = 0;
    IRONCORE_TRY(const auto answer, channel->call(id, std::move(bytes), until, &sends));
    if (answer.header.type == MessageType::restarted) {
      // This start of the server has not seen it. Whether an earlier one has is certain only if we sent it once.
      IRONCORE_TRY(auto restarted, decode<RestartedReply>(answer.message.bytes()));
      if (sends > 1)
        return Error(ErrorCode::timeout, "the server was restarted before it answered: the write may have happened");
      encoded.request.instance = restarted.instance;
      IRONCORE_CHECK(core_->hello(until));
      continue;
    }
    IRONCORE_TRY(auto reply, core_->reply<CommitReply>(answer));
    Committed committed{Revision{reply.revision}, {}};
    committed.objects.reserve(reply.objects.size());
    for (const auto& record : reply.objects) {
      IRONCORE_TRY(const auto* kind, kind_of(record.resource, core_->kinds));
      IRONCORE_TRY(auto object, kind->decode(record.json));
      committed.objects.push_back(std::move(object));
    }
    return committed;
  }
}

}  // namespace

Result<std::unique_ptr<Store>> connect(Context& context, ClientOptions options, Clock& clock, Log& log) {
  IRONCORE_CHECK(check_endpoint(options.endpoint, options.keys));
  auto core = std::make_shared<ClientCore>(context.native(), std::move(options), clock, log);
  IRONCORE_CHECK(within(core->first_hello(clock.now() + core->options.connect_timeout), "connect to the store"));
  return std::unique_ptr<Store>(std::make_unique<RemoteStore>(std::move(core)));
}

Result<std::string> server_program(Context& context, ClientOptions options, Clock& clock, Log& log) {
  IRONCORE_CHECK(check_endpoint(options.endpoint, options.keys));
  ClientCore core(context.native(), std::move(options), clock, log);
  IRONCORE_TRY(auto facts,
               within(core.first_hello(clock.now() + core.options.connect_timeout), "connect to the store"));
  return std::move(facts.program);
}

}  // namespace ironcore::store::zmq
