// SPDX-License-Identifier: Apache-2.0
// Session: what every command of ironcorectl works with: the store, the output, the clock, the namespace.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/network/zmq.hpp"
#include "ironcore/routing/zmq.hpp"
#include "ironcore/store/store.hpp"
#include "ironcore/store/zmq_stream.hpp"
#include "program/standard_output.hpp"

namespace ironcore::ctl {

/// What the person sees the output on.
struct Terminal {
  bool is_terminal = false;   ///< standard output; otherwise nothing is cut and nothing moves
  std::size_t width = 80;     ///< columns, when it is one
  bool has_progress = false;  ///< standard error is a terminal: progress may rewrite its line
  bool is_answered = false;   ///< standard input is a terminal: somebody may try again
};

struct SessionOptions {
  std::string server;                        ///< endpoint
  std::optional<std::string> key_file;       ///< our key pair, for tcp
  std::optional<std::string> server_key;     ///< the server's public key, for tcp
  std::string dataplane;                     ///< endpoint of a host's dataplane
  std::optional<std::string> dataplane_key;  ///< its public key, for tcp
  std::string reflector;                     ///< endpoint of a route reflector
  std::optional<std::string> reflector_key;  ///< its public key, for tcp
  std::string namespace_ = "default";
  std::string editor;             ///< command of `edit`
  std::string scratch_directory;  ///< where `edit` keeps its file
  Terminal terminal;
};

/// Connects when a command first needs it. Thread: one.
class Session {
 public:
  Session(SessionOptions options, std::istream& in, program::StandardOutput& output, std::ostream& err, Clock& clock,
          std::stop_token stop);
  ~Session();

  Result<store::Store*> store();
  Result<store::zmq::StreamClient*> streams();
  Result<network::zmq::Client*> dataplane();
  Result<routing::zmq::OperatorClient*> reflector();
  /// `ironcored 0.1.0`: what the server calls itself.
  Result<std::string> server_program();

  const SessionOptions& options() const noexcept { return options_; }
  const std::string& namespace_() const noexcept { return options_.namespace_; }
  /// The namespace of an object of this kind: empty for cluster-scoped kinds.
  std::string namespace_of(const api::Kind& kind) const;
  const Terminal& terminal() const noexcept { return options_.terminal; }
  std::istream& in() noexcept { return in_; }
  std::ostream& out() noexcept;
  /// Hands over what was printed; whoever prints for long asks now and then whether anybody still reads.
  Result<void> flush() { return output_.flush(); }
  std::ostream& err() noexcept { return err_; }
  Clock& clock() noexcept { return clock_; }
  const std::stop_token& stop() const noexcept { return stop_; }

 private:
  Result<store::zmq::ClientOptions> client_options() const;
  /// Empty for an endpoint on this host; `name` is what its settings begin with.
  Result<std::optional<wire::ClientKeys>> keys_for(const std::string& endpoint,
                                                   const std::optional<std::string>& server_key,
                                                   const std::string& name) const;
  Result<store::zmq::Context*> context();

  SessionOptions options_;
  std::istream& in_;
  program::StandardOutput& output_;
  std::ostream& err_;
  Clock& clock_;
  std::stop_token stop_;
  NullLog log_;
  std::unique_ptr<store::zmq::Context> context_;
  std::unique_ptr<network::zmq::Client> dataplane_;
  std::unique_ptr<routing::zmq::OperatorClient> reflector_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<store::zmq::StreamClient> streams_;
};

}  // namespace ironcore::ctl
