// SPDX-License-Identifier: Apache-2.0
// Guests' network interfaces over vhost-user.
#include <sys/socket.h>
#include <sys/un.h>

#include <map>

#include "environment.hpp"
#include "virtio_user.hpp"

namespace ironcore::tests {

namespace {

/// A worker's side: the port is up, and so is the guest's.
void wait_guest(network::Ports& ports, const std::string& port, VirtioUser& guest) {
  REQUIRE(wait_until([&] {
    if (!guest.is_up()) return false;
    for (const auto& one : ports.list())
      if (one.spec.name == port) return one.is_up;
    return false;
  }));
}

class VhostBody final : public PortsBody {
 public:
  ~VhostBody() override {
    // As in life: the ports go first, or the guests; here the ports.
    ports_.reset();
  }
  network::Ports& ports() override { return *ports_; }
  network::PortSpec spec(const std::string& name) override {
    const auto path = (scratch_.path() / ("g" + std::to_string(guests_.size()))).string();
    if (guests_.count(name) == 0) {
      paths_[name] = path;
      guests_[name] = std::make_unique<VirtioUser>(path);
    }
    return dpdk_port(name, "vhost:" + paths_.at(name));
  }
  void feed(const std::string& port, const Bytes& frame) override {
    auto& guest = *guests_.at(port);
    wait_guest(*ports_, port, guest);
    guest.send(frame);
  }
  std::vector<Bytes> sent(const std::string& port) override {
    std::vector<Bytes> out;
    auto& guest = *guests_.at(port);
    if (!guest.is_up()) return out;
    for (auto& frame : guest.take()) out.push_back(std::move(frame.bytes));
    return out;
  }
  bool set_link(const std::string& port, bool is_up) override {
    guests_.at(port).reset();
    if (is_up) guests_.at(port) = std::make_unique<VirtioUser>(paths_.at(port));
    return true;
  }

 private:
  const ScratchDirectory scratch_;
  std::map<std::string, std::string> paths_;
  std::map<std::string, std::unique_ptr<VirtioUser>> guests_;
  std::unique_ptr<network::Ports> ports_ = dpdk_ports({.queues = 2, .buffers = 2048});
};

}  // namespace
}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::VhostBody);

namespace ironcore::tests {

IRONCORE_PORTS_CONFORMANCE(VhostBody);

TEST_CASE("a guest comes, goes and comes back") {
  const ScratchDirectory scratch;
  const auto path = (scratch.path() / "guest").string();
  const auto ports = dpdk_ports();
  std::atomic<int> changes = 0;
  ports->on_change([&] { ++changes; });
  const auto port = open_port(*ports, dpdk_port("g", "vhost:" + path));
  CHECK_FALSE(port.is_up);
  for (int again = 0; again < 3; ++again) {
    const int before = changes;
    VirtioUser guest(path);
    wait_guest(*ports, "g", guest);
    CHECK(wait_until([&] { return changes > before; }));
    {
      AllQueues workers(*ports);
      REQUIRE(guest.send(test_frame(1)));
      auto packet = workers.receive_one();
      CHECK(bytes_of(packet) == test_frame(1));
      ports->send(0, {&packet, 1});
    }
    std::vector<GuestFrame> came;
    CHECK(wait_until([&] {
      came = guest.take();
      return !came.empty();
    }));
    CHECK(came[0].bytes == test_frame(1));
  }
  CHECK(wait_until([&] { return !ports->list()[0].is_up; }));
}

}  // namespace ironcore::tests
