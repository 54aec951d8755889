// SPDX-License-Identifier: Apache-2.0
// What a client of the store knows and shares: its connections, and its server.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "../../base/wire/first_contact.hpp"
#include "../../base/wire/request_channel.hpp"
#include "../../base/wire/socket.hpp"
#include "codec.hpp"
#include "ironcore/store/zmq.hpp"
#include "wire.hpp"

namespace ironcore::store::zmq {

class SharedChannel;

/// What a client knows about its server.
struct ServerFacts {
  std::string program;
  std::string epoch;
  std::uint64_t instance = 0;
  Duration heartbeat{};
  std::string changes_endpoint;
  std::string streams_endpoint;
};

/// A channel to one of the server's sockets.
Result<std::unique_ptr<Channel>> open_channel(const std::shared_ptr<Context::Native>& context,
                                              const ClientOptions& options, const std::string& endpoint, Clock& clock);

/// What the store and its watches share: options, a pool of channels, what is known of the server. Thread: any.
class ClientCore {
 public:
  ClientCore(std::shared_ptr<Context::Native> native, ClientOptions given, Clock& a_clock, Log& a_log)
      : context(std::move(native)), options(std::move(given)), clock(a_clock), log(a_log) {}

  const std::shared_ptr<Context::Native> context;
  const ClientOptions options;
  Clock& clock;
  Log& log;
  const KindTable kinds;

  /// For long requests and for those that are waited for beside other things.
  Result<std::unique_ptr<Channel>> take();
  /// Only channels without an open request may be given back; others are dropped.
  void give_back(std::unique_ptr<Channel> channel);

  /// Asks the server who it is.
  Result<ServerFacts> hello(Instant deadline);
  /// The same over a fresh connection, and when it fails, what ZeroMQ saw of it: `forbidden` when keys are the reason.
  Result<ServerFacts> first_hello(Instant deadline);
  ServerFacts facts() const;
  void saw_epoch(Text epoch);

  /// For short requests: a connection with few calls on it.
  Result<std::shared_ptr<SharedChannel>> share();

  /// One short request.
  template <class Request>
  Result<Answer> call(const Request& request, Instant deadline);
  /// The record of an answer; the error if it is one.
  template <class Reply>
  static Result<Reply> reply(const Answer& answer);

  /// The object of a publication. Watches of one client that get the same one share it, decoded once.
  Result<Object> decoded(const api::Kind& kind, Text epoch, std::uint64_t revision, Text json);

  /// The store is gone: watches say `cancelled`.
  void close();
  bool is_closed() const;
  void wake_on_close(std::weak_ptr<Wake> wake);

 private:
  Result<ServerFacts> take_hello(const Answer& answer);

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Channel>> free_;
  std::vector<std::shared_ptr<SharedChannel>> shared_;
  ServerFacts facts_;
  bool is_closed_ = false;
  std::vector<std::weak_ptr<Wake>> watchers_;

  struct Decoded {
    std::uint64_t revision;
    Object object;
  };
  std::mutex decoded_mutex_;
  std::string decoded_epoch_;
  std::array<std::optional<Decoded>, 64> decoded_;  ///< by revision: the newest ones
};

template <class Reply>
Result<Reply> ClientCore::reply(const Answer& answer) {
  return reply_of<Reply>(answer);
}
}  // namespace ironcore::store::zmq
