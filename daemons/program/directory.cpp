// SPDX-License-Identifier: Apache-2.0
// Default places and safe modes of directories.
#include "program/directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "ironcore/base/file.hpp"
#include "ironcore/base/uid.hpp"

namespace ironcore::program {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// `0700`, as chmod takes it.
std::string octal(mode_t mode) {
  std::string text;
  for (; mode != 0; mode >>= 3) text.insert(text.begin(), static_cast<char>('0' + (mode & 7)));
  return '0' + text;
}

}  // namespace

Environment Environment::read() {
  return {.home = variable("HOME"),
          .state_home = variable("XDG_STATE_HOME"),
          .runtime_dir = variable("XDG_RUNTIME_DIR"),
          .notify_socket = variable("NOTIFY_SOCKET"),
          .is_root = ::geteuid() == 0,
          .has_colour = ::isatty(STDERR_FILENO) == 1 && variable("NO_COLOR").empty()};
}

std::filesystem::path default_state_directory(const Environment& environment) {
  if (environment.is_root) return "/var/lib/ironcore";
  if (!environment.state_home.empty()) return std::filesystem::path(environment.state_home) / "ironcore";
  return std::filesystem::path(environment.home) / ".local/state/ironcore";
}

std::string default_endpoint(const Environment& environment) {
  if (environment.is_root) return "ipc:///run/ironcore/api.sock";
  if (!environment.runtime_dir.empty()) return "ipc://" + environment.runtime_dir + "/ironcore/api.sock";
  return "ipc://" + (default_state_directory(environment) / "run/api.sock").string();
}

namespace {

std::string beside_default_endpoint(const Environment& environment, const char* name) {
  const auto endpoint = default_endpoint(environment);
  return endpoint.substr(0, endpoint.rfind('/') + 1) + name;
}

}  // namespace

std::string default_dataplane_endpoint(const Environment& environment) {
  return beside_default_endpoint(environment, "dataplane.sock");
}

std::string default_reflector_endpoint(const Environment& environment) {
  return beside_default_endpoint(environment, "reflector.sock");
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

Result<void> make_directory(const std::filesystem::path& directory, mode_t mode, const std::string& mark) {
  if (directory.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(directory.parent_path(), error);
    if (error) return system_error(error.value(), "create " + directory.parent_path().string());
  }
  if (::mkdir(directory.c_str(), mode) != 0 && errno != EEXIST) {
    return system_error(errno, "create " + directory.string());
  }
  struct stat found {};
  if (::stat(directory.c_str(), &found) != 0) return system_error(errno, "look at " + directory.string());
  if (!S_ISDIR(found.st_mode)) {
    return Error(ErrorCode::wrong_state, directory.string() + " is not a directory: move it away or name another one");
  }
  if (found.st_uid != ::geteuid() && found.st_uid != 0) {
    return Error(ErrorCode::forbidden, directory.string() + " belongs to user " + std::to_string(found.st_uid) +
                                           ": name a directory of your own");
  }
  if ((found.st_mode & 07777 & ~mode) == 0) return {};
  struct stat marked {};
  const bool is_ours = ::lstat((directory / mark).c_str(), &marked) == 0 && S_ISREG(marked.st_mode) &&
                       marked.st_uid == ::geteuid() && found.st_uid == ::geteuid();
  if (!is_ours) {
    return Error(ErrorCode::wrong_state,
                 directory.string() + " has mode " + octal(found.st_mode & 07777) + ", at most " + octal(mode) +
                     " is wanted: name one that does not exist yet, or, if it is for this program "
                     "alone, `chmod " +
                     octal(mode) + ' ' + directory.string() + '`');
  }
  if (::chmod(directory.c_str(), mode) != 0) return system_error(errno, "take rights from " + directory.string());
  return {};
}

Result<ClaimedDirectory> claim_directory(const std::filesystem::path& directory, Clock& clock, std::stop_token stop,
                                         Duration patience) {
  const auto path = directory / claim_file;
  ClaimedDirectory claimed{.id = "",
                           .lock = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600))};
  if (!claimed.lock) return system_error(errno, "open " + path.string());
  const auto deadline = clock.now() + patience;
  while (::flock(claimed.lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return system_error(errno, "lock " + path.string());
    // Nobody tells when a lock is free, and a blocking flock would not hear of a stop.
    if (clock.now() < deadline && sleep_for(clock, std::chrono::milliseconds(50), stop)) continue;
    return Error(ErrorCode::wrong_state, "directory " + directory.string() +
                                             " is in use by another process: end it first, or name another one");
  }
  IRONCORE_TRY(const std::string known, read_file(path, 1024));
  if (const auto id = Uid::parse(known)) {
    claimed.id = id->to_text();
    return claimed;
  }
  claimed.id = Uid::random().to_text();
  const auto written = ::pwrite(claimed.lock.get(), claimed.id.data(), claimed.id.size(), 0);
  if (written != static_cast<ssize_t>(claimed.id.size()) || ::fsync(claimed.lock.get()) != 0)
    return system_error(errno, "write " + path.string());
  return claimed;
}

Result<void> make_endpoint_directory(const std::string& endpoint) {
  constexpr std::string_view scheme = "ipc://";
  if (!endpoint.starts_with(scheme) || endpoint.starts_with("ipc://@")) return {};
  const auto directory = std::filesystem::path(endpoint.substr(scheme.size())).parent_path();
  if (directory.empty()) return {};
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return system_error(error.value(), "create " + directory.string());
  return {};
}

}  // namespace ironcore::program
