// SPDX-License-Identifier: Apache-2.0
// The remote body of the Store keeps the Store's contract, on the local socket and on TCP with CURVE.
#include "remote_fixture.hpp"

using namespace ironcore;
using namespace ironcore::test;

TEST_CASE("the remote store keeps the contract of the Store over ipc") {
  store_conformance([] { return std::make_unique<Remote>(); });
}

namespace {

/// Server and client with keys, on a port of the loopback.
class RemoteTcp : public StoreUnderTest {
 public:
  RemoteTcp() {
    const auto server_keys = zmq::make_key_pair().value();
    const auto client_keys = zmq::make_key_pair().value();
    zmq::ServerOptions options;
    options.heartbeat = std::chrono::milliseconds(50);
    options.tcp = zmq::TcpOptions{.keys = server_keys, .identities = everything_for(client_keys.public_key)};
    running_.emplace(*server_context_, local_.store(), options, clock_, log_);
    zmq::ClientOptions client;
    client.endpoint = running_->server().tcp_endpoint();
    client.keys = zmq::ClientKeys{client_keys, server_keys.public_key};
    client.timeout = std::chrono::seconds(30);
    client_ = zmq::connect(*context_, client, clock_, log_).value();
  }
  store::Store& store() override { return *client_; }
  void advance(Duration span) override { local_.advance(span); }

 private:
  SystemClock clock_;
  NullLog log_;
  LocalUnderTest local_;
  std::unique_ptr<zmq::Context> server_context_ = context();
  std::unique_ptr<zmq::Context> context_ = context();
  std::optional<RunningServer> running_;
  std::unique_ptr<store::Store> client_;
};

}  // namespace

TEST_CASE("the remote store keeps the contract of the Store over tcp with keys") {
  store_conformance([] { return std::make_unique<RemoteTcp>(); });
}
