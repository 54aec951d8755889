// SPDX-License-Identifier: Apache-2.0
// The kernel's end of a tap interface.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "../packets.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::tests {

/// Sends and reads all frames of an interface.
class FrameSocket {
 public:
  explicit FrameSocket(const std::string& interface)
      : name_(interface), socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    REQUIRE(socket_.get() >= 0);
    address_.sll_family = AF_PACKET;
    address_.sll_protocol = htons(ETH_P_ALL);
    address_.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
    REQUIRE(address_.sll_ifindex != 0);
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0);
  }
  bool send(const Bytes& frame) {
    auto sent = ::send(socket_.get(), frame.data(), frame.size(), 0);
    if (sent < 0 && errno == ENETDOWN)  // it was down before, which is said once
      sent = ::send(socket_.get(), frame.data(), frame.size(), 0);
    return sent == static_cast<ssize_t>(frame.size());
  }
  /// What came since the last call, without what this machine sent itself.
  std::vector<Bytes> take() {
    std::vector<Bytes> out;
    std::array<std::uint8_t, 66000> frame;
    while (true) {
      sockaddr_ll from{};
      socklen_t from_bytes = sizeof from;
      const auto bytes =
          ::recvfrom(socket_.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_bytes);
      if (bytes < 0 && errno == ENETDOWN) continue;  // said once
      if (bytes < 0) return out;
      if (from.sll_pkttype != PACKET_OUTGOING) out.emplace_back(frame.begin(), frame.begin() + bytes);
    }
  }
  void set_up(bool is_up) {
    ifreq request{};
    name_.copy(request.ifr_name, IFNAMSIZ - 1);
    REQUIRE(::ioctl(socket_.get(), SIOCGIFFLAGS, &request) == 0);
    request.ifr_flags = static_cast<short>(is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    REQUIRE(::ioctl(socket_.get(), SIOCSIFFLAGS, &request) == 0);
  }

 private:
  std::string name_;
  UniqueFd socket_;
  sockaddr_ll address_{};
};

/// An interface that stays while nobody has opened it, until this is gone.
class TapInterface {
 public:
  TapInterface(const std::string& name, bool has_queues) : fd_(::open("/dev/net/tun", O_RDWR | O_CLOEXEC)) {
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (has_queues ? IFF_MULTI_QUEUE : 0));
    REQUIRE(::ioctl(fd_.get(), TUNSETIFF, &request) == 0);
    REQUIRE(::ioctl(fd_.get(), TUNSETPERSIST, 1) == 0);
    request_ = request;
    fd_.reset();
  }
  ~TapInterface() {
    UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    if (::ioctl(fd.get(), TUNSETIFF, &request_) == 0) ::ioctl(fd.get(), TUNSETPERSIST, 0);
  }
  TapInterface(const TapInterface&) = delete;
  TapInterface& operator=(const TapInterface&) = delete;

 private:
  UniqueFd fd_;
  ifreq request_{};
};

}  // namespace ironcore::tests
