// SPDX-License-Identifier: Apache-2.0
// libvirt's default event implementation as an object.
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <mutex>

#include "errors.hpp"
#include "ironcore/compute/libvirt.hpp"
#include "opening.hpp"

namespace ironcore::compute::libvirt {

namespace {

// libvirt keeps exactly one event implementation per process and cannot give it back; these say whether ours is
// registered and whether somebody owns it now.
std::mutex registration;
bool is_registered = false;
bool is_owned = false;

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  std::lock_guard guard(registration);
  if (is_owned) {
    return Error(ErrorCode::already_exists, "libvirt has one event loop per process: share the one that exists");
  }
  if (!is_registered) {
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) return last_error("register libvirt's event loop");
  }
  is_registered = is_owned = true;
  return std::unique_ptr<EventLoop>(new EventLoop);
}

EventLoop::EventLoop() : openings_(std::make_unique<Openings>()) {}

EventLoop::~EventLoop() {
  std::lock_guard guard(registration);
  is_owned = false;
}

void EventLoop::run(std::stop_token stop) {
  // A timer that never fires by itself, only to wake the loop.
  const int timer = virEventAddTimeout(
      -1, [](int id, void*) { virEventUpdateTimeout(id, -1); }, nullptr, nullptr);
  {
    const std::stop_callback wake(stop, [timer] { virEventUpdateTimeout(timer, 0); });
    while (!stop.stop_requested()) {
      if (virEventRunDefaultImpl() < 0) break;
    }
  }
  virEventRemoveTimeout(timer);
}

}  // namespace ironcore::compute::libvirt
