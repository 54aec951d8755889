// SPDX-License-Identifier: Apache-2.0
// Connects to the server on first use.
#include "ironcorectl/session.hpp"

#include <cctype>
#include <iostream>

namespace ironcore::ctl {

Session::Session(SessionOptions options, std::istream& in, program::StandardOutput& output, std::ostream& err,
                 Clock& clock, std::stop_token stop)
    : options_(std::move(options)), in_(in), output_(output), err_(err), clock_(clock), stop_(std::move(stop)) {}

Session::~Session() = default;

std::ostream& Session::out() noexcept {
  return std::cout;
}

std::string Session::namespace_of(const api::Kind& kind) const {
  return kind.info().scope == api::Scope::cluster ? std::string() : options_.namespace_;
}

Result<store::zmq::ClientOptions> Session::client_options() const {
  store::zmq::ClientOptions client{.endpoint = options_.server, .program = "ironcorectl"};
  if (options_.key_file.has_value() != options_.server_key.has_value()) {
    return Error(ErrorCode::invalid, "--key-file and --server-key are given together or not at all");
  }
  if (options_.key_file) {
    IRONCORE_TRY(auto keys, store::zmq::load_key_pair(*options_.key_file));
    client.keys = store::zmq::ClientKeys{std::move(keys), *options_.server_key};
  }
  return client;
}

Result<std::optional<wire::ClientKeys>> Session::keys_for(const std::string& endpoint,
                                                          const std::optional<std::string>& server_key,
                                                          const std::string& name) const {
  // The key file may be there for the server's sake: on ipc it is not needed here.
  if (!endpoint.starts_with("tcp://")) return std::optional<wire::ClientKeys>();
  if (!options_.key_file || !server_key) {
    std::string variable = "IRONCORE_" + name + "_KEY";
    for (auto& c : variable) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return Error(ErrorCode::invalid, endpoint + " needs keys: give --key-file and --" + name +
                                         "-key, or set IRONCORE_KEY_FILE and " + variable);
  }
  IRONCORE_TRY(auto keys, wire::load_key_pair(*options_.key_file));
  return std::optional(wire::ClientKeys{std::move(keys), *server_key});
}

Result<store::zmq::Context*> Session::context() {
  if (!context_) {
    IRONCORE_TRY(context_, store::zmq::Context::create());
  }
  return context_.get();
}

Result<store::Store*> Session::store() {
  if (!store_) {
    IRONCORE_TRY(auto client, client_options());
    IRONCORE_TRY(auto* const shared, context());
    IRONCORE_TRY(store_, within(store::zmq::connect(*shared, std::move(client), clock_, log_), options_.server));
  }
  return store_.get();
}

Result<network::zmq::Client*> Session::dataplane() {
  if (!dataplane_) {
    IRONCORE_TRY(auto* const shared, context());
    network::zmq::ClientOptions client{.endpoint = options_.dataplane, .keys = {}};
    IRONCORE_TRY(client.keys, keys_for(client.endpoint, options_.dataplane_key, "dataplane"));
    IRONCORE_TRY(dataplane_,
                 within(network::zmq::Client::connect(*shared, std::move(client), clock_), options_.dataplane));
  }
  return dataplane_.get();
}

Result<routing::zmq::OperatorClient*> Session::reflector() {
  if (!reflector_) {
    IRONCORE_TRY(auto* const shared, context());
    routing::zmq::OperatorOptions client{.endpoint = options_.reflector, .keys = {}};
    IRONCORE_TRY(client.keys, keys_for(client.endpoint, options_.reflector_key, "reflector"));
    IRONCORE_TRY(reflector_,
                 within(routing::zmq::OperatorClient::connect(*shared, std::move(client), clock_), options_.reflector));
  }
  return reflector_.get();
}

Result<std::string> Session::server_program() {
  IRONCORE_TRY(auto client, client_options());
  IRONCORE_TRY(auto* const shared, context());
  return within(store::zmq::server_program(*shared, std::move(client), clock_, log_), options_.server);
}

Result<store::zmq::StreamClient*> Session::streams() {
  if (!streams_) {
    IRONCORE_TRY(auto client, client_options());
    IRONCORE_TRY(auto* const shared, context());
    IRONCORE_TRY(streams_,
                 within(store::zmq::StreamClient::connect(*shared, std::move(client), clock_, log_), options_.server));
  }
  return streams_.get();
}

}  // namespace ironcore::ctl
