// SPDX-License-Identifier: Apache-2.0
// A server's end on a path of this machine that only its own user can open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ironcore/base/result.hpp"
#include "socket.hpp"

namespace ironcore::wire {

inline constexpr std::size_t max_path_bytes = 95;  ///< what the kernel takes, less our longest suffix

/// A socket file of ours; removed at the end unless somebody else has taken its place.
class SocketFile {
 public:
  SocketFile() noexcept = default;
  SocketFile(std::string path, std::uint64_t inode) noexcept : path_(std::move(path)), inode_(inode) {}
  SocketFile(SocketFile&& other) noexcept : path_(std::move(other.path_)), inode_(other.inode_) { other.path_.clear(); }
  SocketFile& operator=(SocketFile&& other) noexcept;
  ~SocketFile() { remove(); }

 private:
  void remove() noexcept;
  std::string path_;
  std::uint64_t inode_ = 0;
};

/// `invalid` if the path is relative or too long.
Result<void> check_path(const std::string& path);
/// With mode 0600. A socket file of a dead server is replaced; `wrong_state` when a live one has the path, or something else stands there.
Result<SocketFile> bind_local(Socket& socket, const std::string& path);

/// Of a ROUTER, before it is bound. The limits are messages that wait for, or from, one peer.
struct RouterLimits {
  int send = 128;
  int receive = 128;
  std::size_t message_bytes = 0;  ///< a peer that sends more is cut off
};
Result<void> prepare_router(Socket& socket, const RouterLimits& limits);

}  // namespace ironcore::wire
