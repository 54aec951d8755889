// SPDX-License-Identifier: Apache-2.0
// Who may use a volume: from machine to machine, away from dead hosts, and with which credential.
#include <doctest/doctest.h>

#include <unistd.h>

#include <map>
#include <set>
#include <utility>

#include "host_world.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "ironcore/control/volume_provider.hpp"
#include "ironcore/sim/hypervisor.hpp"
#include "ironcore/storage/local.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeState;

TEST_CASE("a volume is handed to the machine that claims it, and to the next one when it is released") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create_machine("web", "host-1");
  world.create_machine("db", "host-2");
  world.run_for(5s);
  REQUIRE(world.get_volume("data")->status.use);
  CHECK(world.holder_of("data").empty());
  world.claim("data", "web");
  world.run_for(5s);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.get_volume("data")->status.use->machine->uid == world.get_machine("web")->metadata.uid);
  CHECK(world.get_volume("data")->status.use->machine_pool == "host-1");
  world.release("data");
  world.run_for(5s);
  CHECK(world.holder_of("data").empty());
  CHECK(world.get_volume("data")->status.use->machine_pool.empty());
  // One that a machine shall have, without having claimed it, is nobody's yet.
  world.change<api::Volume>("data", [](api::Volume& v) { v.spec.claim_ref = {.name = "db"}; });
  world.run_for(5s);
  CHECK(world.holder_of("data").empty());
  world.claim("data", "db");
  world.run_for(5s);
  CHECK(world.holder_of("data") == "db");
  // A machine of the same name is another machine.
  world.claim("data", "nobody");
  world.run_for(5s);
  const auto first = world.get_volume("data")->status.use->machine->uid;
  world.claim("data", "nobody");
  world.run_for(5s);
  CHECK(world.holder_of("data") == "nobody");
  CHECK(world.get_volume("data")->status.use->machine->uid != first);
  CHECK(world.events("data", "ClientsFenced").empty());
}

TEST_CASE("a machine that lives is never fenced: who claims its volume waits until it lets go") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create_machine("web", "host-1");
  world.create_machine("db", "host-2");
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  auto old = world.attach("data", "host-1").value();
  world.claim("data", "db");  // by hand
  world.run_for(10min, 1s);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.condition("data", "Attachable").status == ConditionStatus::false_);
  CHECK(world.condition("data", "Attachable").reason == "InUse");
  CHECK(world.condition("data", "Attachable").message.find("machine web on machine pool host-1") != std::string::npos);
  CHECK(world.events("data", "InUse").size() == 1);
  CHECK(world.events("data", "ClientsFenced").empty());
  // Nobody finds anything to open it with.
  CHECK(world.secret_entry("data", "userKey").empty());
  CHECK(world.state_of("data") == VolumeState::available);
  VolumeWorld::wait_for([&](auto done) { old->write(0, as_bytes("alive"), done); });
  VolumeWorld::wait_for([&](auto done) { old->flush(done); });
  old.reset();
  world.run_for(10s, 1s);
  CHECK(world.holder_of("data") == "db");
  CHECK(world.condition("data", "Attachable").status == ConditionStatus::true_);
  CHECK(world.contents("data", 5) == "alive");
}

TEST_CASE("a machine that gets its volume back keeps it as it had it") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create_machine("web", "host-1");
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  const auto old = world.attach("data", "host-1").value();
  world.release("data");
  world.run_for(1min, 1s);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.secret_entry("data", "userKey").empty());
  CHECK(api::find_condition(world.get_volume("data")->status.conditions, "Attachable") == nullptr);
  world.claim("data", "web");
  world.run_for(5s);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.attach("data", "host-1"));
}

TEST_CASE("clients of a dead host are fenced before another machine may use the volume") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create_machine("web", "host-1");
  world.create_machine("db", "host-2");
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  world.put("data", "good");
  const auto old = world.attach("data", "host-1").value();
  VolumeWorld::wait_for([&](auto done) { old->write(0, as_bytes("late"), done); });
  world.alive.erase("host-1");
  world.claim("data", "db");
  world.run_for(35s, 1s);
  CHECK(world.holder_of("data") == "web");  // it may still live
  world.run_for(1min, 1s);
  CHECK(world.holder_of("data") == "db");
  const auto told = world.events("data", "ClientsFenced");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->message.find("of host-1 at 127.0.0.1") != std::string::npos);
  CHECK(told.front()->message.find("machine web on machine pool host-1") != std::string::npos);
  CHECK(world.condition("data", "Attachable").status == ConditionStatus::true_);
  std::promise<Result<void>> flushed;
  old->flush([&](Result<void> result) { flushed.set_value(std::move(result)); });
  CHECK(flushed.get_future().get().has_error());
  CHECK(world.contents("data", 4) == "good");
  // The host comes back: nobody is fenced for that.
  const auto fresh = world.attach("data", "host-2").value();
  world.alive.insert("host-1");
  world.run_for(5min, 1s);
  VolumeWorld::wait_for([&](auto done) { fresh->flush(done); });
  CHECK(world.events("data", "ClientsFenced").front()->count == 1);
}

TEST_CASE("a host is dead when its lease has run out and its pool shows no life or is gone, and not before") {
  struct Row {
    const char* name;
    bool is_beating;
    bool is_pool_there;
    bool is_marked;  ///< Ready is Unknown
    bool is_known;   ///< the machine was there when it got the volume
    bool is_fenced;
  };
  for (const auto& row : std::initializer_list<Row>{
           {"a pool that is marked, though its provider beats", true, true, true, true, false},
           {"a lease that has run out, before anybody looked at the pool", false, true, false, true, false},
           {"both", false, true, true, true, true},
           {"a pool that was deleted, and is about to be made anew", true, false, false, true, false},
           {"a pool that was deleted, and nobody beats", false, false, false, true, true},
           {"nobody knows where the machine was", false, false, false, false, false},
       }) {
    CAPTURE(row.name);
    HostWorld world;
    world.is_watching_pools = false;
    world.start();
    world.create(VolumeWorld::here("data"));
    if (row.is_known) world.create_machine("web", "host-1");
    world.run_for(5s);
    world.claim("data", "web");
    world.run_for(5s);
    const auto old = world.attach("data", "host-1").value();
    if (!row.is_beating) world.alive.clear();
    if (!row.is_pool_there) world.remove<api::MachinePool>("host-1");
    if (row.is_marked) world.mark("host-1", ConditionStatus::unknown);
    world.claim("data", "db");
    world.run_for(2min, 1s);
    CHECK(world.events("data", "ClientsFenced").size() == (row.is_fenced ? 1 : 0));
    CHECK(world.holder_of("data") == (row.is_fenced ? "db" : "web"));
  }
}

TEST_CASE("a deleted volume that only a dead host has open is removed") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create_machine("web", "host-1");
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  const auto old = world.attach("data", "host-1").value();
  world.release("data");
  world.remove<api::Volume>("data");
  world.run_for(2min, 1s);
  REQUIRE(world.get_volume("data"));
  CHECK(world.condition("data", "Removable").reason == "InUse");
  world.alive.clear();
  world.run_for(3min, 1s);
  CHECK_FALSE(world.get_volume("data"));
  CHECK(world.events("data", "ClientsFenced").size() == 1);
  CHECK(world.blocks.volumes().value().empty());
}

TEST_CASE("a volume that is deleted between its claim and its hand-over is handed over") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create_machine("web", "host-1");
  world.run_for(5s);
  world.claim("data", "web");
  world.remove<api::Volume>("data");
  world.run_for(5s);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.attach("data", "host-1"));
  world.release("data");
  world.run_for(10s);
  CHECK_FALSE(world.get_volume("data"));
}

TEST_CASE("nobody is told to have a volume that another one has claimed in the meantime") {
  bool was_reached = true;
  int moments = 0;
  for (int n = 0; was_reached; ++n) {
    CAPTURE(n);
    HostWorld world;
    world.start();
    world.create(VolumeWorld::here("data"));
    world.create_machine("web", "host-1");
    world.create_machine("db", "host-2");
    world.run_for(5s);
    store::Query volumes;
    volumes.kind = &api::kind_of<api::Volume>();
    const auto watch = world.real->watch(volumes, world.real->revision().value()).value();
    was_reached = false;
    world.claim("data", "web");
    world.store.set_faults(
        [&, seen = 0](FaultyStore::Call call, const store::Transaction*) mutable -> std::optional<FaultyStore::Fault> {
          if (call == FaultyStore::Call::commit && seen++ == n) {
            was_reached = true;
            world.claim("data", "db");
          }
          return std::nullopt;
        });
    world.run_for(2min, 1s);
    CHECK(world.holder_of("data") == (was_reached ? "db" : "web"));
    std::string before;
    for (bool is_more = true; is_more;) {
      const auto changes = watch->next(Instant{}).value();
      is_more = !changes.empty();
      for (const auto& change : changes) {
        if (!change.object) continue;
        const auto seen = change.object->share<api::Volume>();
        if (!seen->status.use || !seen->status.use->machine) continue;
        if (std::exchange(before, seen->status.use->machine->uid) == before) continue;
        REQUIRE(seen->spec.claim_ref);
        CHECK(seen->spec.claim_ref->uid == before);
      }
    }
    CHECK_FALSE(before.empty());
    if (was_reached) ++moments;
  }
  CHECK(moments > 0);
}

TEST_CASE("a volume that a machine has had since before holders were noted stays with it") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create_machine("web", "host-1");
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  const auto old = world.attach("data", "host-1").value();
  world.provider.reset();
  world.change<api::Volume>(
      "data", [](api::Volume& v) { v.status.use.reset(); }, store::Part::status);
  world.start();
  world.run_for(5s);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.get_volume("data")->status.use->machine_pool == "host-1");
  CHECK(world.get_volume("data")->status.use->credential == "default-1");
  CHECK(world.attach("data", "host-1"));
}

TEST_CASE("a store that cannot fence says so, and the volume waits") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create_machine("web", "host-1");
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  auto old = world.attach("data", "host-1").value();
  world.alive.clear();
  world.claim("data", "db");
  world.blocks.set_faults([](const sim::BlockStore::Call& call) -> std::optional<Error> {
    if (call.name == "fence") return Error(ErrorCode::unsupported, "end the process by hand");
    return std::nullopt;
  });
  world.run_for(5min, 1s);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.condition("data", "Attachable").reason == "FencingFailed");
  const auto message = world.condition("data", "Attachable").message;
  CHECK_MESSAGE(message.find("for machine web on machine pool host-1, which") != std::string::npos, message);
  CHECK_MESSAGE(message.find("end the process by hand") != std::string::npos, message);
  old.reset();
  world.run_for(2min, 1s);
  CHECK(world.holder_of("data") == "db");
}

TEST_CASE("a volume on local files that a process of a dead host has open waits for its end, and says which one") {
  HostWorld world;
  const auto executor = [](const std::function<void()>& job) { job(); };
  const storage::LocalOptions options{.directory = world.directory.path() / "local", .executor = executor};
  const auto local = storage::LocalStore::open(options, world.clock).value();
  const auto elsewhere = storage::LocalStore::open(options, world.clock).value();
  world.options.classes = {{"fast", local.get()}};
  world.start();
  world.create(VolumeWorld::here("data", 1 << 20));
  world.create_machine("web", "host-1");
  world.create_machine("db", "host-2");
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  auto open = elsewhere->open(world.id_of(world.get_volume("data")), std::nullopt).value();
  world.alive.erase("host-1");
  world.claim("data", "db");
  world.run_for(5min, 1s);
  CHECK(world.holder_of("data") == "web");
  const auto told = world.condition("data", "Attachable");
  CHECK(told.reason == "FencingFailed");
  const auto process = "pid:" + std::to_string(::getpid());
  CHECK_MESSAGE(told.message.find("for machine web on machine pool host-1, which") != std::string::npos, told.message);
  CHECK_MESSAGE(told.message.find("end the process " + process + " instead") != std::string::npos, told.message);
  REQUIRE(world.events("data", "FencingFailed").size() == 1);
  open.reset();
  world.run_for(1min, 1s);
  CHECK(world.holder_of("data") == "db");
  world.provider.reset();
}

TEST_CASE("the provider of machines opens a volume only when the provider of volumes has handed it over") {
  HostWorld world;
  world.alive.erase("host-1");
  world.remove<api::MachinePool>("host-1");
  world.start();
  const auto file = world.directory.path() / "volume.raw";
  tests::write_text(file, std::string(1 << 20, 'v'));
  sim::Hypervisor hypervisor(world.clock);
  const auto host =
      compute::Host::create(hypervisor, {.directory = world.directory.path() / "state"}, world.clock, world.log)
          .value();
  int opened = 0;
  MachineProviderOptions options{.pool = "host-1", .provider_id = "libvirt://host-1"};
  options.open_volume = [&](const api::VolumeAccess& access, const VolumeSecrets&) -> Result<compute::Disk> {
    const auto secret = world.get<api::Secret>(access.secret_ref->name, "default");
    CHECK(secret->data.contains("encryptionKey"));
    CHECK(secret->data.contains("userKey"));
    ++opened;
    return compute::Disk{.source = compute::ExistingDisk{.path = file}};
  };
  const auto machines = MachineProvider::create(world.store, *host, options, world.clock, world.log).value();
  world.on_step = [&] {
    while (machines->step()) continue;
  };
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  auto web = machine("web");
  web.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
  web.spec.volumes = {{.name = "data", .device = "oda", .volume_ref = api::LocalReference{.name = "data"}}};
  world.create(web);
  world.run_for(1min, 1s);
  CHECK(world.get_machine("web")->status.state == api::MachineState::running);
  CHECK(opened > 0);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.get_volume("data")->status.use->machine_pool == "host-1");
  world.remove<api::Machine>("web");
  world.run_for(2min, 1s);
  CHECK_FALSE(world.get_machine("web"));
  CHECK(world.holder_of("data").empty());
  CHECK(world.secret_entry("data", "encryptionKey").empty());
}

// ---- credentials --------------------------------------------------------------------------------------------------

namespace {

std::set<std::string> credentials_of(VolumeWorld& world, const std::string& tenant = "default") {
  std::set<std::string> names;
  const auto known = world.blocks.credentials(tenant).value();
  for (const auto& credential : known) names.insert(credential.name);
  return names;
}
using Names = std::set<std::string>;

}  // namespace

TEST_CASE("an old credential gets a successor for the next attach, and goes when the last volume has let go") {
  HostWorld world;
  world.options.rotate_credentials_every = 24h;
  world.start();
  for (const auto* name : {"free", "held", "also"}) world.create(VolumeWorld::here(name));
  world.create_machine("web", "host-1");
  world.run_for(5s);
  for (const auto* name : {"held", "also"}) world.claim(name, "web");
  world.run_for(23h, 1min);
  CHECK(credentials_of(world) == Names{"default-1"});
  auto open = world.attach("held", "host-1").value();
  const auto current = [&] {
    const auto pool = world.pool();
    const auto* found = api::find_condition(pool->status.conditions, "CredentialsCurrent");
    return found == nullptr ? api::Condition{} : *found;
  };
  CHECK(current().reason.empty());
  world.run_for(2h, 1min);
  CHECK(current().status == ConditionStatus::true_);
  CHECK(current().message.find("default-1 of default is still used by") != std::string::npos);
  CHECK(credentials_of(world) == Names{"default-1", "default-2"});
  CHECK(world.events("ceph", "CredentialRotated").size() == 1);
  CHECK(world.secret_entry("free", "userID") == "default-2");
  CHECK(world.get_volume("free")->status.use->credential == "default-2");
  // Also when there is something else to do with them.
  world.grow("held", 2 * gibibyte);
  world.run_for(5s);
  CHECK(world.get_volume("held")->status.resources.at("storage") == Quantity::bytes(2 * gibibyte));
  for (const auto* name : {"held", "also"}) {
    CAPTURE(name);
    CHECK(world.secret_entry(name, "userID") == "default-1");
    CHECK(world.attach(name, "host-1"));  // a machine that starts again
  }
  world.release("also");
  world.run_for(5min, 1s);
  CHECK(world.secret_entry("also", "userID") == "default-2");
  CHECK(credentials_of(world) == Names{"default-1", "default-2"});
  // The second one becomes old as well, and can have no successor before the first one is gone.
  world.run_for(25h, 1min);
  CHECK(credentials_of(world) == Names{"default-1", "default-2"});
  REQUIRE(world.events("ceph", "CredentialInUse").size() == 1);
  CHECK(world.events("ceph", "CredentialInUse").front()->count == 1);
  CHECK(world.events("ceph", "CredentialInUse").front()->message.find("default-1 of default is still used by held") !=
        std::string::npos);
  REQUIRE(world.events("held", "CredentialInUse").size() == 1);
  CHECK(world.events("held", "CredentialInUse").front()->count == 1);
  CHECK(world.events("held", "CredentialInUse").front()->message.find("detach the volume") != std::string::npos);
  CHECK(current().status == ConditionStatus::false_);
  CHECK(current().reason == "CredentialInUse");
  CHECK(current().message.find("default-1 of default is still used by held; detach") != std::string::npos);
  // Released, but still open: it counts.
  world.release("held");
  world.run_for(10min, 1s);
  CHECK(credentials_of(world).contains("default-1"));
  VolumeWorld::wait_for([&](auto done) { open->flush(done); });
  open.reset();
  world.run_for(10min, 1s);
  CHECK(credentials_of(world) == Names{"default-3"});
  CHECK(current().status == ConditionStatus::true_);
  CHECK(current().message == "no older credential is in use");
}

TEST_CASE("when nobody has an old credential any more it opens nothing, and the next one is as young as it is") {
  HostWorld world;
  world.options.rotate_credentials_every = 24h;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto secret = world.get<api::Secret>("volume-" + world.get_volume("data")->metadata.uid, "default");
  world.run_for(24h + 10min, 1min);
  CHECK(credentials_of(world) == Names{"default-2"});
  CHECK(world.events("ceph", "CredentialRevoked").size() == 1);
  storage::Access access{.driver = "ceph",
                         .handle = "",
                         .attributes = world.get_volume("data")->status.access->volume_attributes,
                         .secrets = {},
                         .credential = {}};
  for (const auto& [name, value] : secret->data) access.secrets[name] = value.value;
  CHECK(world.blocks.attach(access, std::nullopt, "thief").error().code() == ErrorCode::forbidden);
  CHECK(world.attach("data"));
  // A volume that comes later does not make the credential younger.
  world.run_for(20h, 1min);
  world.create(VolumeWorld::here("late"));
  world.run_for(1min, 1s);
  world.remove<api::Volume>("data");
  world.run_for(5h, 1min);
  CHECK(credentials_of(world) == Names{"default-3"});
  CHECK(world.secret_entry("late", "userID") == "default-3");
}

TEST_CASE("credentials are replaced on request, those of each tenant and store for themselves") {
  HostWorld world;
  sim::BlockStore archive(world.clock);
  world.options.classes["slow"] = &archive;
  world.create_class("slow");
  api::Namespace shop;
  shop.metadata.name = "shop";
  world.create(shop);
  world.start();
  world.create(VolumeWorld::here("data"));
  auto theirs = VolumeWorld::here("theirs");
  theirs.metadata.namespace_ = "shop";
  world.create(theirs);
  auto old = VolumeWorld::here("old");
  old.spec.volume_class_ref->name = "slow";
  world.create(old);
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(24h, 1min);
  CHECK(credentials_of(world) == Names{"default-1"});
  const auto request = [&](const std::string& when) {
    world.change<api::VolumePool>("ceph", [&](api::VolumePool& p) {
      p.metadata.annotations[std::string(api::rotate_credentials_annotation)] = when;
    });
    world.run_for(5min, 1s);
  };
  request("now");
  CHECK(world.events("ceph", "InvalidRequest").size() == 1);
  CHECK(world.events("ceph", "InvalidRequest").front()->count == 1);
  request(to_rfc3339(world.clock.wall() + 1h));
  CHECK(credentials_of(world) == Names{"default-1"});
  request(to_rfc3339(world.clock.wall()));
  CHECK(credentials_of(world) == Names{"default-1", "default-2"});
  CHECK(credentials_of(world, "shop") == Names{"shop-2"});
  CHECK(archive.credentials("default").value().size() == 1);
  CHECK(archive.credentials("default").value()[0].name == "default-2");
  world.release("data");
  world.run_for(5min, 1s);
  CHECK(credentials_of(world) == Names{"default-2"});
  // Once is enough, also after a restart.
  world.start();
  world.run_for(2h, 1min);
  CHECK(credentials_of(world) == Names{"default-2"});
  CHECK(credentials_of(world, "shop") == Names{"shop-2"});
  const auto revision = world.real->revision().value();
  world.is_watching_pools = false;
  world.run_for(10min, 5s);
  CHECK(world.real->revision().value() == revision);
}

TEST_CASE("a volume whose class is not offered any more keeps the credential that it has") {
  HostWorld world;
  world.options.classes["slow"] = &world.blocks;
  world.create_class("slow");
  world.start();
  world.create(VolumeWorld::here("data"));
  auto old = VolumeWorld::here("old");
  old.spec.volume_class_ref->name = "slow";
  world.create(old);
  world.run_for(5s);
  world.claim("old", "web");
  world.run_for(5s);
  world.options.classes.erase("slow");
  world.start();
  world.change<api::VolumePool>("ceph", [&](api::VolumePool& p) {
    p.metadata.annotations[std::string(api::rotate_credentials_annotation)] = to_rfc3339(world.clock.wall());
  });
  world.run_for(10min, 1s);
  CHECK(world.secret_entry("data", "userID") == "default-2");
  CHECK(credentials_of(world) == Names{"default-1", "default-2"});
  CHECK(world.attach("old"));
}

TEST_CASE("a credential that was revoked by hand is replaced, also for a machine that has the volume") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  REQUIRE(world.blocks.revoke_credential("default", "default-1"));
  CHECK(world.attach("data").has_error());
  world.start();
  world.run_for(5s);
  CHECK(world.secret_entry("data", "userID") == "default-2");
  CHECK(world.attach("data"));
}

TEST_CASE(
    "a credential that was revoked by hand is noticed while nothing else happens, and told to who has to attach "
    "again") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create(VolumeWorld::here("free"));
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5min, 1s);
  CHECK(world.events("ceph", "CredentialReplaced").empty());
  REQUIRE(world.blocks.revoke_credential("default", "default-1"));
  world.run_for(3min, 1s);
  CHECK(world.secret_entry("data", "userID") == "default-2");
  CHECK(world.secret_entry("free", "userID") == "default-2");
  CHECK(world.attach("data"));
  REQUIRE(world.events("ceph", "CredentialReplaced").size() == 1);
  CHECK(world.events("ceph", "CredentialReplaced").front()->count == 1);
  REQUIRE(world.events("data", "CredentialReplaced").size() == 1);
  CHECK(world.events("data", "CredentialReplaced").front()->message.find("must attach it again") != std::string::npos);
  CHECK(world.events("free", "CredentialReplaced").empty());
}

TEST_CASE("a Secret that somebody removed or changed is made again, and what was attached with it still counts") {
  HostWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create(VolumeWorld::here("free"));
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  const auto open = world.attach("data").value();
  REQUIRE(world.blocks.rotate_credential("default"));
  world.remove<api::Secret>("volume-" + world.get_volume("data")->metadata.uid);
  world.start();
  world.run_for(5min, 1s);
  CHECK(world.secret_entry("data", "userID") == "default-2");
  CHECK(world.secret_entry("free", "userID") == "default-2");
  CHECK(world.get_volume("data")->status.use->credential == "default-1");
  CHECK(credentials_of(world) == Names{"default-1", "default-2"});
  CHECK(world.attach("data"));
}

TEST_CASE("a claim that comes while the credential is exchanged gets one that opens") {
  // The claim comes at each write of the turn that exchanges the credential.
  bool was_reached = true;
  int moments = 0;
  for (int n = 0; was_reached; ++n) {
    CAPTURE(n);
    HostWorld world;
    world.start();
    world.create(VolumeWorld::here("data"));
    world.run_for(5s);
    was_reached = false;
    world.change<api::VolumePool>("ceph", [&](api::VolumePool& p) {
      p.metadata.annotations[std::string(api::rotate_credentials_annotation)] = to_rfc3339(world.clock.wall());
    });
    world.store.set_faults(
        [&, seen = 0](FaultyStore::Call call, const store::Transaction*) mutable -> std::optional<FaultyStore::Fault> {
          if (call == FaultyStore::Call::commit && seen++ == n) {
            was_reached = true;
            world.claim("data", "web");
          }
          return std::nullopt;
        });
    world.run_for(5min, 1s);
    if (was_reached) ++moments;
    if (!was_reached) continue;
    CHECK(world.holder_of("data") == "web");
    CHECK(world.attach("data"));
    world.release("data");
    world.run_for(5min, 1s);
    CHECK(credentials_of(world) == Names{"default-2"});
  }
  CHECK(moments > 2);
}
