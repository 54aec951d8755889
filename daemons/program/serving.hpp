// SPDX-License-Identifier: Apache-2.0
// Serving: where a daemon is reached over ZeroMQ, and whose keys may do what there. The same settings for each of them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ironcore/base/zmq_context.hpp"
#include "program/daemon.hpp"
#include "program/endpoint.hpp"
#include "program/setting.hpp"

namespace ironcore::program {

/// `--listen`, `--key-file` and `--identities-file`.
struct Serving {
  std::vector<std::string> listen;        ///< at most one ipc and one tcp endpoint
  std::filesystem::path key_file;         ///< our key pair, for tcp
  std::filesystem::path identities_file;  ///< who may do what, for tcp
};

/// The three settings, bound to `serving`, which must outlive them; added to those of a daemon.
void add_settings(std::vector<Setting>& settings, Serving& serving, std::string listen_help);

/// What fits together, without reading a file; `invalid` names the setting.
Result<Endpoint> check_serving(const Serving& serving);

/// Makes the directories of sockets.
Result<void> make_directories(const Serving& serving);

/// Options of a server of any of our libraries, with keys and identities read: `path`, and `tcp` with `address`, `port`, `keys` and a member for the
/// identities, whatever they are called there. `load_identities` is of the same library.
template <class ServerOptions, class Load, class Tcp, class Identities>
Result<ServerOptions> server_options(const Serving& serving, Load load_identities, Identities Tcp::*identities) {
  IRONCORE_TRY(auto listen, check_serving(serving));
  ServerOptions options;
  options.path = std::move(listen.path);
  if (!listen.tcp) return options;
  Tcp tcp;
  tcp.address = std::move(listen.tcp->address);
  tcp.port = listen.tcp->port;
  IRONCORE_TRY(tcp.keys, within(wire::load_key_pair(serving.key_file), "key-file"));
  IRONCORE_TRY(tcp.*identities, within(load_identities(serving.identities_file), "identities-file"));
  options.tcp = std::move(tcp);
  return options;
}

/// While it lives, SIGHUP has the identities read again and given to `replace`; a file that is wrong changes nothing.
template <class Load, class Replace>
OnHangup reload_identities(Daemon& daemon, const Serving& serving, Load load_identities, Replace replace) {
  return OnHangup(daemon.signals, [&serving, &log = daemon.log, load_identities, replace] {
    if (serving.identities_file.empty()) return;
    auto identities = load_identities(serving.identities_file);
    if (!identities) return log.error("identities not reloaded", {{"error", identities.error().message()}});
    const std::string count = std::to_string(identities->size());
    replace(std::move(*identities));
    log.info("identities reloaded", {{"identities", count}});
  });
}

/// Logs where the server is reached.
template <class Server>
void tell_endpoints(Daemon& daemon, const Server& server) {
  for (const auto& endpoint : {server.ipc_endpoint(), server.tcp_endpoint()})
    if (!endpoint.empty()) daemon.log.info("serving", {{"endpoint", endpoint}});
}

/// The same, and tells whoever waits that the daemon serves now.
template <class Server>
Result<void> tell_ready(Daemon& daemon, const Server& server) {
  tell_endpoints(daemon, server);
  return daemon.readiness.ready();
}

}  // namespace ironcore::program
