// SPDX-License-Identifier: Apache-2.0
// Flags of interfaces (netdevice(7)).
#include "interface_link.hpp"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "errors.hpp"

namespace ironcore::network::dpdk {

Result<InterfaceLink> InterfaceLink::open(const std::string& interface) {
  InterfaceLink out;
  out.interface_ = interface;
  out.socket_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!out.socket_) return errno_error(errno, "ask the kernel about interfaces");
  return out;
}

bool InterfaceLink::is_up() const noexcept {
  ifreq request{};
  interface_.copy(request.ifr_name, IFNAMSIZ - 1);
  constexpr int wanted = IFF_UP | IFF_RUNNING;
  return ::ioctl(socket_.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & wanted) == wanted;
}

}  // namespace ironcore::network::dpdk
