// SPDX-License-Identifier: Apache-2.0
// NICs that end in the host's network: on a bridge that libvirt keeps, and on a tap. The network is this program's own.
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <functional>

#include "libvirt_body.hpp"
#include "real_host.hpp"

namespace ironcore::tests {

using namespace std::chrono_literals;

namespace {

/// A network without addresses, so that it needs no dnsmasq. Defined, not started; gone with this object.
class Network {
 public:
  explicit Network(const std::string& name) : name_(name), bridge_(name + "-br") {
    const std::string xml = "<network><name>" + name + "</name><bridge name='" + bridge_ + "' delay='0'/></network>";
    with_connection([&](virConnectPtr connection) {
      const virNetworkPtr network = virNetworkDefineXML(connection, xml.c_str());
      check(network != nullptr);
      if (network != nullptr) virNetworkFree(network);
    });
  }
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  ~Network() {
    with_network([](virNetworkPtr network) {
      if (virNetworkIsActive(network) == 1) check(virNetworkDestroy(network) == 0);
      check(virNetworkUndefine(network) == 0);
    });
    CHECK_FALSE(std::filesystem::exists(environment_.network_interfaces() / bridge_));
  }

  void start() {
    with_network([](virNetworkPtr network) { check(virNetworkCreate(network) == 0); });
  }
  compute::LibvirtNetwork device() const { return {name_}; }

  /// Taps on the bridge.
  std::ptrdiff_t ports() const {
    const std::filesystem::directory_iterator ports(environment_.network_interfaces() / bridge_ / "brif");
    return std::distance(begin(ports), end(ports));
  }
  /// The bridge has had a frame from this address.
  bool has_heard(const MacAddress& mac) const {
    constexpr std::size_t kEntry = 16;  // struct __fdb_entry: the address, a port, whether it is a port's own, ages
    const std::string table = text_of(environment_.network_interfaces() / bridge_ / "brforward");
    for (std::size_t at = 0; at + kEntry <= table.size(); at += kEntry) {
      const bool is_own = table[at + 7] != 0;
      if (!is_own && std::equal(mac.bytes().begin(), mac.bytes().end(), table.begin() + std::ptrdiff_t(at),
                                [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); })) {
        return true;
      }
    }
    return false;
  }

 private:
  static void check(bool is_done) { CHECK_MESSAGE(is_done, virGetLastErrorMessage()); }

  /// A new one each time, because a test may end the daemon.
  void with_connection(const std::function<void(virConnectPtr)>& action) {
    const virConnectPtr connection = virConnectOpen(environment_.uri().c_str());
    check(connection != nullptr);
    if (connection == nullptr) return;
    action(connection);
    virConnectClose(connection);
  }
  void with_network(const std::function<void(virNetworkPtr)>& action) {
    with_connection([&](virConnectPtr connection) {
      const virNetworkPtr network = virNetworkLookupByName(connection, name_.c_str());
      check(network != nullptr);
      if (network == nullptr) return;
      action(network);
      virNetworkFree(network);
    });
  }

  LibvirtEnvironment& environment_ = LibvirtEnvironment::get();
  std::string name_;
  std::string bridge_;
};

compute::DomainNic nic_on(const compute::DomainSpec& spec, const std::string& name, compute::LibvirtNetwork device) {
  return {name, compute::derived_mac(spec.uid, name), std::move(device)};
}

}  // namespace

TEST_CASE("a NIC on a libvirt network is a port of its bridge, reaches it, and outlives the daemon") {
  auto& environment = LibvirtEnvironment::get();
  Network network("icnet");
  network.start();
  CHECK(network.ports() == 0);
  LibvirtBody body;
  auto& hypervisor = body.hypervisor();
  auto spec = body.spec(HypervisorBody::Guest::willing);
  spec.nics = {nic_on(spec, "lan", network.device())};
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  CHECK(hypervisor.domain(spec.uid)->nics == std::vector<std::string>{"lan"});
  CHECK(network.ports() == 1);
  REQUIRE(wait_for_boots(body, spec, 1));
  CHECK(body.wait_until([&] { return network.has_heard(spec.nics[0].mac); }));

  EventLog events(hypervisor);
  const auto process = hypervisor.domain(spec.uid)->process;
  environment.kill_daemon();
  REQUIRE(body.wait_until([&] { return events.has(compute::DomainEvent::Type::reconnected, Uid()); }));
  REQUIRE(wait_for_state(body, spec.uid, compute::DomainState::running));
  CHECK(hypervisor.domain(spec.uid)->process == process);
  CHECK(hypervisor.domain(spec.uid)->nics == std::vector<std::string>{"lan"});
  CHECK(network.ports() == 1);

  IRONCORE_REQUIRE_OK(hypervisor.destroy(spec.uid));
  CHECK(network.ports() == 0);
}

TEST_CASE("a NIC on a libvirt network is plugged into a running guest and out again") {
  Network network("icnet");
  network.start();
  const Network idle("icidle");
  LibvirtBody body;
  auto& hypervisor = body.hypervisor();
  EventLog events(hypervisor);
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  REQUIRE(wait_for_boots(body, spec, 1));

  const auto absent = hypervisor.attach_nic(spec.uid, nic_on(spec, "lan", {"no-such-network"}));
  IRONCORE_CHECK_FAILS(not_found, absent);
  CHECK(absent.error().message().find("'no-such-network'") != std::string::npos);
  const auto inactive = hypervisor.attach_nic(spec.uid, nic_on(spec, "lan", idle.device()));
  IRONCORE_CHECK_FAILS(wrong_state, inactive);
  CHECK(inactive.error().message().find("network 'icidle' is not active") != std::string::npos);
  CHECK(hypervisor.domain(spec.uid)->nics == std::vector<std::string>{"first"});

  const auto nic = nic_on(spec, "lan", network.device());
  for (int i = 0; i < 2; ++i) {
    IRONCORE_REQUIRE_OK(hypervisor.attach_nic(spec.uid, nic));
    CHECK(hypervisor.domain(spec.uid)->nics.size() == 2);
    CHECK(contains(hypervisor.domain(spec.uid)->nics, "lan"));
    CHECK(network.ports() == 1);
  }
  // A guest that is still busy with the new device may miss the first request.
  auto next = body.clock().now();
  CHECK(body.wait_until([&] {
    if (body.clock().now() >= next) {
      IRONCORE_REQUIRE_OK(hypervisor.detach_nic(spec.uid, "lan"));
      next = body.clock().now() + 5s;
    }
    return !contains(hypervisor.domain(spec.uid)->nics, "lan");
  }));
  CHECK(body.wait_until([&] { return events.has(compute::DomainEvent::Type::device_removed, spec.uid, "lan"); }));
  CHECK(body.wait_until([&] { return network.ports() == 0; }));
}

TEST_CASE("a machine whose libvirt network is absent or inactive says so, and starts once the network is there") {
  RealHost host;
  auto spec = host.spec();
  spec.nics = {{"lan", {}, compute::LibvirtNetwork{"icnet"}}};
  const auto check_refused = [&](ErrorCode code, const std::string& reason) {
    const auto refused = host.host->apply(spec);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code() == code);
    CHECK(refused.error().message().find("machine web-1: start: ") == 0);
    CHECK_MESSAGE(refused.error().message().find(reason) != std::string::npos, refused.error().message());
    const auto status = host.host->status(spec.uid).value();
    CHECK(status.state == compute::MachineState::pending);
    CHECK(status.message == refused.error().message());
  };
  const auto skip_pause = [&] {  // that follows a failed start
    spec.power = compute::Power::off;
    host.apply(spec);
    spec.power = compute::Power::on;
  };
  check_refused(ErrorCode::not_found, "no network with matching name 'icnet'");
  Network network("icnet");
  skip_pause();
  check_refused(ErrorCode::wrong_state, "network 'icnet' is not active");
  network.start();
  skip_pause();
  const auto status = host.reach(spec, compute::MachineState::running);
  REQUIRE(status.nics.size() == 1);
  CHECK(status.nics[0].state == compute::DeviceStatus::State::attached);
  CHECK(status.nics[0].handle == "network:icnet");
  CHECK(network.ports() == 1);
  host.check_removed(spec);
  CHECK(network.ports() == 0);
}

TEST_CASE("a NIC on a tap that somebody made uses it and leaves it") {
  auto& environment = LibvirtEnvironment::get();
  REQUIRE(environment.run_in_network("ip tuntap add dev ictap mode tap"));
  const auto tap = environment.network_interfaces() / "ictap";
  RealHost host;
  auto spec = host.spec();
  spec.nics[0].device = compute::Tap{"ictap"};
  host.run(spec);
  CHECK(std::filesystem::exists(tap));
  const std::string mac = compute::derived_mac(spec.uid, "net").to_text();
  auto port = host.host->console(spec.uid);
  REQUIRE(port.has_value());
  REQUIRE((*port)
              ->write("cat /sys/class/net/eth0/address; echo end-$((1+1))\r", environment.clock().now() + 1min)
              .has_value());
  REQUIRE(host.wait_for_text(spec.uid, "end-2"));
  CHECK(host.console(spec.uid).find(mac) != std::string::npos);
  host.check_removed(spec);
  CHECK(std::filesystem::exists(tap));
  CHECK(environment.run_in_network("ip link delete ictap"));
}

}  // namespace ironcore::tests
