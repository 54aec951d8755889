// SPDX-License-Identifier: Apache-2.0
// One connection to a server's request socket for the short calls of many threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "channel.hpp"

namespace ironcore::store::zmq {

/// Calls share the connection, so that system calls and wake-ups are shared too. There is no thread behind it: one of those who wait
/// reads for all, and when it has its own answer, the next one does. Thread: any.
class SharedChannel {
 public:
  static Result<std::shared_ptr<SharedChannel>> open(const std::shared_ptr<Context::Native>& context,
                                                     const ClientOptions& options, const std::string& endpoint,
                                                     Clock& clock);

  /// A number for a request.
  std::uint64_t next_id() noexcept { return last_id_.fetch_add(1, std::memory_order_relaxed) + 1; }
  /// Errors as `Channel::finish`. `sends`, if given, becomes how often the request was handed to the network.
  Result<Answer> call(std::uint64_t id, std::string request, Instant deadline, unsigned* sends = nullptr);
  std::size_t in_flight() const noexcept { return in_flight_.load(std::memory_order_relaxed); }

 private:
  /// Of the thread that waits, which takes no lock but this one, so that a hundred answers do not queue for the channel's. Shared, because
  /// who has waited may leave before the one who wakes it is done.
  struct Call {
    enum class State { waiting, reading, done };

    std::string request;  // this and the next ones are guarded by the channel's mutex
    bool is_sent = false;
    unsigned sends = 0;
    Instant resend_at{};
    Duration resend_after{};

    // Written before the state becomes `done`, read after that.
    std::optional<Answer> answer;
    std::optional<Error> error;

    std::mutex mutex;  // guards the state; taken without the channel's
    std::condition_variable changed;
    State state = State::waiting;

    /// `done` is final.
    void set(State wanted);
    void stop_reading();
    /// Until it does not wait any more or `span` has passed.
    State wait_for(Duration span);
  };

  /// The lock of the channel. What was found out under it is told to the waiting threads after it is free.
  class Section {
   public:
    explicit Section(SharedChannel& channel) : channel_(channel), lock_(channel.mutex_) {}
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;
    ~Section() { leave(); }
    void leave();
    void enter() { lock_.lock(); }

   private:
    SharedChannel& channel_;
    std::unique_lock<std::mutex> lock_;
  };

  SharedChannel(Socket socket, int fd, std::shared_ptr<Wake> wake, std::string endpoint, Clock& clock)
      : fd_(fd), wake_(std::move(wake)), endpoint_(std::move(endpoint)), clock_(clock), socket_(std::move(socket)) {}

  /// Returns when to look whether it must be sent again.
  Instant begin(std::uint64_t id, const std::shared_ptr<Call>& call);
  void wait(std::uint64_t id, Call& call, Instant send_again, Instant deadline);
  bool wait_as_reader(std::uint64_t id, Call& call, Instant deadline);
  void give_up(std::uint64_t id, Call& call);
  // With the mutex held:
  void send(Call& call, Instant now);
  void send_waiting(Instant now);
  void settle(Instant now);
  void receive();
  void appoint_reader();

  std::atomic<std::uint64_t> last_id_{0};
  std::atomic<std::size_t> in_flight_{0};

  const int fd_;                      ///< readable when the socket has something to do
  const std::shared_ptr<Wake> wake_;  ///< for the reader
  const std::string endpoint_;
  Clock& clock_;

  std::mutex mutex_;  // guards everything below
  Socket socket_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Call>> calls_;  ///< without an answer
  std::size_t not_sent_ = 0;
  std::shared_ptr<Call> reader_;
  bool has_reader_begun_ = false;  ///< or it does not know yet
  bool is_reader_asleep_ = false;
  std::vector<std::shared_ptr<Call>> answered_;  ///< to be told
  std::shared_ptr<Call> appointed_;              ///< likewise
};

template <class Request>
Result<Answer> ClientCore::call(const Request& request, Instant deadline) {
  IRONCORE_TRY(const auto channel, share());
  const auto id = channel->next_id();
  return channel->call(id, encode(id, milliseconds_until(deadline, clock), request), deadline);
}

}  // namespace ironcore::store::zmq
