// SPDX-License-Identifier: Apache-2.0
// A host's dataplane and its ports, offered to other processes over ZeroMQ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/zmq_context.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/network/explanation.hpp"
#include "ironcore/network/zmq_identities.hpp"

namespace ironcore::network::zmq {

using ironcore::wire::ClientKeys;
using ironcore::wire::Context;
using ironcore::wire::KeyPair;
using ironcore::wire::load_key_pair;

/// An endpoint on the network; only with CURVE, only for known keys.
struct TcpOptions {
  std::string address = "127.0.0.1";  ///< or `[::1]`, `0.0.0.0`
  std::uint16_t port = 0;             ///< 0 = a free one
  KeyPair keys;
  Identities identities;
};

struct ServerOptions {
  /// Of the socket: absolute, at most 95 bytes; mode 0600: who may open it may do everything. Empty = none.
  std::string path;
  std::optional<TcpOptions> tcp;     ///< needs a context without another server on TCP
  std::string program = "ironcore";  ///< told to clients
};

/// All counts grow.
struct ServerCounters {
  std::uint64_t requests = 0;
  std::uint64_t malformed = 0;        ///< messages that could not be read: dropped or answered with `invalid`
  std::uint64_t foreign_version = 0;  ///< of another protocol version
  std::uint64_t refused = 0;          ///< requests without the right
  std::uint64_t unknown_keys = 0;     ///< TCP connections of keys that nobody has
};

/// One poll loop on the embedder's thread. Nothing that a peer sends blocks or ends it; a batch is carried out between two messages, an explanation waits for its worker. Thread: `run` one,
/// everything else any.
class Server {
 public:
  /// Binds the endpoints. The socket of a dead server is replaced; `wrong_state` when a live one has the path or the port. Everything must outlive
  /// the server.
  static Result<std::unique_ptr<Server>> create(Context& context, Dataplane& dataplane, Ports& ports,
                                                ServerOptions options, Clock& clock, Log& log);
  virtual ~Server() = default;
  /// Serves until told to stop. While somebody watches, it looks for new batches 50 times a second. `internal` if ZeroMQ itself fails.
  virtual Result<void> run(std::stop_token stop) = 0;
  /// Where clients connect to: `ipc://…`; empty when there is none.
  virtual std::string ipc_endpoint() const = 0;
  virtual std::string tcp_endpoint() const = 0;
  /// From the next request on; watches over TCP are asked for, and judged, anew.
  virtual void replace_identities(Identities identities) = 0;
  virtual ServerCounters counters() const = 0;
};

struct ClientOptions {
  std::string endpoint;                         ///< `ipc:///run/ironcore/dataplane.sock` or `tcp://host:port`
  std::optional<ClientKeys> keys;               ///< required for tcp, refused for ipc
  Duration timeout = std::chrono::seconds(10);  ///< for each call; a watch has its own deadline
};

/// Who serves.
struct ServerFacts {
  std::string program;
  std::uint64_t instance = 0;  ///< another one after each start
  std::uint64_t revision = 0;
  std::uint32_t workers = 0;
};

/// Objects of one kind.
struct ObjectPage {
  std::vector<Change> objects;
  std::uint64_t revision = 0;
  bool has_more = false;
};

struct PortReport {
  PortState state;
  PortCounters counters;
};

struct AllCounters {
  /// Reasons, stages and services that this program does not know are left out.
  DataplaneCounters dataplane;
  std::vector<InterfaceCounters> interfaces;
};

/// The same calls as `Dataplane` and `Ports` have, with their errors, and `unavailable` (nobody answers there), `timeout` (no answer in time: it
/// may have happened), `unsupported` (another protocol version), `forbidden` (the key is not known, or may not do this). A restart of the server is bridged: a call is sent again until its time is up, which is
/// safe because each of them says what shall be. `context` and `clock` must outlive the client. Thread: any.
class Client {
 public:
  static Result<std::unique_ptr<Client>> connect(Context& context, ClientOptions options, Clock& clock);
  virtual ~Client() = default;

  virtual Result<ServerFacts> facts() = 0;
  /// A batch may take 15 MiB as JSON; more is `exhausted`.
  virtual Result<std::uint64_t> apply(std::span<const Change> batch) = 0;
  /// Objects of a kind (`Interface`) behind a key, at most 1,000 in one page.
  virtual Result<ObjectPage> list(std::string_view kind, std::size_t limit, const std::optional<Change>& after) = 0;
  /// The object that a key names; `not_found`.
  virtual Result<Change> get(const Change& key) = 0;
  /// At most 1,000 in one page. What this program does not know of a network is left out. `unsupported`: the server is older than this call.
  virtual Result<ConfigurationPage<VniUse>> vnis(std::size_t limit, std::optional<Vni> after) = 0;
  virtual Result<std::vector<AppliedBatch>> watch(std::uint64_t after, Instant deadline, std::stop_token stop = {},
                                                  std::size_t limit = 1000) = 0;
  virtual Result<AllCounters> counters() = 0;
  /// Resources and meters that this program does not know are left out. `unsupported`: the server is older than this call.
  virtual Result<DataplaneUsage> usage() = 0;
  /// `timeout` also if the worker does not answer within a second.
  virtual Result<Explanation> explain(const std::string& port, std::span<const std::uint8_t> frame,
                                      std::size_t worker = 0) = 0;

  virtual Result<PortState> open_port(const PortSpec& spec) = 0;
  virtual Result<void> close_port(const std::string& name) = 0;
  virtual Result<std::vector<PortReport>> ports() = 0;

  virtual Result<CaptureState> start_capture(const CaptureSpec& spec) = 0;
  /// `not_found` also after a stop whose answer was lost.
  virtual Result<CaptureState> stop_capture(const std::string& id) = 0;
  virtual Result<std::vector<CaptureState>> captures() = 0;
  virtual Result<CaptureChunk> read_capture(const std::string& id, std::uint64_t offset) = 0;
};

}  // namespace ironcore::network::zmq
