// SPDX-License-Identifier: Apache-2.0
// One connection to a server's request socket: one request at a time, sent again until it is answered.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "codec.hpp"
#include "ironcore/store/zmq.hpp"
#include "socket.hpp"
#include "wire.hpp"

namespace ironcore::store::zmq {

/// An answer whose header was read.
struct Answer {
  Message message;
  Header header;
};

/// Thread: one.
class Channel {
 public:
  static Result<std::unique_ptr<Channel>> open(const std::shared_ptr<Context::Native>& context,
                                               const ClientOptions& options, const std::string& endpoint, Clock& clock);

  /// A number for the next request.
  std::uint64_t next_id() noexcept { return ++last_id_; }
  /// Begins; an unanswered request before is forgotten.
  void start(std::uint64_t id, std::string request);
  /// Does what can be done without waiting: sends, sends again, receives. Empty = no answer yet.
  Result<std::optional<Answer>> advance();
  /// Until an answer comes. `unavailable` if the server could not be reached at all, `timeout` if it did not answer, `cancelled`.
  Result<Answer> finish(Instant deadline, const std::shared_ptr<Wake>& cancel = nullptr);

  const Socket& socket() const noexcept { return socket_; }
  /// What to wait for before the next `advance`, and until when at most.
  zmq_pollitem_t poll_item() const noexcept;
  Instant next_send() const noexcept { return is_sent_ ? resend_at_ : Instant::max(); }
  bool is_busy() const noexcept { return is_busy_; }
  /// How often the request was handed to the network.
  unsigned sends() const noexcept { return sends_; }

 private:
  Channel(Socket socket, std::string endpoint, Clock& clock)
      : socket_(std::move(socket)), endpoint_(std::move(endpoint)), clock_(clock) {}

  Socket socket_;
  std::string endpoint_;
  Clock& clock_;
  std::uint64_t last_id_ = 0;
  std::uint64_t id_ = 0;
  std::string request_;
  bool is_busy_ = false;
  bool is_sent_ = false;
  unsigned sends_ = 0;
  Instant resend_at_{};
  Duration resend_after_{};
};

// An answer is lost only when the server dies or the connection breaks, so asking again is rare and need not be quick.
inline constexpr Duration first_resend = std::chrono::milliseconds(400);
inline constexpr Duration last_resend = std::chrono::seconds(5);
/// The error of a request without an answer: `unavailable` when it could never be sent, otherwise `timeout`.
Error no_answer(const std::string& endpoint, unsigned sends);

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

/// Sets the identity, time-outs and keep-alives of a client's socket.
Result<void> prepare_client_socket(Socket& socket, const ClientOptions& options);

/// The endpoint can be one, and has the keys that it needs.
Result<void> check_options(const ClientOptions& options);

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

std::uint32_t milliseconds_until(Instant deadline, const Clock& clock);

template <class Reply>
Result<Reply> ClientCore::reply(const Answer& answer) {
  if (answer.header.type == MessageType::error) {
    IRONCORE_TRY(auto error, decode<ErrorReply>(answer.message.bytes()));
    return error_of(error);
  }
  if (answer.header.type != Reply::type)
    return Error(ErrorCode::internal, "the server's answer is of another type than the request");
  return decode<Reply>(answer.message.bytes());
}

}  // namespace ironcore::store::zmq
