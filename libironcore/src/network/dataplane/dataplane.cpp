// SPDX-License-Identifier: Apache-2.0
// Its life, and what it is told and asked by those who embed it.
#include "ironcore/network/dataplane.hpp"

#include <algorithm>

#include "dataplane_options.hpp"
#include "dataplane_state.hpp"
#include "ironcore/base/random.hpp"

namespace ironcore::network {

namespace {

using dataplane::ConfigurationLog;
using dataplane::Desired;
using dataplane::KeptFlows;

constexpr Duration tend_interval = std::chrono::milliseconds(20);

std::uint64_t random_word() {
  std::uint64_t word = 0;
  SystemRandom().fill(std::as_writable_bytes(std::span(&word, 1)));
  return word;
}

}  // namespace

// ---- life --------------------------------------------------------------------------------------------------------------

Dataplane::State::State(DataplaneOptions with, Ports& its_ports, Clock& its_clock, Log& its_log, std::uint64_t seed,
                        std::unique_ptr<ConfigurationLog> its_configuration, std::unique_ptr<KeptFlows> its_flows)
    : options(std::move(with)),
      configuration(std::move(its_configuration)),
      kept(std::move(its_flows)),
      ports(its_ports),
      clock(its_clock),
      log(its_log),
      routers(options.uplinks.size()),
      desired(options.underlay, seed),
      compiler(options.underlay, {options.maglev_size, ports.queues(), options.connections, seed, kept.get()}),
      snapshots(ports.queues(), compiler.compile(desired, {}, generations)),
      changes(static_cast<std::uint64_t>(
                  std::chrono::duration_cast<std::chrono::microseconds>(clock.wall().time_since_epoch()).count()),
              options.watched_changes),
      captures(options.captures, ports.queues(), clock, log) {
  WorkerOptions worker_options;
  worker_options.connections = options.connections;
  worker_options.fragments = options.fragments;
  worker_options.secret = seed;
  worker_options.kept = kept.get();
  worker_options.timeouts = dataplane::ticks(options.timeouts);
  worker_options.has_firewall = options.has_firewall;
  worker_options.interfaces = Desired::max_interfaces;
  worker_options.flow_offload = options.flow_offload;
  worker_options.offload.packets_per_second = options.offload_packets_per_second;
  worker_options.offload.connections = options.offload_connections;
  worker_options.gateway.mtu = options.mtu;
  worker_options.gateway.routers = &router_mail;
  worker_options.gateway.dns_v4 = options.dns_v4;
  worker_options.gateway.dns_v6 = options.dns_v6;
  worker_options.gateway.lease_seconds = options.lease_seconds;
  Crossing* const between = ports.queues() > 1 ? &crossing : nullptr;
  for (std::size_t i = 0; i < ports.queues(); ++i)
    lanes.push_back(std::make_unique<Lane>(snapshots, i, generations, learned, worker_options, between));
}

Dataplane::State::~State() {
  std::array<Packet, burst> left;
  for (std::size_t i = 0; i < lanes.size(); ++i)
    while (const std::size_t count = crossing.pop(i, left)) ports.release(std::span(left).first(count));
}

Dataplane::Dataplane(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Dataplane>> Dataplane::create(DataplaneOptions options, Ports& ports, Clock& clock, Log& log) {
  IRONCORE_CHECK(within(check(options), "dataplane"));
  if (options.flow_offload != nullptr && options.flow_offload->queues() < ports.queues())
    return Error(ErrorCode::invalid, "dataplane: flow_offload: it has " +
                                         std::to_string(options.flow_offload->queues()) + " queues, and there are " +
                                         std::to_string(ports.queues()) + " workers");
  std::uint64_t seed = options.seed ? *options.seed : random_word();
  std::unique_ptr<ConfigurationLog> configuration;
  std::unique_ptr<KeptFlows> kept;
  if (!options.configuration_directory.empty()) {
    IRONCORE_TRY(configuration, within(ConfigurationLog::open(options.configuration_directory, options.underlay, log),
                                       "kept configuration"));
  }
  if (!options.flow_directory.empty()) {
    const KeptFlows::Shape shape{options.underlay, ports.queues(), options.connections};
    IRONCORE_TRY(kept, within(KeptFlows::open(options.flow_directory, shape, seed, log), "kept connections"));
    seed = kept->secret();
  }
  std::unique_ptr<Dataplane> out(new Dataplane(
      std::make_unique<State>(std::move(options), ports, clock, log, seed, std::move(configuration), std::move(kept))));
  State* state = out->state_.get();
  if (state->configuration) IRONCORE_CHECK(state->restore());
  const auto sync = [state] {
    std::lock_guard guard(state->mutex);
    state->sync_ports();
  };
  ports.on_change(sync);
  sync();
  return out;
}

Dataplane::~Dataplane() {
  state_->ports.on_change({});
}

// ---- control -----------------------------------------------------------------------------------------------------------

Result<void> Dataplane::State::check_ports(std::span<const Change> batch) const {
  std::vector<FieldError> errors;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto* interface = std::get_if<Interface>(&batch[i]);
    if (interface != nullptr && uplink_of(interface->port) != nullptr)
      errors.push_back({"changes[" + std::to_string(i) + "].port", FieldError::Reason::forbidden,
                        interface->port + " is an uplink: no machine can be there"});
  }
  if (!errors.empty()) return Error(std::move(errors));
  return {};
}

void Dataplane::State::tend() {
  bool is_different = watch_routers();
  const auto& interfaces = snapshots.newest().interfaces;
  learned.take([&](std::uint32_t index, std::uint16_t mark, const MacAddress& mac) {
    const auto* view = index < interfaces.size() ? interfaces[index].get() : nullptr;
    if (view == nullptr || view->told.mac || view->mac == mac || LearnedMacs::mark_of(view->born) != mark) return;
    compiler.learn_mac(view->told.id, mac);
    is_different = true;
  });
  if (is_different) {
    publish({});
  } else {
    compiler.let_go_of_nats();
    snapshots.collect();
  }
}

Result<std::uint64_t> Dataplane::apply(std::span<const Change> batch) {
  std::lock_guard guard(state_->mutex);
  state_->tend();
  IRONCORE_CHECK(state_->check_ports(batch));
  IRONCORE_CHECK(state_->compact());
  Desired::Keep keep;
  if (auto* file = state_->configuration.get())
    keep = [file](std::span<const Change> changes) { return within(file->add(changes), "keep the configuration"); };
  IRONCORE_TRY(auto dirty, state_->desired.apply(batch, keep));
  if (dirty.changes.empty()) return state_->changes.revision();
  state_->publish(dirty);
  state_->follow_interfaces(dirty.interfaces);
  const auto revision = state_->changes.add(std::move(dirty.changes));
  state_->applied.notify_all();
  return revision;
}

Result<std::vector<AppliedBatch>> Dataplane::watch(std::uint64_t after, Instant deadline, std::stop_token stop,
                                                   std::size_t limit) const {
  std::unique_lock lock(state_->mutex);
  const auto& changes = state_->changes;
  if (after <= changes.revision())
    state_->clock.wait(lock, state_->applied, std::move(stop), deadline, [&] { return changes.revision() > after; });
  auto batches = changes.after(after, limit);
  if (!batches)
    return Error(ErrorCode::gone, "revision " + std::to_string(after) +
                                      " is not remembered, or of another start: list again, and go on from there");
  return *std::move(batches);
}

std::uint64_t Dataplane::revision() const {
  std::lock_guard guard(state_->mutex);
  return state_->changes.revision();
}

Result<Explanation> Dataplane::explain(const std::string& port, std::span<const std::uint8_t> frame, Instant deadline,
                                       std::stop_token stop, std::size_t worker) const {
  constexpr std::size_t headroom = 128;
  constexpr std::size_t longest_frame = 9216;
  auto& state = *state_;
  if (worker >= state.lanes.size())
    return Error(ErrorCode::not_found, "there is no worker " + std::to_string(worker) +
                                           ": they are counted from 0 to " + std::to_string(state.lanes.size() - 1));
  if (frame.size() > longest_frame)
    return Error(ErrorCode::invalid, "a frame has at most " + std::to_string(longest_frame) + " bytes");
  std::vector<std::uint8_t> memory(headroom + longest_frame);
  std::copy(frame.begin(), frame.end(), memory.begin() + headroom);
  State::Request request;
  request.packet.frame = memory.data() + headroom;
  request.packet.bytes = request.packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
  request.packet.headroom = headroom;
  request.packet.room = longest_frame;
  {
    std::lock_guard guard(state.mutex);
    const auto number = state.port_numbers.find(port);
    if (number == state.port_numbers.end()) return Error(ErrorCode::not_found, "no port is called " + port);
    request.packet.port = number->second;
  }
  std::lock_guard asking(state.asking_mutex);
  auto& lane = *state.lanes[worker];
  lane.request.store(&request);
  state.ports.wake(worker);
  std::unique_lock lock(state.request_mutex);
  const auto is_done = [&] { return request.is_done; };
  if (!state.clock.wait(lock, state.answered, stop, deadline, is_done)) {
    lock.unlock();
    if (lane.request.exchange(nullptr) != nullptr) {
      if (stop.stop_requested()) return Error(ErrorCode::cancelled, "explaining was stopped");
      return Error(ErrorCode::timeout, "worker " + std::to_string(worker) + " does not run");
    }
    lock.lock();
    state.answered.wait(lock, is_done);  // it is at it just now
  }
  if (!request.answer) return Error(ErrorCode::exhausted, "there is no memory for an explanation");
  return *std::move(request.answer);
}

Result<CaptureState> Dataplane::start_capture(const CaptureSpec& spec) {
  return state_->captures.start(spec);
}

Result<CaptureState> Dataplane::stop_capture(const std::string& id) {
  return state_->captures.stop(id);
}

std::vector<CaptureState> Dataplane::captures() const {
  return state_->captures.list();
}

Result<CaptureChunk> Dataplane::read_capture(const std::string& id, std::uint64_t offset) {
  return state_->captures.read(id, offset);
}

std::size_t Dataplane::write_captures() {
  return state_->captures.write();
}

void Dataplane::run_captures(std::stop_token stop) {
  state_->captures.run(std::move(stop));
}

void Dataplane::tend() {
  std::lock_guard guard(state_->mutex);
  state_->tend();
  // What cannot be kept any more is told to whoever applies something.
  if (state_->configuration && !state_->configuration->is_suspect()) static_cast<void>(state_->compact());
}

void Dataplane::run_control(std::stop_token stop) {
  while (sleep_for(state_->clock, tend_interval, stop)) tend();
}

}  // namespace ironcore::network
