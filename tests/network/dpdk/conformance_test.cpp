// SPDX-License-Identifier: Apache-2.0
// Ports on DPDK keep the contract of the seam: over taps, and over wires in this process.
#include <map>

#include "environment.hpp"
#include "tap_interface.hpp"

namespace ironcore::tests {

namespace {

class RingBody final : public PortsBody {
 public:
  network::Ports& ports() override { return *inner_; }
  network::PortSpec spec(const std::string& name) override {
    auto found = outer_specs_.find(name);
    if (found == outer_specs_.end()) {
      const auto device = "ring:r" + std::to_string(outer_specs_.size());
      found = outer_specs_.emplace(name, dpdk_port(name, device, 9000)).first;
      numbers_[name] = open_port(*outer_, found->second).number;
    }
    return dpdk_port(name, found->second.device);
  }
  void feed(const std::string& port, const Bytes& frame) override {
    wait_up(*outer_, port);
    outer_->quiesce(0);
    auto packet = outer_->allocate(0);
    REQUIRE(packet.has_value());
    put(*packet, frame);
    packet->port = numbers_.at(port);
    outer_->send(0, {&*packet, 1});
    outer_->leave(0);
  }
  std::vector<Bytes> sent(const std::string& port) override {
    std::vector<Bytes> out;
    outer_->quiesce(0);
    std::array<network::Packet, 32> packets;
    while (const auto came = outer_->receive(numbers_.at(port), 0, packets)) {
      for (const auto& packet : std::span(packets).first(came)) out.push_back(bytes_of(packet));
      outer_->release(std::span(packets).first(came));
    }
    outer_->leave(0);
    return out;
  }
  bool set_link(const std::string& port, bool is_up) override {
    if (is_up)
      numbers_[port] = open_port(*outer_, outer_specs_.at(port)).number;
    else
      REQUIRE(outer_->close(port).has_value());
    return true;
  }
  std::size_t long_frame() const override { return 2000; }

 private:
  std::map<std::string, network::PortSpec> outer_specs_;
  std::map<std::string, std::uint32_t> numbers_;
  std::unique_ptr<network::Ports> outer_ = dpdk_ports();
  std::unique_ptr<network::Ports> inner_ = dpdk_ports({.queues = 2, .buffers = 2048});
};

class TapBody final : public PortsBody {
 public:
  network::Ports& ports() override { return *ports_; }
  network::PortSpec spec(const std::string& name) override {
    const auto device = "t" + std::to_string(taps_.size());
    if (const auto [place, is_new] = taps_.try_emplace(name); is_new) place->second = std::make_unique<Tap>(device);
    return dpdk_port(name, "tap:" + taps_.at(name)->name);
  }
  void feed(const std::string& port, const Bytes& frame) override { taps_.at(port)->socket.send(frame); }
  std::vector<Bytes> sent(const std::string& port) override { return taps_.at(port)->socket.take(); }
  bool set_link(const std::string& port, bool is_up) override {
    taps_.at(port)->socket.set_up(is_up);
    return true;
  }

 private:
  struct Tap {
    explicit Tap(const std::string& with) : name(with), interface(with, true), socket(with) {}
    const std::string name;
    TapInterface interface;
    FrameSocket socket;
  };
  std::map<std::string, std::unique_ptr<Tap>> taps_;
  std::unique_ptr<network::Ports> ports_ = dpdk_ports({.queues = 2, .buffers = 2048});
};

class PacketSocketBody final : public PortsBody {
 public:
  network::Ports& ports() override { return *ports_; }
  network::PortSpec spec(const std::string& name) override {
    const auto device = "v" + std::to_string(pairs_.size());
    if (const auto [place, is_new] = pairs_.try_emplace(name); is_new) place->second = std::make_unique<Pair>(device);
    return dpdk_port(name, "af_packet:" + pairs_.at(name)->near());
  }
  void feed(const std::string& port, const Bytes& frame) override { pairs_.at(port)->socket.send(frame); }
  std::vector<Bytes> sent(const std::string& port) override { return pairs_.at(port)->socket.take(); }
  bool set_link(const std::string& port, bool is_up) override {
    pairs_.at(port)->socket.set_up(is_up);
    return true;
  }

 private:
  struct Pair {
    explicit Pair(const std::string& name) : interfaces(name), socket(name + "b") {}
    std::string near() const { return interfaces.name() + "a"; }
    Interfaces interfaces;
    FrameSocket socket;
  };
  std::map<std::string, std::unique_ptr<Pair>> pairs_;
  std::unique_ptr<network::Ports> ports_ = dpdk_ports({.queues = 2, .buffers = 2048});
};

}  // namespace
}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::RingBody);
TYPE_TO_STRING(ironcore::tests::TapBody);
TYPE_TO_STRING(ironcore::tests::PacketSocketBody);

namespace ironcore::tests {

IRONCORE_PORTS_CONFORMANCE(RingBody);
IRONCORE_PORTS_CONFORMANCE(TapBody);
IRONCORE_PORTS_CONFORMANCE(PacketSocketBody);

}  // namespace ironcore::tests
