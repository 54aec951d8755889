// SPDX-License-Identifier: Apache-2.0
// Connecting to a cluster without a file, and commands to it.
#include "cluster.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "errors.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::storage::ceph {

namespace {

using Command = decltype(&rados_mon_command);

Result<boost::json::value> ask(rados_t rados, Command command, boost::json::object arguments, std::string_view doing) {
  arguments["format"] = "json";
  const std::string text = boost::json::serialize(arguments);
  const char* line = text.c_str();
  char* out = nullptr;
  char* status = nullptr;
  std::size_t out_size = 0, status_size = 0;
  const int code = command(rados, &line, 1, nullptr, 0, &out, &out_size, &status, &status_size);
  const std::string answer(out == nullptr ? "" : out, out_size);
  const std::string words(status == nullptr ? "" : status, status_size);
  if (out != nullptr) rados_buffer_free(out);
  if (status != nullptr) rados_buffer_free(status);
  if (code < 0) {
    Error error = ceph_error(code, doing);
    if (words.empty()) return error;
    return Error(error.code(), error.message() + " (" + in_quotes(words, 200) + ")");
  }
  if (std::all_of(answer.begin(), answer.end(), [](unsigned char c) { return std::isspace(c) != 0; })) {
    return boost::json::value();
  }
  boost::system::error_code wrong;
  boost::json::value value = boost::json::parse(answer, wrong);
  if (wrong) return Error(ErrorCode::internal, std::string(doing) + ": the cluster's answer is no JSON");
  return value;
}

/// Of an option's text, which goes into a list that commas separate.
bool is_monitor(std::string_view text) {
  return !text.empty() && text.find_first_of(", \t\n;=") == std::string_view::npos;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ",") + part;
  return out;
}

}  // namespace

Cluster::Impl::~Impl() {
  if (rados != nullptr) rados_shutdown(rados);
}

Result<boost::json::value> Cluster::Impl::ask_monitor(boost::json::object arguments, std::string_view doing) const {
  return ask(rados, &rados_mon_command, std::move(arguments), doing);
}

Result<boost::json::value> Cluster::Impl::ask_manager(boost::json::object arguments, std::string_view doing) const {
  return ask(rados, &rados_mgr_command, std::move(arguments), doing);
}

Cluster::Cluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cluster::~Cluster() = default;

std::string Cluster::address() const {
  return impl_->address;
}

Result<std::unique_ptr<Cluster>> Cluster::connect(const ClusterOptions& options) {
  if (options.monitors.empty() || !std::all_of(options.monitors.begin(), options.monitors.end(), is_monitor)) {
    return Error(ErrorCode::invalid, "connect to Ceph: monitors must be given as host:port, at least one");
  }
  if (options.user.empty() || options.key.empty()) {
    return Error(ErrorCode::invalid, "connect to Ceph: a user (without \"client.\") and its key must be given");
  }
  auto impl = std::make_unique<Impl>();
  impl->monitors = joined(options.monitors);
  const std::string doing = "connect to Ceph at " + impl->monitors + " as client." + options.user;
  const std::string name = "client." + options.user;
  IRONCORE_CHECK(checked(rados_create2(&impl->rados, "ceph", name.c_str(), 0), doing));
  const std::array<std::pair<const char*, std::string>, 12> settings{{
      {"mon_host", impl->monitors},
      {"keyring", ""},
      {"key", options.key},
      {"client_mount_timeout", std::to_string(options.connect_patience.count())},
      {"rados_mon_op_timeout", std::to_string(options.monitor_patience.count())},
      {"rados_osd_op_timeout", std::to_string(options.osd_patience.count())},
      {"log_file", ""},
      {"admin_socket", ""},
      {"log_to_stderr", "false"},
      {"err_to_stderr", "false"},
      {"log_to_syslog", "false"},
      // Clones whose parent may be removed, whatever the cluster's default is.
      {"rbd_default_clone_format", "2"},
  }};
  for (const auto& [key, value] : settings) {
    IRONCORE_CHECK(checked(rados_conf_set(impl->rados, key, value.c_str()), doing + ": set " + key));
  }
  IRONCORE_CHECK(checked(rados_connect(impl->rados), doing));
  char* addresses = nullptr;
  IRONCORE_CHECK(checked(rados_getaddrs(impl->rados, &addresses), doing));
  impl->address = addresses;
  rados_buffer_free(addresses);
  return std::unique_ptr<Cluster>(new Cluster(std::move(impl)));
}

}  // namespace ironcore::storage::ceph
