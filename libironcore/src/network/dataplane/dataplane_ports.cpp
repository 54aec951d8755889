// SPDX-License-Identifier: Apache-2.0
// Ports come and go, and so do the routers behind uplinks: what that means to the workers.
#include <algorithm>
#include <utility>

#include "dataplane_state.hpp"

namespace ironcore::network {

namespace {

constexpr std::uint16_t outer_header = 40;

}  // namespace

const Uplink* Dataplane::State::uplink_of(const std::string& port) const {
  const auto found = std::find_if(options.uplinks.begin(), options.uplinks.end(),
                                  [&](const auto& uplink) { return uplink.port == port; });
  return found == options.uplinks.end() ? nullptr : &*found;
}

dataplane::UplinkView Dataplane::State::view_of(const PortState& port, const Uplink& uplink) const {
  const auto number = number_of(uplink);
  const auto mac = uplink.router_address ? routers[number].mac() : uplink.router;
  return {port.number,       mac.value_or(MacAddress()),         uplink.weight,
          port.is_up && mac, static_cast<std::uint32_t>(number), uplink.router_address};
}

std::size_t Dataplane::State::number_of(const Uplink& uplink) const {
  return static_cast<std::size_t>(&uplink - options.uplinks.data());
}

bool Dataplane::State::watch_routers() {
  const auto now_ns = static_cast<std::uint64_t>(clock.now().time_since_epoch().count());
  bool is_different = false;
  for (const auto& uplink : options.uplinks) {
    const auto there = port_numbers.find(uplink.port);
    if (!uplink.router_address || there == port_numbers.end()) continue;
    const auto port = std::lower_bound(known_ports.begin(), known_ports.end(), there->second,
                                       [](const PortState& one, std::uint32_t place) { return one.number < place; });
    if (!port->is_up) continue;
    const auto number = number_of(uplink);
    auto& router = routers[number];
    const auto before = router.mac();
    if (const auto told = router_mail.take_told(number)) router.hear(*told, now_ns);
    const auto ask = router.tick(now_ns);
    router_mail.ask(number, ask, router.mac().value_or(MacAddress()));
    if (ask != dataplane::RouterAsk::nothing) ports.wake(0);
    if (router.mac() == before) continue;
    is_different = true;
    compiler.change_uplink(view_of(*port, uplink));
    log.warning(router.mac() ? "router found" : "router gone",
                {{"uplink", uplink.port},
                 {"router", uplink.router_address->to_text()},
                 {"mac", router.mac() ? router.mac()->to_text() : before->to_text()}});
  }
  return is_different;
}

void Dataplane::State::forget_router(const Uplink& uplink) {
  routers[number_of(uplink)].restart();
  static_cast<void>(router_mail.take_told(number_of(uplink)));
}

void Dataplane::State::port_goes(const PortState& port) {
  port_numbers.erase(port.spec.name);
  if (uplink_of(port.spec.name) != nullptr)
    compiler.remove_uplink(port.number);
  else
    compiler.remove_port(port.spec.name);
  log.info("port is gone", {{"port", port.spec.name}, {"number", std::to_string(port.number)}});
}

void Dataplane::State::port_comes(const PortState& port) {
  port_numbers[port.spec.name] = port.number;
  const auto* uplink = uplink_of(port.spec.name);
  if (uplink != nullptr) forget_router(*uplink);
  if (uplink == nullptr)
    compiler.add_port(port.spec.name, port.number, port.mac);
  else
    compiler.add_uplink(view_of(port, *uplink), port.mac);
  log.info("port is there", {{"port", port.spec.name}, {"number", std::to_string(port.number)}});
  if (uplink != nullptr && port.spec.mtu < options.mtu + outer_header)
    log.warning("uplink is too narrow for the machines' MTU",
                {{"port", port.spec.name}, {"mtu", std::to_string(port.spec.mtu)}});
}

void Dataplane::State::sync_ports() {
  auto before = std::exchange(known_ports, ports.list());
  std::vector<const PortState*> gone;
  std::vector<const PortState*> come;
  bool is_different = false;
  auto old = before.begin();
  for (const auto& port : known_ports) {
    for (; old != before.end() && old->number < port.number; ++old) gone.push_back(&*old);
    const bool is_known = old != before.end() && old->number == port.number;
    if (is_known && old->spec.name == port.spec.name && old->mac == port.mac) {
      const auto* uplink = old->is_up == port.is_up ? nullptr : uplink_of(port.spec.name);
      if (uplink != nullptr) {
        is_different = true;
        forget_router(*uplink);
        compiler.change_uplink(view_of(port, *uplink));
        log.warning(port.is_up ? "uplink is up" : "uplink is down", {{"port", port.spec.name}});
      }
    } else {
      if (is_known) gone.push_back(&*old);
      come.push_back(&port);
    }
    if (is_known) ++old;
  }
  for (; old != before.end(); ++old) gone.push_back(&*old);
  if (gone.empty() && come.empty() && !is_different) return;
  captures.follow(known_ports);
  // All leave before the first one comes: a number may go from one to another.
  for (const auto* port : gone) port_goes(*port);
  for (const auto* port : come) port_comes(*port);
  for (const auto& moved : {gone, come})
    for (const auto* port : moved)
      if (const auto user = port_users.find(port->spec.name); user != port_users.end())
        count_at(user->second, port->spec.name);
  publish({});
}

}  // namespace ironcore::network
