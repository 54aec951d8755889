// SPDX-License-Identifier: Apache-2.0
// What we add to libvirt's own time when a machine is created: from the write in a durable store to `Running` seen by a
// watcher, beside a bare define and start of the same XML, in interleaved pairs. One JSON line per figure.
//
//   bench_compute LIBVIRTD-SCRIPT IMAGE-LAYOUT [PAIRS]
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../compute/libvirt_environment.hpp"
#include "figures.hpp"
#include "ironcore/compute/host.hpp"
#include "ironcore/control/control_plane.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "ironcore/image/disk_file.hpp"
#include "ironcore/store/sqlite.hpp"
#include "ironcore/store/typed.hpp"

using namespace ironcore;
using namespace ironcore::bench;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

constexpr const char* machine_namespace = "default";

double milliseconds(const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

/// libvirt's C library on its own.
class Raw {
 public:
  explicit Raw(const std::string& uri) : connection_(virConnectOpen(uri.c_str()), virConnectClose) {
    if (!connection_) fail("no connection to " + uri);
  }
  std::string xml(const std::string& uid) const {
    const auto domain = find(uid);
    const std::unique_ptr<char, decltype(&std::free)> text(
        virDomainGetXMLDesc(domain.get(), VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE), std::free);
    if (!text) fail("no XML of " + uid);
    return text.get();
  }
  void define_and_start(const std::string& xml) const {
    const Domain domain(virDomainDefineXML(connection_.get(), xml.c_str()), virDomainFree);
    if (!domain || virDomainCreate(domain.get()) != 0) fail(std::string("raw start: ") + virGetLastErrorMessage());
  }
  void destroy_and_undefine(const std::string& uid) const {
    const auto domain = find(uid);
    if (virDomainDestroy(domain.get()) != 0 || virDomainUndefine(domain.get()) != 0) fail("raw end of " + uid);
  }

 private:
  using Domain = std::unique_ptr<virDomain, decltype(&virDomainFree)>;
  Domain find(const std::string& uid) const {
    Domain domain(virDomainLookupByUUIDString(connection_.get(), uid.c_str()), virDomainFree);
    if (!domain) fail("no domain " + uid);
    return domain;
  }
  std::unique_ptr<virConnect, decltype(&virConnectClose)> connection_;
};

/// A whole cloud in this process: a store on disk, scheduler, provider, libvirt.
class Cloud {
 public:
  Cloud(tests::LibvirtEnvironment& environment, const fs::path& directory)
      : clock_(environment.clock()),
        hypervisor_(environment.connect()),
        store_(must(store::sqlite::open(directory / "store.db", clock_, log_), "store")),
        host_(must(compute::Host::create(*hypervisor_, {.directory = directory / "state"}, clock_, log_), "host")),
        control_plane_(*store_, {.holder = "bench"}, clock_, log_),
        provider_(must(control::MachineProvider::create(
                           *store_, *host_, {.pool = "bench", .provider_id = "libvirt://bench", .shutdown_grace = 0s},
                           clock_, log_),
                       "provider")),
        controlling_([this](std::stop_token stop) { control_plane_.run(stop); }),
        providing_([this](std::stop_token stop) { provider_->run(stop); }) {
    api::MachineClass small;
    small.metadata.name = "small";
    small.capabilities = {{"cpu", Quantity(1)}, {"memory", Quantity::bytes(256 << 20)}};
    must(store::create(*store_, small), "class");
  }

  /// Returns when a watcher has seen it run; its uid.
  std::string create(const std::string& name, const std::string& image) {
    auto watch = watching();
    api::Machine machine;
    machine.metadata.namespace_ = machine_namespace;
    machine.metadata.name = name;
    machine.spec.machine_class_ref.name = "small";
    machine.spec.volumes.resize(1);
    machine.spec.volumes[0].name = "root";
    machine.spec.volumes[0].local_disk = api::LocalDisk{.image = image};
    const auto made = must(store::create(*store_, machine), "machine");
    wait(*watch, name, [](const store::Change& change) {
      return change.type != store::Change::Type::deleted &&
             change.object->as<api::Machine>().status.state == api::MachineState::running;
    });
    return made->metadata.uid;
  }
  void remove(const std::string& name) {
    auto watch = watching();
    must(store::remove<api::Machine>(*store_, machine_namespace, name), "delete");
    wait(*watch, name, [](const store::Change& change) { return change.type == store::Change::Type::deleted; });
  }

 private:
  std::unique_ptr<store::Watch> watching() {
    return must(store_->watch({.kind = &api::kind_of<api::Machine>()}, must(store_->revision(), "revision")), "watch");
  }
  void wait(store::Watch& watch, const std::string& name, const std::function<bool(const store::Change&)>& is_it) {
    const auto deadline = clock_.now() + 2min;
    while (clock_.now() < deadline) {
      for (const auto& change : must(watch.next(deadline), "watch"))
        if (change.object && change.object->metadata().name == name && is_it(change)) return;
    }
    fail(name + " did not get there");
  }

  SystemClock& clock_;
  NullLog log_;
  std::unique_ptr<compute::Hypervisor> hypervisor_;
  std::unique_ptr<store::LocalStore> store_;
  std::unique_ptr<compute::Host> host_;
  control::ControlPlane control_plane_;
  std::unique_ptr<control::MachineProvider> provider_;
  std::jthread controlling_, providing_;
};

void bench_pairs(tests::LibvirtEnvironment& environment, std::size_t pairs) {
  const tests::TemporaryDirectory directory;
  const Raw raw(environment.uri());
  Cloud cloud(environment, directory.path());

  // The first machine fetches the image and gives the XML and the files that the bare starts use.
  const auto state = directory.path() / "state" / "machines", copies = directory.path() / "raw";
  const auto first = cloud.create("first", environment.image_reference());
  const auto xml = raw.xml(first);
  const auto copy = [&](const fs::path& from, const fs::path& to) {
    if (std::system(("cp -a --sparse=always '" + from.string() + "' '" + to.string() + "'").c_str()) != 0) fail("cp");
  };
  fs::create_directory(copies);
  fs::permissions(copies, fs::perms(0711));
  copy(state / first, copies / "template");
  cloud.remove("first");

  std::vector<double> ours, bare, difference;
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    double our_time = 0, bare_time = 0;
    const auto run_ours = [&] {
      const auto name = "web-" + std::to_string(pair);
      our_time = milliseconds([&] { cloud.create(name, environment.image_reference()); });
      cloud.remove(name);
    };
    const auto run_bare = [&] {
      const auto uid = Uid::random().to_text();
      copy(copies / "template", copies / uid);
      const auto its_xml = replaced(replaced(xml, (state / first).string(), (copies / uid).string()), first, uid);
      bare_time = milliseconds([&] { raw.define_and_start(its_xml); });
      raw.destroy_and_undefine(uid);
      fs::remove_all(copies / uid);
    };
    if (pair % 2 == 0) {
      run_bare();
      run_ours();
    } else {
      run_ours();
      run_bare();
    }
    ours.push_back(our_time);
    bare.push_back(bare_time);
    difference.push_back(our_time - bare_time);
  }
  const auto params = "\"pairs\":" + std::to_string(pairs);
  print("compute.create.ms", median(ours), "ms",
        params + R"(,"from":"the write in a store on disk","to":"Running seen by a watcher")");
  print("compute.create.libvirt.ms", median(bare), "ms", params + R"(,"is":"define and start of the same XML")");
  print("compute.create.overhead.ms", median(difference), "ms", params + R"(,"to_reach":20)");
}

void bench_disks(const fs::path& backing) {
  const tests::TemporaryDirectory directory;
  std::vector<double> overlay, raw;
  for (int i = 0; i < 20; ++i) {
    overlay.push_back(milliseconds([&] {
      must(image::create_overlay_disk(directory.path() / "overlay.qcow2", std::uint64_t{10} << 30, backing), "overlay");
    }));
    raw.push_back(milliseconds(
        [&] { must(image::create_raw_disk(directory.path() / "disk.raw", std::uint64_t{10} << 30), "disk"); }));
  }
  print("compute.disk.overlay.ms", median(overlay), "ms", R"("bytes":10737418240)");
  print("compute.disk.empty.ms", median(raw), "ms", R"("bytes":10737418240)");
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) {
    std::fputs("usage: bench_compute LIBVIRTD-SCRIPT IMAGE-LAYOUT [PAIRS]\n", stderr);
    return 2;
  }
  std::string missing;
  const auto environment = tests::LibvirtEnvironment::start(words[1], words[2], missing);
  if (!environment) {
    std::fprintf(stderr, "skipped: %s\n", missing.c_str());
    return 77;
  }
  bench_disks(environment->image().rootfs->path);
  bench_pairs(*environment, count > 3 ? std::strtoul(words[3], nullptr, 10) : 20);
}
