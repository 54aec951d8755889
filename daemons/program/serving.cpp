// SPDX-License-Identifier: Apache-2.0
// The settings of endpoints, and what fits together.
#include "program/serving.hpp"

namespace ironcore::program {
namespace {

Error wrong(const std::string& what) {
  return {ErrorCode::invalid, what};
}

}  // namespace

void add_settings(std::vector<Setting>& settings, Serving& serving, std::string listen_help) {
  settings.push_back(texts("listen", serving.listen, "ENDPOINT", std::move(listen_help)));
  settings.push_back(path("key-file", serving.key_file, "our key pair, for tcp; `ironcored keygen` makes one"));
  settings.push_back(
      path("identities-file", serving.identities_file, "whose keys may do what, for tcp; read again on SIGHUP"));
}

Result<Endpoint> check_serving(const Serving& serving) {
  if (serving.listen.empty()) return wrong("listen: at least one endpoint is needed");
  IRONCORE_TRY(auto listen, within(parse_endpoints(serving.listen), "listen"));
  const bool has_keys = !serving.key_file.empty(), has_identities = !serving.identities_file.empty();
  if (!listen.tcp && (has_keys || has_identities))
    return wrong("key-file and identities-file are for tcp; add --listen tcp://address:port");
  if (listen.tcp && !has_keys)
    return wrong("key-file: tcp is offered only with keys; make them with `ironcored keygen FILE`");
  if (listen.tcp && !has_identities)
    return wrong("identities-file: tcp is offered only to known keys; say which in a file");
  return listen;
}

Result<void> make_directories(const Serving& serving) {
  for (const auto& endpoint : serving.listen) IRONCORE_CHECK(make_endpoint_directory(endpoint));
  return {};
}

}  // namespace ironcore::program
