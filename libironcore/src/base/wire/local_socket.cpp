// SPDX-License-Identifier: Apache-2.0
// Binds a local path safely.
#include "local_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ironcore/base/file.hpp"

namespace ironcore::wire {

namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

/// Makes the listening socket itself, because ZeroMQ would delete a live server's file, and would let others connect before the
/// mode is set.
Result<UniqueFd> listen_at(const std::string& path) {
  auto address = address_of(path);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return system_error(errno, "open a socket");
  if (::connect(probe.get(), generic, sizeof address) == 0 || errno == EAGAIN) {
    ucred holder{};
    socklen_t size = sizeof holder;
    std::string who = "another server";
    if (::getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &holder, &size) == 0 && holder.pid > 0)
      who += " (process " + std::to_string(holder.pid) + ")";
    return Error(ErrorCode::wrong_state,
                 "listen on " + path + ": in use by " + who + ": stop it or choose another path");
  }
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode))
      return Error(ErrorCode::wrong_state,
                   "listen on " + path + ": a file that is no socket stands there: move it away");
    if (::unlink(path.c_str()) != 0) return system_error(errno, "remove the socket file " + path + " of a dead server");
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error(errno, "open a socket");
  if (::bind(fd.get(), generic, sizeof address) != 0) return system_error(errno, "listen on " + path);
  // Nobody can connect before listen, so nobody gets in with the mode that the umask gave.
  if (::chmod(path.c_str(), 0600) != 0) return system_error(errno, "set the mode of " + path);
  if (::listen(fd.get(), 1024) != 0) return system_error(errno, "listen on " + path);
  return fd;
}

}  // namespace

SocketFile& SocketFile::operator=(SocketFile&& other) noexcept {
  if (this != &other) {
    remove();
    path_ = std::move(other.path_);
    inode_ = other.inode_;
    other.path_.clear();
  }
  return *this;
}
void SocketFile::remove() noexcept {
  struct stat info {};
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 && info.st_ino == inode_) ::unlink(path_.c_str());
}

Result<void> check_path(const std::string& path) {
  if (path.size() > max_path_bytes)
    return Error(ErrorCode::invalid,
                 "socket path " + path + " is longer than " + std::to_string(max_path_bytes) + " bytes");
  if (path.front() != '/') return Error(ErrorCode::invalid, "socket path '" + path + "' must be absolute");
  return {};
}

Result<SocketFile> bind_local(Socket& socket, const std::string& path) {
  IRONCORE_TRY(auto fd, listen_at(path));
  struct stat info {};
  SocketFile file;
  if (::stat(path.c_str(), &info) == 0) file = SocketFile(path, info.st_ino);
  IRONCORE_CHECK(socket.set(ZMQ_USE_FD, fd.get()));
  IRONCORE_CHECK(socket.bind("ipc://" + path));
  fd.release();  // ZeroMQ closes it
  return file;
}

Result<void> prepare_router(Socket& socket, const RouterLimits& limits) {
  IRONCORE_CHECK(socket.set(ZMQ_ROUTER_MANDATORY, 1));  // a peer that is gone or full is an error, not silence
  IRONCORE_CHECK(socket.set(ZMQ_SNDHWM, limits.send));
  IRONCORE_CHECK(socket.set(ZMQ_RCVHWM, limits.receive));
  return socket.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(limits.message_bytes));
}

}  // namespace ironcore::wire
