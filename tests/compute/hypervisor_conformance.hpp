// SPDX-License-Identifier: Apache-2.0
// What every body of the Hypervisor seam must do, as one suite: each body's test program instantiates it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "ironcore/compute/hypervisor.hpp"
#include "ironcore/image/disk_file.hpp"

namespace ironcore::tests {

/// What the suite needs to know about a body. One object per test case; its destructor removes every domain it made.
class HypervisorBody {
 public:
  enum class Guest { willing, without_agent, deaf };

  virtual ~HypervisorBody() = default;
  virtual compute::Hypervisor& hypervisor() = 0;
  virtual Clock& clock() = 0;
  /// A domain with a name of its own, whose guest prints `ready` and then behaves as told.
  virtual compute::DomainSpec spec(Guest guest) = 0;
  /// Stops the guest where it is, from outside.
  virtual void pause(const Uid&) {}
  /// For disks; QEMU can enter it.
  virtual std::filesystem::path directory() = 0;
  /// Waits, or lets virtual time pass, until `done` holds; false after a long time.
  virtual bool wait_until(const std::function<bool()>& done) = 0;
  /// False for bodies without real or scripted guests: no boot, no console, no answer to signals.
  virtual bool has_guests() const { return true; }
  /// An image on Ceph that nobody uses yet, as a disk, and what opens it. It goes with the body.
  struct Image {
    compute::DomainDisk disk;
    compute::DiskSecrets secrets;
    std::uint64_t size_bytes = 0;  ///< that the guest sees
  };
  enum class Encryption { none, luks2 };
  /// Nothing for bodies without a cluster.
  virtual std::optional<Image> image(const std::string& disk, const std::string& target, Encryption encryption) {
    (void)disk, (void)target, (void)encryption;
    return std::nullopt;
  }
  /// As its owner does.
  virtual void enlarge(const Image&, std::uint64_t) {}

  /// What the hypervisor itself says about a disk that is attached.
  virtual compute::DiskLimits limits(const Uid& uid, const std::string& target) = 0;
  /// False for bodies that cannot plug devices into a running domain.
  virtual bool has_hot_plug() const { return true; }
};

/// Collects events; may be called on any thread.
class EventLog {
 public:
  explicit EventLog(compute::Hypervisor& hypervisor) : hypervisor_(hypervisor) {
    hypervisor_.on_event([this](const compute::DomainEvent& event) {
      std::lock_guard guard(mutex_);
      events_.push_back(event);
    });
  }
  ~EventLog() { hypervisor_.on_event({}); }

  bool has(compute::DomainEvent::Type type, const Uid& uid, const std::string& device = {}) const {
    std::lock_guard guard(mutex_);
    return std::any_of(events_.begin(), events_.end(), [&](const compute::DomainEvent& event) {
      return event.type == type && event.uid == uid && event.device == device;
    });
  }

 private:
  compute::Hypervisor& hypervisor_;
  mutable std::mutex mutex_;
  std::vector<compute::DomainEvent> events_;
};

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

inline constexpr std::string_view kReady = "ironcore guest: ready";

inline bool wait_for_boots(HypervisorBody& body, const compute::DomainSpec& spec, std::size_t boots) {
  return body.wait_until([&] { return count(text_of(spec.console_log), kReady) >= boots; });
}
inline bool wait_for_state(HypervisorBody& body, const Uid& uid, compute::DomainState state) {
  return body.wait_until([&] {
    auto domain = body.hypervisor().domain(uid);
    return domain && domain->state == state;
  });
}
/// From any limits to any others, twice each.
inline void check_limits(HypervisorBody& body, const Uid& uid, const compute::DomainDisk& disk) {
  using std::chrono::seconds;
  CHECK(body.limits(uid, disk.target) == disk.limits);
  for (const compute::DiskLimits& one : std::initializer_list<compute::DiskLimits>{
           {.iops = 100, .burst_iops = 1000, .burst = seconds(15)},
           {.iops = 200, .bytes_per_second = 1 << 20},
           {.bytes_per_second = 1 << 20, .burst_bytes_per_second = 2 << 20, .burst = seconds(1)},
           {},
           {.iops = 10,
           .bytes_per_second = 1 << 20,
           .burst_iops = 20,
           .burst_bytes_per_second = 2 << 20,
           .burst = seconds(5)},
           {.iops = 5000,
           .bytes_per_second = 8 << 20,
           .burst_iops = 9000,
           .burst_bytes_per_second = 9 << 20,
           .burst = seconds(3)},
           {}}) {
    for (int i = 0; i < 2; ++i) {
      const auto limited = body.hypervisor().limit_disk(uid, disk.name, one);
      CHECK_MESSAGE(limited.has_value(), limited.error().message());
      CHECK(body.limits(uid, disk.target) == one);
    }
  }
}

inline bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

#define IRONCORE_REQUIRE_OK(...)                                                     \
  do {                                                                               \
    const auto& ironcore_result = (__VA_ARGS__);                                     \
    REQUIRE_MESSAGE(ironcore_result.has_value(), ironcore_result.error().message()); \
  } while (false)

#define IRONCORE_CHECK_FAILS(code_, ...)                                                                          \
  do {                                                                                                            \
    const auto& ironcore_result = (__VA_ARGS__);                                                                  \
    REQUIRE_FALSE(ironcore_result.has_value());                                                                   \
    CHECK_MESSAGE(ironcore_result.error().code() == ErrorCode::code_, name(ironcore_result.error().code()), ": ", \
                  ironcore_result.error().message());                                                             \
    CHECK(ironcore_result.error().message().find('\n') == std::string::npos);                                     \
  } while (false)

// ---- the suite ----

TEST_CASE_TEMPLATE_DEFINE("a domain that is not there", Body, hypervisor_absent) {
  Body body;
  auto& hypervisor = body.hypervisor();
  const Uid uid = Uid::random();
  IRONCORE_CHECK_FAILS(not_found, hypervisor.domain(uid));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.start(uid));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.shutdown(uid, compute::ShutdownSignal::acpi));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.reboot(uid));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.resume(uid));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.destroy(uid));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.detach_disk(uid, "x"));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.detach_nic(uid, "x"));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.resize_disk(uid, "x", 1 << 20));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.limit_disk(uid, "x", {}));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.console(uid));
  IRONCORE_REQUIRE_OK(hypervisor.undefine(uid));
}

TEST_CASE_TEMPLATE_DEFINE("the hypervisor has processors and memory", Body, hypervisor_capacity) {
  Body body;
  const auto capacity = body.hypervisor().capacity();
  REQUIRE(capacity.has_value());
  CHECK(capacity->cpus >= 1);
  CHECK(capacity->memory_bytes >= (std::uint64_t{64} << 20));
}

TEST_CASE_TEMPLATE_DEFINE("a domain is defined, started, forced to stop and undefined, and each step may be repeated",
                          Body, hypervisor_lifecycle) {
  Body body;
  auto& hypervisor = body.hypervisor();
  EventLog events(hypervisor);
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  using Type = compute::DomainEvent::Type;

  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  auto domain = hypervisor.domain(spec.uid);
  REQUIRE(domain.has_value());
  CHECK(domain->uid == spec.uid);
  CHECK(domain->name == spec.name);
  CHECK(domain->title == spec.title);
  CHECK(domain->state == compute::DomainState::shut_off);
  CHECK(domain->process == 0);
  CHECK(body.wait_until([&] { return events.has(Type::defined, spec.uid); }));
  auto all = hypervisor.domains();
  REQUIRE(all.has_value());
  CHECK(std::count_if(all->begin(), all->end(), [&](const auto& one) { return one.uid == spec.uid; }) == 1);

  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  domain = hypervisor.domain(spec.uid);
  REQUIRE(domain.has_value());
  CHECK(domain->state == compute::DomainState::running);
  const auto process = domain->process;
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  auto changed = spec;
  changed.memory_bytes += std::uint64_t{16} << 20;
  IRONCORE_REQUIRE_OK(hypervisor.define(changed));
  domain = hypervisor.domain(spec.uid);
  REQUIRE(domain.has_value());
  CHECK(domain->state == compute::DomainState::running);
  CHECK(domain->process == process);
  CHECK(body.wait_until([&] { return events.has(Type::started, spec.uid); }));
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.undefine(spec.uid));

  IRONCORE_REQUIRE_OK(hypervisor.destroy(spec.uid));
  IRONCORE_REQUIRE_OK(hypervisor.destroy(spec.uid));
  IRONCORE_REQUIRE_OK(hypervisor.shutdown(spec.uid, compute::ShutdownSignal::acpi));
  domain = hypervisor.domain(spec.uid);
  REQUIRE(domain.has_value());
  CHECK(domain->state == compute::DomainState::shut_off);
  CHECK(domain->stop_reason == compute::StopReason::destroyed);
  CHECK(body.wait_until([&] { return events.has(Type::stopped, spec.uid); }));
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.reboot(spec.uid));
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.resume(spec.uid));
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.console(spec.uid));
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.resize_disk(spec.uid, "x", 1 << 20));
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.limit_disk(spec.uid, "x", {}));

  IRONCORE_REQUIRE_OK(hypervisor.undefine(spec.uid));
  IRONCORE_REQUIRE_OK(hypervisor.undefine(spec.uid));
  IRONCORE_CHECK_FAILS(not_found, hypervisor.domain(spec.uid));
  CHECK(body.wait_until([&] { return events.has(Type::undefined, spec.uid); }));
}

TEST_CASE_TEMPLATE_DEFINE("four threads that start the same domain start one process", Body, hypervisor_concurrent) {
  Body body;
  auto& hypervisor = body.hypervisor();
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  std::vector<Result<void>> results(4, Error(ErrorCode::internal, "did not run"));
  {
    std::vector<std::jthread> threads;
    for (auto& result : results) threads.emplace_back([&] { result = hypervisor.start(spec.uid); });
  }
  for (const auto& result : results) CHECK_MESSAGE(result.has_value(), result.error().message());
  const auto domain = hypervisor.domain(spec.uid);
  REQUIRE(domain.has_value());
  CHECK(domain->state == compute::DomainState::running);
}

TEST_CASE_TEMPLATE_DEFINE("text from people cannot change what a domain is", Body, hypervisor_hostile) {
  Body body;
  auto& hypervisor = body.hypervisor();
  auto spec = body.spec(HypervisorBody::Guest::willing);
  spec.title = "a</title><devices/>&amp;\"'\xc3\xa4 ]]>";
  spec.labels = {{"<a>", "\"&'"}, {"", "no key"}, {"example.com/team", "]]></x>"}};
  for (auto& nic : spec.nics) nic.name = "n <&>'\"/_\xc3\xa4";
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  const auto domain = hypervisor.domain(spec.uid);
  REQUIRE(domain.has_value());
  CHECK(domain->title == spec.title);
  REQUIRE(domain->nics.size() == spec.nics.size());
  for (std::size_t i = 0; i < spec.nics.size(); ++i) CHECK(contains(domain->nics, spec.nics[i].name));

  auto wrong = body.spec(HypervisorBody::Guest::willing);
  wrong.name = "with/slash";
  IRONCORE_CHECK_FAILS(invalid, hypervisor.define(wrong));
  wrong = body.spec(HypervisorBody::Guest::willing);
  wrong.vcpus = 0;
  IRONCORE_CHECK_FAILS(invalid, hypervisor.define(wrong));
  wrong = body.spec(HypervisorBody::Guest::willing);
  wrong.memory_bytes = 0;
  IRONCORE_CHECK_FAILS(invalid, hypervisor.define(wrong));
  wrong = body.spec(HypervisorBody::Guest::willing);
  wrong.uid = Uid();
  IRONCORE_CHECK_FAILS(invalid, hypervisor.define(wrong));
  wrong = body.spec(HypervisorBody::Guest::willing);
  wrong.name = spec.name;
  IRONCORE_CHECK_FAILS(already_exists, hypervisor.define(wrong));
}

TEST_CASE_TEMPLATE_DEFINE("a guest stops when its agent is asked, and says so", Body, hypervisor_agent) {
  Body body;
  if (!body.has_guests()) return;
  auto& hypervisor = body.hypervisor();
  EventLog events(hypervisor);
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  REQUIRE(wait_for_boots(body, spec, 1));
  REQUIRE(body.wait_until([&] {
    const auto domain = hypervisor.domain(spec.uid);
    return domain && domain->is_agent_connected;
  }));
  CHECK(body.wait_until([&] { return events.has(compute::DomainEvent::Type::agent_changed, spec.uid); }));
  // The channel is open a moment before the agent answers.
  REQUIRE(body.wait_until([&] { return hypervisor.shutdown(spec.uid, compute::ShutdownSignal::agent).has_value(); }));
  REQUIRE(wait_for_state(body, spec.uid, compute::DomainState::shut_off));
  CHECK(hypervisor.domain(spec.uid)->stop_reason == compute::StopReason::shutdown);
  CHECK(body.wait_until([&] { return events.has(compute::DomainEvent::Type::stopped, spec.uid); }));
}

TEST_CASE_TEMPLATE_DEFINE("a guest without an agent stops at the power button, and a reboot keeps its process", Body,
                          hypervisor_acpi) {
  Body body;
  if (!body.has_guests()) return;
  auto& hypervisor = body.hypervisor();
  EventLog events(hypervisor);
  const auto spec = body.spec(HypervisorBody::Guest::without_agent);
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  REQUIRE(wait_for_boots(body, spec, 1));
  IRONCORE_CHECK_FAILS(unavailable, hypervisor.shutdown(spec.uid, compute::ShutdownSignal::agent));

  const auto process = hypervisor.domain(spec.uid)->process;
  IRONCORE_REQUIRE_OK(hypervisor.reboot(spec.uid));
  REQUIRE(wait_for_boots(body, spec, 2));
  CHECK(hypervisor.domain(spec.uid)->process == process);
  CHECK(body.wait_until([&] { return events.has(compute::DomainEvent::Type::rebooted, spec.uid); }));

  IRONCORE_REQUIRE_OK(hypervisor.shutdown(spec.uid, compute::ShutdownSignal::acpi));
  REQUIRE(wait_for_state(body, spec.uid, compute::DomainState::shut_off));
  CHECK(hypervisor.domain(spec.uid)->stop_reason == compute::StopReason::shutdown);
}

TEST_CASE_TEMPLATE_DEFINE("disks and NICs come and go while the guest runs", Body, hypervisor_hot_plug) {
  Body body;
  if (!body.has_hot_plug()) return;
  auto& hypervisor = body.hypervisor();
  EventLog events(hypervisor);
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));

  compute::DomainDisk disk;
  disk.name = "data disk/1";
  disk.target = "vdx";
  disk.serial = "vdx-0123456789abcdef";
  disk.path = body.directory() / "data.raw";
  disk.format = "raw";
  IRONCORE_REQUIRE_OK(image::create_raw_disk(disk.path, 8 << 20));
  compute::DomainNic nic;
  nic.name = "second";
  nic.mac = compute::derived_mac(spec.uid, nic.name);
  nic.device = compute::UserNetwork{};
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.attach_disk(spec.uid, disk));
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.attach_nic(spec.uid, nic));

  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  if (body.has_guests()) REQUIRE(wait_for_boots(body, spec, 1));
  auto domain = hypervisor.domain(spec.uid);
  const auto disks = domain->disks.size();
  const auto nics = domain->nics.size();
  for (int i = 0; i < 2; ++i) {
    IRONCORE_REQUIRE_OK(hypervisor.attach_disk(spec.uid, disk));
    IRONCORE_REQUIRE_OK(hypervisor.attach_nic(spec.uid, nic));
  }
  domain = hypervisor.domain(spec.uid);
  CHECK(domain->disks.size() == disks + 1);
  CHECK(domain->nics.size() == nics + 1);
  CHECK(contains(domain->disks, disk.name));
  CHECK(contains(domain->nics, nic.name));

  auto missing = disk;
  missing.name = "missing";
  missing.target = "vdy";
  missing.path = body.directory() / "missing.raw";
  CHECK_FALSE(hypervisor.attach_disk(spec.uid, missing).has_value());

  IRONCORE_REQUIRE_OK(hypervisor.resize_disk(spec.uid, disk.name, 16 << 20));
  CHECK(image::disk_size(disk.path, image::DiskFormat::raw).value() == 16 << 20);
  IRONCORE_CHECK_FAILS(not_found, hypervisor.resize_disk(spec.uid, "absent", 16 << 20));
  check_limits(body, spec.uid, disk);
  IRONCORE_CHECK_FAILS(not_found, hypervisor.limit_disk(spec.uid, "absent", {}));

  IRONCORE_REQUIRE_OK(hypervisor.detach_disk(spec.uid, "absent"));
  IRONCORE_REQUIRE_OK(hypervisor.detach_nic(spec.uid, "absent"));
  if (!body.has_guests()) return;
  // A guest that is still busy with the new device may miss the first request.
  const auto ask_until_gone = [&](auto detach, auto names, const std::string& name) {
    auto next = body.clock().now();
    return body.wait_until([&] {
      if (body.clock().now() >= next) {
        IRONCORE_REQUIRE_OK(detach());
        next = body.clock().now() + std::chrono::seconds(5);
      }
      const auto seen = hypervisor.domain(spec.uid);
      return seen && !contains(names(*seen), name);
    });
  };
  CHECK(ask_until_gone([&] { return hypervisor.detach_disk(spec.uid, disk.name); },
                       [](const compute::Domain& seen) { return seen.disks; }, disk.name));
  CHECK(body.wait_until([&] { return events.has(compute::DomainEvent::Type::device_removed, spec.uid, disk.name); }));
  CHECK(ask_until_gone([&] { return hypervisor.detach_nic(spec.uid, nic.name); },
                       [](const compute::Domain& seen) { return seen.nics; }, nic.name));
  CHECK(body.wait_until([&] { return events.has(compute::DomainEvent::Type::device_removed, spec.uid, nic.name); }));
}

TEST_CASE_TEMPLATE_DEFINE("the console has one holder, who talks with the guest, and letting go frees it", Body,
                          hypervisor_console) {
  Body body;
  if (!body.has_guests()) return;
  auto& hypervisor = body.hypervisor();
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  REQUIRE(wait_for_boots(body, spec, 1));

  auto console = hypervisor.console(spec.uid);
  IRONCORE_REQUIRE_OK(console);
  IRONCORE_CHECK_FAILS(wrong_state, hypervisor.console(spec.uid));
  const auto nothing = (*console)->read(body.clock().now(), {});
  IRONCORE_REQUIRE_OK(nothing);

  std::string heard;
  IRONCORE_REQUIRE_OK((*console)->write("echo sesame\r", body.clock().now() + std::chrono::seconds(30)));
  CHECK(body.wait_until([&] {
    const auto bytes = (*console)->read(body.clock().now(), {});
    REQUIRE(bytes.has_value());
    heard += *bytes;
    return heard.find("sesame") != std::string::npos;
  }));

  std::stop_source stop;
  stop.request_stop();
  (void)(*console)->read(body.clock().now(), {});
  const auto stopped = (*console)->read(Instant::max(), stop.get_token());
  if (!stopped.has_value()) CHECK(stopped.error().code() == ErrorCode::cancelled);

  console->reset();
  auto second = hypervisor.console(spec.uid);
  IRONCORE_REQUIRE_OK(second);
  IRONCORE_REQUIRE_OK(hypervisor.destroy(spec.uid));
  CHECK(body.wait_until([&] {
    const auto bytes = (*second)->read(body.clock().now(), {});
    return !bytes && bytes.error().code() == ErrorCode::gone;
  }));
  CHECK_FALSE((*second)->write("x", body.clock().now()).has_value());
}

TEST_CASE_TEMPLATE_DEFINE(
    "a paused guest that does not read its console holds up nobody else, and goes on when resumed", Body,
    hypervisor_paused) {
  Body body;
  if (!body.has_guests()) return;
  auto& hypervisor = body.hypervisor();
  EventLog events(hypervisor);
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  REQUIRE(wait_for_boots(body, spec, 1));
  IRONCORE_REQUIRE_OK(hypervisor.resume(spec.uid));
  CHECK(hypervisor.domain(spec.uid)->pause_reason == compute::PauseReason::none);
  body.pause(spec.uid);
  auto domain = hypervisor.domain(spec.uid);
  REQUIRE(domain.has_value());
  CHECK(domain->state == compute::DomainState::paused);
  CHECK(domain->pause_reason == compute::PauseReason::other);
  CHECK(body.wait_until([&] { return events.has(compute::DomainEvent::Type::paused, spec.uid); }));

  auto console = hypervisor.console(spec.uid);
  IRONCORE_REQUIRE_OK(console);
  // A thread of its own: if this never came back, neither would the test.
  std::jthread others([&] {
    for (int i = 0; i < 20; ++i) CHECK(hypervisor.domain(spec.uid).has_value());
  });
  IRONCORE_CHECK_FAILS(timeout, (*console)->write(std::string(1 << 20, 'x'), body.clock().now()));
  others.join();
  CHECK(hypervisor.domains().has_value());
  console->reset();

  IRONCORE_REQUIRE_OK(hypervisor.resume(spec.uid));
  CHECK(wait_for_state(body, spec.uid, compute::DomainState::running));
  CHECK(body.wait_until([&] { return events.has(compute::DomainEvent::Type::resumed, spec.uid); }));
  body.pause(spec.uid);
  IRONCORE_REQUIRE_OK(hypervisor.destroy(spec.uid));
  CHECK(wait_for_state(body, spec.uid, compute::DomainState::shut_off));
}

TEST_CASE_TEMPLATE_DEFINE("secrets of disks are handed over, replaced, taken back, and go with their domain", Body,
                          hypervisor_secrets) {
  Body body;
  if (!body.has_guests()) return;
  auto& hypervisor = body.hypervisor();
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  const auto has_some = [&] {
    const auto owners = hypervisor.secret_owners();
    REQUIRE_MESSAGE(owners.has_value(), owners.error().message());
    CHECK(std::count(owners->begin(), owners->end(), spec.uid) <= 1);
    return std::find(owners->begin(), owners->end(), spec.uid) != owners->end();
  };
  const std::string key("\0key\xff", 5);
  CHECK_FALSE(has_some());
  IRONCORE_REQUIRE_OK(hypervisor.remove_secrets(spec.uid, "data disk/1"));
  // Before there is a domain.
  for (int i = 0; i < 2; ++i) {
    IRONCORE_REQUIRE_OK(hypervisor.put_secrets(spec.uid, "data disk/1", {key, "passphrase"}));
    IRONCORE_REQUIRE_OK(hypervisor.put_secrets(spec.uid, "<&'>", {key, {}}));
    CHECK(has_some());
  }
  IRONCORE_REQUIRE_OK(hypervisor.put_secrets(spec.uid, "data disk/1", {"another", {}}));
  IRONCORE_REQUIRE_OK(hypervisor.remove_secrets(spec.uid, "data disk/1"));
  IRONCORE_REQUIRE_OK(hypervisor.remove_secrets(spec.uid, "data disk/1"));
  CHECK(has_some());
  IRONCORE_REQUIRE_OK(hypervisor.remove_secrets(spec.uid, "<&'>"));
  CHECK_FALSE(has_some());

  IRONCORE_REQUIRE_OK(hypervisor.put_secrets(spec.uid, "data", {key, "passphrase"}));
  IRONCORE_REQUIRE_OK(hypervisor.undefine(spec.uid));
  CHECK_FALSE(has_some());
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.put_secrets(spec.uid, "data", {key, "passphrase"}));
  IRONCORE_REQUIRE_OK(hypervisor.undefine(spec.uid));
  CHECK_FALSE(has_some());
}

TEST_CASE_TEMPLATE_DEFINE("a disk on Ceph needs its secrets, comes and goes while the guest runs, and grows", Body,
                          hypervisor_ceph) {
  Body body;
  for (const auto encryption : {HypervisorBody::Encryption::none, HypervisorBody::Encryption::luks2}) {
    auto image = body.image("data/1", "vdx", encryption);
    if (!image) return;
    CAPTURE(image->disk.rbd->is_encrypted);
    auto& hypervisor = body.hypervisor();
    EventLog events(hypervisor);
    auto spec = body.spec(HypervisorBody::Guest::willing);
    IRONCORE_REQUIRE_OK(hypervisor.define(spec));
    IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
    REQUIRE(wait_for_boots(body, spec, 1));
    const auto is_attached = [&] { return contains(hypervisor.domain(spec.uid).value().disks, image->disk.name); };

    IRONCORE_CHECK_FAILS(forbidden, hypervisor.attach_disk(spec.uid, image->disk));
    CHECK_FALSE(is_attached());
    auto wrong = image->secrets;
    if (encryption == HypervisorBody::Encryption::none) {
      wrong.key[wrong.key.size() / 2] ^= 1;
    } else {
      wrong.passphrase += "x";
    }
    IRONCORE_REQUIRE_OK(hypervisor.put_secrets(spec.uid, image->disk.name, wrong));
    const auto refused = hypervisor.attach_disk(spec.uid, image->disk);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().message().find(wrong.passphrase.empty() ? wrong.key : wrong.passphrase) == std::string::npos);
    CHECK_FALSE(is_attached());
    IRONCORE_REQUIRE_OK(hypervisor.put_secrets(spec.uid, image->disk.name, image->secrets));
    for (int i = 0; i < 2; ++i) IRONCORE_REQUIRE_OK(hypervisor.attach_disk(spec.uid, image->disk));
    CHECK(is_attached());

    IRONCORE_REQUIRE_OK(hypervisor.resize_disk(spec.uid, image->disk.name, image->size_bytes));
    IRONCORE_CHECK_FAILS(invalid, hypervisor.resize_disk(spec.uid, image->disk.name, image->size_bytes / 2));
    const std::uint64_t larger = image->size_bytes * 2;
    body.enlarge(*image, larger);
    for (int i = 0; i < 2; ++i) IRONCORE_REQUIRE_OK(hypervisor.resize_disk(spec.uid, image->disk.name, larger));
    IRONCORE_CHECK_FAILS(invalid, hypervisor.resize_disk(spec.uid, image->disk.name, image->size_bytes));
    check_limits(body, spec.uid, image->disk);

    // What an attached disk was opened with is not asked for again.
    IRONCORE_REQUIRE_OK(hypervisor.remove_secrets(spec.uid, image->disk.name));
    CHECK(is_attached());
    auto next = body.clock().now();
    CHECK(body.wait_until([&] {
      if (body.clock().now() >= next) {
        IRONCORE_REQUIRE_OK(hypervisor.detach_disk(spec.uid, image->disk.name));
        next = body.clock().now() + std::chrono::seconds(5);
      }
      return !is_attached();
    }));
    using Type = compute::DomainEvent::Type;
    CHECK(body.wait_until([&] { return events.has(Type::device_removed, spec.uid, image->disk.name); }));

    // And as one of the disks that it is defined with.
    IRONCORE_REQUIRE_OK(hypervisor.destroy(spec.uid));
    spec.disks.push_back(image->disk);
    IRONCORE_REQUIRE_OK(hypervisor.define(spec));
    IRONCORE_CHECK_FAILS(forbidden, hypervisor.start(spec.uid));
    IRONCORE_REQUIRE_OK(hypervisor.put_secrets(spec.uid, image->disk.name, image->secrets));
    IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
    CHECK(is_attached());
    IRONCORE_REQUIRE_OK(hypervisor.destroy(spec.uid));
    IRONCORE_REQUIRE_OK(hypervisor.undefine(spec.uid));
  }
}

#define IRONCORE_HYPERVISOR_CONFORMANCE(Body)             \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_absent, Body);     \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_capacity, Body);   \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_lifecycle, Body);  \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_concurrent, Body); \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_hostile, Body);    \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_agent, Body);      \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_acpi, Body);       \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_hot_plug, Body);   \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_paused, Body);     \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_secrets, Body);    \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_ceph, Body);       \
  TEST_CASE_TEMPLATE_INVOKE(hypervisor_console, Body)

}  // namespace ironcore::tests
