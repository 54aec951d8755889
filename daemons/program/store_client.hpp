// SPDX-License-Identifier: Apache-2.0
// StoreClient: how a provider reaches ironcored, and waiting for what is not there yet. The same settings for each of them.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/store/zmq.hpp"
#include "program/daemon.hpp"
#include "program/endpoint.hpp"
#include "program/setting.hpp"

namespace ironcore::program {

/// `--server`, `--key-file` and `--server-key`.
struct StoreClient {
  std::string server;
  std::filesystem::path key_file;  ///< our key pair, for tcp
  std::string server_key;          ///< the server's public key, for tcp
};

/// The three settings, bound to `client`, which must outlive them.
inline std::vector<Setting> settings_of(StoreClient& client) {
  return {text("server", client.server, "ENDPOINT", "where ironcored listens"),
          path("key-file", client.key_file, "our key pair, for tcp; `ironcored keygen` makes one"),
          text("server-key", client.server_key, "KEY", "the server's public key, for tcp")};
}

/// How the server is reached, with the keys read; `program` names us to it. `invalid` names the setting that is wrong.
inline Result<store::zmq::ClientOptions> client_options(const StoreClient& settings, std::string program) {
  const auto wrong = [](const char* what) { return Error(ErrorCode::invalid, what); };
  IRONCORE_TRY(const auto server, within(parse_endpoint(settings.server), "server"));
  if (server.tcp && server.tcp->port == 0) return wrong("server: port 0 is no port that a server listens on");
  if (settings.key_file.empty() != settings.server_key.empty())
    return wrong("key-file and server-key are given together or not at all");
  if (server.tcp && settings.key_file.empty())
    return wrong("key-file and server-key are needed for tcp; make a pair with `ironcored keygen FILE`");
  if (!server.tcp && !settings.key_file.empty()) return wrong("key-file and server-key are for tcp; ipc needs none");
  store::zmq::ClientOptions client{.endpoint = settings.server, .program = std::move(program)};
  if (settings.key_file.empty()) return client;
  constexpr std::size_t z85_length = 40;
  if (settings.server_key.size() != z85_length)
    return wrong("server-key: expected the 40 characters that `ironcored keygen` printed");
  IRONCORE_TRY(auto keys, within(store::zmq::load_key_pair(settings.key_file), "key-file"));
  client.keys = store::zmq::ClientKeys{std::move(keys), settings.server_key};
  return client;
}

/// Who comes up first does not matter: waits for the other side, and says so once.
template <class F>
auto when_available(Daemon& daemon, const std::string& what, F open) {
  bool is_told = false;
  for (;;) {
    auto opened = open();
    if (opened || opened.error().code() != ErrorCode::unavailable) return within(std::move(opened), what);
    if (!is_told) daemon.log.warning("waiting", {{"for", what}, {"because", opened.error().message()}});
    is_told = true;
    if (!sleep_for(daemon.clock, std::chrono::milliseconds(500), daemon.stop()))
      return decltype(opened)(Error(ErrorCode::cancelled, "told to stop while waiting for " + what));
  }
}

}  // namespace ironcore::program
