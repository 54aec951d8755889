// SPDX-License-Identifier: Apache-2.0
// Connecting to a cluster without a file, and commands to it.
#include "cluster.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "errors.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::storage::ceph {

namespace {

using Command = decltype(&rados_mon_command);

/// More commands than these at once wait for each other: of a cluster that is silent no more threads than these stay.
constexpr int kMostCalls = 8;

struct Answer {
  std::string output;
  std::string status;
};

std::string taken(char* data, std::size_t size) {
  std::string out(data == nullptr ? "" : data, size);
  if (data != nullptr) rados_buffer_free(data);
  return out;
}

Result<boost::json::value> ask(Connection& connection, Command command, boost::json::object arguments,
                               std::chrono::seconds patience, std::string_view doing) {
  arguments["format"] = "json";
  const auto answer = std::make_shared<Answer>();
  const int code = connection.run(
      [answer, command, text = boost::json::serialize(arguments)](rados_t rados) {
        const char* line = text.c_str();
        char* output = nullptr;
        char* status = nullptr;
        std::size_t output_size = 0, status_size = 0;
        const int result = command(rados, &line, 1, nullptr, 0, &output, &output_size, &status, &status_size);
        answer->output = taken(output, output_size);
        answer->status = taken(status, status_size);
        return result;
      },
      patience);
  if (code == -ETIMEDOUT) return ceph_error(code, doing);
  if (code < 0) {
    Error error = ceph_error(code, doing);
    if (answer->status.empty()) return error;
    return Error(error.code(), error.message() + " (" + in_quotes(answer->status, 200) + ")");
  }
  const std::string& json = answer->output;
  if (std::all_of(json.begin(), json.end(), [](unsigned char c) { return std::isspace(c) != 0; })) {
    return boost::json::value();
  }
  boost::system::error_code wrong;
  boost::json::value value = boost::json::parse(json, wrong);
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

Result<void> connect(Connection& connection, const ClusterOptions& options, const std::string& monitors,
                     std::chrono::seconds monitor_timeout, const std::string& doing) {
  const std::string name = "client." + options.user;
  IRONCORE_CHECK(checked(rados_create2(&connection.rados, "ceph", name.c_str(), 0), doing));
  const std::array<std::pair<const char*, std::string>, 12> settings{{
      {"mon_host", monitors},
      {"keyring", ""},
      {"key", options.key},
      {"client_mount_timeout", std::to_string(options.connect_patience.count())},
      {"rados_mon_op_timeout", std::to_string(monitor_timeout.count())},
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
    IRONCORE_CHECK(checked(rados_conf_set(connection.rados, key, value.c_str()), doing + ": set " + key));
  }
  return checked(rados_connect(connection.rados), doing);
}

}  // namespace

Connection::~Connection() {
  if (rados != nullptr) rados_shutdown(rados);
}

void Connection::Leave::operator()(Connection* connection) const {
  {
    std::unique_lock lock(connection->mutex_);
    if (!connection->changed_.wait_for(lock, std::chrono::seconds(1),
                                       [connection] { return connection->running_ == 0; })) {
      connection->is_left_ = true;  // the last call deletes it
      return;
    }
  }
  delete connection;
}

int Connection::run(std::function<int(rados_t)> call, std::chrono::seconds patience) {
  struct Outcome {
    bool is_known = false;
    int code = 0;
  };
  const auto outcome = std::make_shared<Outcome>();
  const auto end = std::chrono::steady_clock::now() + patience;
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, end, [this] { return running_ < kMostCalls; })) return -ETIMEDOUT;
  try {
    std::thread([this, outcome, call = std::move(call)] {
      const int code = call(rados);
      bool is_last = false;
      {
        const std::lock_guard inner(mutex_);
        *outcome = {.is_known = true, .code = code};
        --running_;
        is_last = is_left_ && running_ == 0;
        changed_.notify_all();
      }
      if (is_last) delete this;
    }).detach();
  } catch (const std::system_error& error) {
    return -error.code().value();
  }
  ++running_;
  if (!changed_.wait_until(lock, end, [&outcome] { return outcome->is_known; })) return -ETIMEDOUT;
  return outcome->code;
}

Result<boost::json::value> Cluster::Impl::ask_monitor(boost::json::object arguments, std::string_view doing) const {
  return ask(*control, &rados_mon_command, std::move(arguments), patience, doing);
}

Result<boost::json::value> Cluster::Impl::ask_manager(boost::json::object arguments, std::string_view doing) const {
  return ask(*control, &rados_mgr_command, std::move(arguments), patience, doing);
}

Result<void> Cluster::Impl::learn_changes(std::string_view doing) const {
  return checked(data->run([](rados_t of) { return rados_wait_for_latest_osdmap(of); }, patience), doing);
}

Cluster::Cluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cluster::~Cluster() = default;

std::string Cluster::address() const {
  return impl_->address;
}

std::string Cluster::id() const {
  std::array<char, 64> text{};  // a UUID
  const int size = rados_cluster_fsid(impl_->rados, text.data(), text.size());
  return {text.data(), static_cast<std::size_t>(std::max(0, size))};
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
  impl->patience = options.monitor_patience;
  const std::string doing = "connect to Ceph at " + impl->monitors + " as client." + options.user;
  impl->data = Connection::Owner(new Connection);
  IRONCORE_CHECK(ceph::connect(*impl->data, options, impl->monitors, options.monitor_patience, doing));
  impl->control = Connection::Owner(new Connection);
  IRONCORE_CHECK(ceph::connect(*impl->control, options, impl->monitors, std::chrono::seconds(0), doing));
  impl->rados = impl->data->rados;
  char* addresses = nullptr;
  IRONCORE_CHECK(checked(rados_getaddrs(impl->rados, &addresses), doing));
  impl->address = addresses;
  rados_buffer_free(addresses);
  return std::unique_ptr<Cluster>(new Cluster(std::move(impl)));
}

}  // namespace ironcore::storage::ceph
