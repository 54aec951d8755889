// SPDX-License-Identifier: Apache-2.0
// Speakers and reflectors on ZeroMQ: each one with its sockets and its loop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/zmq_context.hpp"
#include "ironcore/base/zmq_identities.hpp"
#include "ironcore/routing/reflector.hpp"
#include "ironcore/routing/rights.hpp"
#include "ironcore/routing/speaker.hpp"

namespace ironcore::routing::zmq {

using ironcore::wire::ClientKeys;
using ironcore::wire::Context;
using ironcore::wire::KeyPair;

/// Where a reflector is: `ipc:///PATH`, or `tcp://HOST:PORT` with keys.
struct ReflectorEndpoint {
  std::string endpoint;
  std::optional<ClientKeys> keys;
};

/// A Speaker with sockets to its reflectors. `run` is its loop; everything else may be called from any thread, before it runs too.
class SpeakerNode {
 public:
  /// Connects nothing yet. `options.reflectors` is not used. `invalid`: an endpoint, its keys, or the options. Everything given outlives it.
  static Result<std::unique_ptr<SpeakerNode>> create(Context& context, SpeakerOptions options,
                                                     std::vector<ReflectorEndpoint> reflectors, Clock& clock,
                                                     Random& random, Log& log);
  virtual ~SpeakerNode() = default;
  /// Calls `f` with the speaker while nobody else uses it, and sends what follows from it before it returns. `f` must not wait.
  virtual void with(const std::function<void(Speaker&)>& f) = 0;
  /// Called after each turn in which something may have changed, and when the time that it gave has come: for an Applier. By the loop, or within
  /// `with`. To be set before `run`.
  virtual void on_turn(std::function<Instant(Speaker&)> hook) = 0;
  /// What reflectors are told at the end of `run`; coming back unless this was called.
  virtual void leave_as(Speaker::Leave leave) = 0;
  /// Until told to stop. `internal` if ZeroMQ itself fails.
  virtual Result<void> run(std::stop_token stop) = 0;
};

/// The rights of keys. In the identities file the resources are `routes` (`read`: subscribe; `update`: announce), `peers` (`read`: be a reflector that reads
/// everything announced here) and `status` (`read`: what operators see); `vnis` and `prefixes` narrow `routes`. To announce, prefixes must be named.
class KeyRights {
 public:
  static Result<KeyRights> parse(std::string_view json);
  static Result<KeyRights> load(const std::filesystem::path& file);
  KeyRights();
  ~KeyRights();
  KeyRights(KeyRights&&) noexcept;
  KeyRights& operator=(KeyRights&&) noexcept;

  struct Rights {
    NodeRights node;
    bool may_read_status = false;
  };
  /// Null for a key that nobody has.
  const Rights* find(std::string_view public_key) const;
  std::size_t size() const;

 private:
  struct Table;
  std::unique_ptr<Table> table_;
};

struct TcpOptions {
  std::string address = "127.0.0.1";  ///< or `[::1]`, `0.0.0.0`
  std::uint16_t port = 0;  ///< of sessions; announcements and publications are on the two after it. 0 = three free ones
  KeyPair keys;
  KeyRights identities;
};

struct ServerOptions {
  /// Of the socket of sessions: absolute, at most 91 bytes; two more lie beside it. Mode 0600: who may open it may do everything. Empty = none.
  std::string path;
  std::optional<TcpOptions> tcp;     ///< needs a context without another server on TCP
  std::string program = "ironcore";  ///< told to operators
};

/// A Reflector with sockets for nodes and to its peers. Thread: `run` one, everything else any.
class ReflectorServer {
 public:
  /// Binds. `wrong_state` when a live server has the path or the port. `options.peers`, `bulk` and `publications` are not used.
  static Result<std::unique_ptr<ReflectorServer>> create(Context& context, ReflectorOptions options,
                                                         ServerOptions server, std::vector<ReflectorEndpoint> peers,
                                                         Clock& clock, Random& random, Log& log);
  virtual ~ReflectorServer() = default;
  /// Until told to stop; then nodes are told. `internal` if ZeroMQ itself fails.
  virtual Result<void> run(std::stop_token stop) = 0;
  /// Waits for `Reflector::is_ready` while it runs. False = told to stop before.
  virtual bool wait_until_ready(std::stop_token stop) const = 0;
  /// Where nodes connect to: `ipc://…`; empty when there is none.
  virtual std::string ipc_endpoint() const = 0;
  virtual std::string tcp_endpoint() const = 0;
  /// From now on: sessions over TCP are opened, and judged, anew.
  virtual void replace_identities(KeyRights identities) = 0;
  /// Calls `f` with the reflector while its loop does not use it. `f` must not wait.
  virtual void with(const std::function<void(const Reflector&)>& f) const = 0;
  /// TCP connections of keys that nobody has.
  virtual std::uint64_t unknown_keys() const = 0;
  /// What is counted here beside the reflector, by name.
  virtual std::vector<ReflectorCount> counts() const = 0;
};

struct OperatorOptions {
  std::string endpoint;            ///< as nodes connect to: `ipc:///run/ironcore/reflector.sock` or `tcp://host:port`
  std::optional<ClientKeys> keys;  ///< required for tcp, refused for ipc
  Duration timeout = std::chrono::seconds(10);  ///< for each call
};

struct PeerStatus {
  std::string endpoint;
  ReflectorSession session;  ///< as far as operators are told
};

/// What a reflector says of itself.
struct OperatorStatus {
  std::string program;
  std::string name;
  std::uint64_t epoch = 0;  ///< of this life
  bool is_ready = false;
  Duration heartbeat{};
  Duration lease{};
  std::vector<std::pair<std::string, std::uint64_t>>
      counts;  ///< those of `counts`, in the reflector's order; a newer one has more
  std::vector<PeerStatus> peers;
};

struct NodesPage {
  std::vector<NodeStatus> nodes;
  bool has_more = false;  ///< behind the last one
};

struct VnisPage {
  std::vector<VniStatus> vnis;
  bool has_more = false;  ///< above the last one
};

/// What operators may ask a reflector; over TCP with a key that may read `status`. Errors: `unavailable` (nobody answers there), `timeout`, `forbidden`, `unsupported`
/// (another protocol version). A restart of the reflector is bridged: a call is sent again until its time is up. `context` and `clock` outlive the client. Thread: any.
class OperatorClient {
 public:
  static Result<std::unique_ptr<OperatorClient>> connect(Context& context, OperatorOptions options, Clock& clock);
  virtual ~OperatorClient() = default;

  virtual Result<OperatorStatus> status() = 0;
  /// At most 1,000 of them, in the order of their names.
  virtual Result<NodesPage> nodes(std::string_view after = {}, std::size_t limit = 1'000) = 0;
  /// At most 1,000 VNIs, with both views of each.
  virtual Result<VnisPage> vnis(Vni from = {}, std::size_t limit = 1'000) = 0;
  /// At most 1,000 routes.
  virtual Result<RoutesPage> routes(const RoutesQuery& query) = 0;
};

}  // namespace ironcore::routing::zmq
