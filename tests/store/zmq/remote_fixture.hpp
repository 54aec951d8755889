// SPDX-License-Identifier: Apache-2.0
// A local store, a server for it on a thread, and clients; everything in a temporary directory.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "ironcore/store/zmq.hpp"
#include "ironcore/store/zmq_server.hpp"
#include "ironcore/store/zmq_stream.hpp"
#include "local_fixture.hpp"
#include "objects.hpp"
#include "result_text.hpp"

namespace ironcore::test {

namespace zmq = store::zmq;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "ironcore-zmq-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::unique_ptr<zmq::Context> context() {
  return zmq::Context::create().value();
}

/// A server that runs until this is destroyed.
class RunningServer {
 public:
  RunningServer(zmq::Context& with, store::LocalStore& store, zmq::ServerOptions options, Clock& clock, Log& log)
      : server_(must_create(with, store, std::move(options), clock, log)), thread_([this](std::stop_token stop) {
          auto ran = server_->run(stop);
          if (!ran) failure_ = ran.error().message();
        }) {}
  ~RunningServer() {
    thread_.request_stop();
    thread_.join();
    CHECK_MESSAGE(failure_.empty(), failure_);
  }
  zmq::Server& server() { return *server_; }

 private:
  static std::unique_ptr<zmq::Server> must_create(zmq::Context& with, store::LocalStore& store,
                                                  zmq::ServerOptions options, Clock& clock, Log& log) {
    auto server = zmq::Server::create(with, store, std::move(options), clock, log);
    if (!server) FAIL(server.error().message());
    return std::move(*server);
  }
  std::unique_ptr<zmq::Server> server_;
  std::string failure_;
  std::jthread thread_;
};

inline zmq::ServerOptions quick(std::filesystem::path path) {
  zmq::ServerOptions options;
  options.path = std::move(path);
  options.heartbeat = std::chrono::milliseconds(50);
  return options;
}

/// The usual set: memory store, server on ipc, one client.
class Remote : public StoreUnderTest {
 public:
  explicit Remote(store::LocalStoreOptions local_options = {}) : local_(store::memory_journal(), local_options) {
    start();
  }
  explicit Remote(zmq::ServerOptions options) : options_(std::move(options)) { start(); }

  store::Store& store() override {
    if (!client_) client_ = connect();
    return *client_;
  }
  store::LocalStore& local() { return local_.store(); }
  void advance(Duration span) override { local_.advance(span); }
  std::filesystem::path path() const { return directory_.path() / "s"; }
  std::string endpoint() const { return "ipc://" + path().string(); }
  zmq::Context& context() { return *context_; }
  SystemClock& clock() { return clock_; }
  NullLog& log() { return log_; }
  RunningServer& running() { return *running_; }
  zmq::ServerCounters counters() { return running_->server().counters(); }

  void start() {
    auto options = options_ ? *options_ : zmq::ServerOptions();
    options.path = path();
    if (options.heartbeat == zmq::ServerOptions().heartbeat) options.heartbeat = std::chrono::milliseconds(50);
    running_.emplace(*server_context_, local_.store(), options, clock_, log_);
  }
  void stop() { running_.reset(); }

  zmq::ClientOptions client_options() const {
    zmq::ClientOptions options;
    options.endpoint = endpoint();
    options.timeout = std::chrono::seconds(30);
    return options;
  }
  std::unique_ptr<store::Store> connect() { return connect(client_options()); }
  std::unique_ptr<store::Store> connect(zmq::ClientOptions options) {
    auto client = zmq::connect(*context_, std::move(options), clock_, log_);
    if (!client) FAIL(client.error().message());
    return std::move(*client);
  }

 private:
  SystemClock clock_;
  NullLog log_;
  TemporaryDirectory directory_;
  LocalUnderTest local_;
  std::optional<zmq::ServerOptions> options_;
  std::unique_ptr<zmq::Context> server_context_ = test::context();
  std::unique_ptr<zmq::Context> context_ = test::context();
  std::optional<RunningServer> running_;
  std::unique_ptr<store::Store> client_;
};

/// Waits until `ready` holds; fails with `what` when it never does.
template <class Ready>
void wait_for(const std::string& what, Ready ready) {
  const auto until = std::chrono::steady_clock::now() + long_bound;
  while (!ready()) {
    if (std::chrono::steady_clock::now() >= until) FAIL("never happened: " << what);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // leaves the processors to what it waits for
  }
}

/// The identities file for one key with every right.
inline zmq::Identities everything_for(const std::string& public_key) {
  return zmq::parse_identities(R"({"identities":[{"name":"admin","publicKey":")" + public_key +
                               R"(","rules":[{"verbs":["*"]}]}]})")
      .value();
}

}  // namespace ironcore::test
