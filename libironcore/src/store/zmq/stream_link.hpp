// SPDX-License-Identifier: Apache-2.0
// One connection to a server's stream socket, and the streams on it: credit, buffers, signs of life.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "../../base/wire/socket.hpp"
#include "channel.hpp"
#include "ironcore/store/zmq_stream.hpp"
#include "wire.hpp"

namespace ironcore::store::zmq {

/// What a reader grants in the beginning, and the most that waits on either side of a stream.
inline constexpr std::uint32_t stream_window = 64 * 1024;
/// Most bytes in one message.
inline constexpr std::size_t stream_chunk = 16 * 1024;
/// Each message costs this much credit beside its bytes, so that many small ones are bounded too.
inline constexpr std::uint32_t stream_message_cost = 64;
/// How often each side says that it is there, and how long it may say nothing.
inline constexpr Duration stream_ping = std::chrono::seconds(1);
inline constexpr Duration stream_silence = std::chrono::seconds(10);

/// Somebody has to move the messages. With `Pump::waiters`, whoever waits for something does it for everybody; with `Pump::owner` only
/// who calls `pump`. Streams hold the link; it ends with the last of them. Thread: any.
class StreamLink : public std::enable_shared_from_this<StreamLink> {
 public:
  enum class Pump { waiters, owner };

  static Result<std::shared_ptr<StreamLink>> open(const ClientCore& core, const std::string& endpoint, Pump pump);
  ~StreamLink();

  struct Offer {
    std::uint64_t id;
    StreamRequest request;
    std::uint32_t credit;
  };
  struct State;

  /// Sends a message as it is, as soon as there is room.
  void send(std::string message);
  /// Moves messages until `deadline`, a stop, or something happened that somebody waits for. Only for one thread at a time.
  void pump(Instant deadline, std::stop_token stop);

  /// For a client: asks for a stream and waits for the answer.
  Result<std::unique_ptr<Stream>> open_stream(RandomId grant, Instant deadline);

  // For a worker, inside the pumping thread.
  std::optional<Offer> next_offer(const KindTable& kinds);
  /// Asks the handler, then accepts or refuses. What the handler writes meanwhile is sent after the acceptance.
  void settle(Offer offer, const StreamWorker::Handler& handler);
  std::optional<Answer> next_answer();
  /// Ends every stream with this error, tells the other sides, and gives up the connection. Not while somebody pumps.
  void end(const Error& error);

  /// Since when nothing was heard.
  Instant last_heard() const;

 private:
  friend class LinkStream;
  StreamLink(Socket socket, std::shared_ptr<Wake> wake, Clock& clock, Pump pump)
      : socket_(std::move(socket)),
        wake_(std::move(wake)),
        clock_(clock),
        pump_(pump),
        last_heard_(clock.now()),
        last_pumped_(last_heard_),
        listening_since_(last_heard_) {}

  template <class Ready>
  bool wait_until(std::unique_lock<std::mutex>& lock, Instant deadline, std::stop_token stop, Ready ready);
  void pump_once(Instant deadline);
  bool flush();
  bool flush(State& state);
  void take(Message message);
  /// Something is to be sent: at once if nobody else moves messages.
  void hurry();
  void send_locked(std::string message) { outbox_.push_back(std::move(message)); }

  Socket socket_;  ///< only the pumping thread
  const std::shared_ptr<Wake> wake_;
  Clock& clock_;
  const Pump pump_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  bool is_pumping_ = false;
  std::deque<std::string> outbox_;
  std::map<std::uint64_t, std::shared_ptr<State>> streams_;
  std::deque<Message> offers_;
  std::deque<Answer> answers_;
  Instant last_heard_;
  Instant last_pumped_;
  Instant listening_since_;  ///< nobody was heard before because nobody listened
};

}  // namespace ironcore::store::zmq
