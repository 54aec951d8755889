// SPDX-License-Identifier: Apache-2.0
// The sd_notify(3) protocol by hand: one datagram, no library.
#include "program/readiness.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <system_error>

#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::program {

Readiness::~Readiness() {
  std::error_code ignored;
  if (has_file_) std::filesystem::remove(options_.ready_file, ignored);
}

Result<void> Readiness::ready() {
  if (!options_.ready_file.empty()) {
    IRONCORE_CHECK(atomic_write_file(options_.ready_file, std::to_string(::getpid()) + '\n', 0644));
    has_file_ = true;
  }
  notify("READY=1");
  log_.info("ready", {{"pid", std::to_string(::getpid())}});
  return {};
}

void Readiness::stopping() {
  notify("STOPPING=1");
  log_.info("stopping");
}

void Readiness::notify(std::string_view state) {
  const std::string& path = options_.notify_socket;
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (!socket || ::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                          reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    log_.warning("the service manager could not be told", {{"state", std::string(state)}, {"socket", path}});
  }
}

}  // namespace ironcore::program
