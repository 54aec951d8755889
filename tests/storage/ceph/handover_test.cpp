// SPDX-License-Identifier: Apache-2.0
// Volumes that go from host to host, and credentials that change, while real clients of the cluster have images open.
#include <doctest/doctest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ceph_fixture.hpp"
#include "control/fault_loops.hpp"
#include "control/host_world.hpp"

namespace ironcore::storage::ceph::testing {

namespace {

using namespace control::test;
using api::ConditionStatus;
using api::VolumeState;

constexpr std::int64_t mib = std::int64_t{1} << 20;
using Names = std::set<std::string>;

/// The class `fast` is kept on the cluster. The time of objects is virtual, that of the cluster is not.
struct CephWorld : HostWorld {
  std::unique_ptr<Cluster> cluster = ceph::testing::provider();
  std::unique_ptr<BlockStore> ceph = store_on(*cluster);

  CephWorld() {
    options.classes = {{"fast", ceph.get()}};
    // The pool of another test has had this store, and is gone.
    const Stranger admin;
    const rados_ioctx_t index = admin.space(".ironcore");
    const int code = rados_remove(index, "owner");
    CHECK((code == 0 || code == -ENOENT));
    rados_ioctx_destroy(index);
  }
  ~CephWorld() {
    provider.reset();
    if (const auto volumes = ceph->volumes())
      for (const auto& one : *volumes) (void)ceph->remove(one.id);
    if (const auto credentials = ceph->credentials("default"))
      for (const auto& one : *credentials) (void)ceph->revoke_credential("default", one.name);
    (void)ceph->maintain({});
  }

  void begin(const std::vector<std::string>& volumes) {
    start();
    for (const auto& name : volumes) create(here(name, 4 * mib));
    create_machine("web", "host-1");
    create_machine("db", "host-2");
    run_for(5s);
    for (const auto& name : volumes) REQUIRE(state_of(name) == VolumeState::available);
  }
  void hand_to(const std::string& name, const std::string& machine) {
    claim(name, machine);
    run_for(5s);
    REQUIRE(holder_of(name) == machine);
  }
  void rotate() {
    change<api::VolumePool>("ceph", [&](api::VolumePool& p) {
      p.metadata.annotations[std::string(api::rotate_credentials_annotation)] = to_rfc3339(clock.wall());
    });
  }
  Names credentials() {
    Names names;
    const auto known = ceph->credentials("default").value();
    for (const auto& one : known) names.insert(one.name);
    return names;
  }
  std::string image_place(const std::string& name) {
    const auto found = get_volume(name);
    REQUIRE(found);
    REQUIRE(found->status.access);
    return found->status.access->volume_attributes.at("image");
  }
};

/// Like QEMU on a host: a connection of its own with what is in the Secret, and the image open for as long as it lives.
class Guest {
 public:
  struct Key {
    std::string user, key;
  };
  static Key key_of(CephWorld& world, const std::string& volume) {
    return {world.secret_entry(volume, "userID"), world.secret_entry(volume, "userKey")};
  }
  Guest(CephWorld& world, const std::string& volume, const Key& key) : client_(key.user, key.key) {
    if (!client_.is_connected()) return;
    const auto place = world.image_place(volume);
    const auto space = place.find('/'), name = place.rfind('/');
    image_.emplace(client_, place.substr(space + 1, name - space - 1), place.substr(name + 1));
  }
  Guest(CephWorld& world, const std::string& volume) : Guest(world, volume, key_of(world, volume)) {
    REQUIRE(code() == 0);
  }

  int code() const { return image_ ? image_->code() : client_.code(); }
  int write(std::string_view text) {
    const auto done = rbd_write(image_->get(), 0, text.size(), text.data());
    return done < 0 ? static_cast<int>(done) : rbd_flush(image_->get());
  }
  std::string read(std::size_t size) {
    std::string text(size, '\0');
    REQUIRE(rbd_read(image_->get(), 0, size, text.data()) == static_cast<ssize_t>(size));
    return text;
  }

 private:
  Stranger client_;
  std::optional<OpenImage> image_;
};

bool is_refused(int code) {
  return code == -EACCES || code == -EPERM;
}

void remove_user(const std::string& name) {
  const Stranger admin;
  const std::string command = R"({"prefix": "auth rm", "entity": "client.)" + name + R"("})";
  const char* line = command.c_str();
  REQUIRE(rados_mon_command(admin.get(), &line, 1, nullptr, 0, nullptr, nullptr, nullptr, nullptr) == 0);
}

}  // namespace

TEST_CASE("a real client of a live host is never fenced, and that of a dead one is, before the volume moves") {
  CephWorld world;
  world.begin({"data"});
  world.hand_to("data", "web");
  const auto key = Guest::key_of(world, "data");
  std::optional<Guest> old(std::in_place, world, "data");
  REQUIRE(old->write("good") == 0);

  // It lives: whoever claims the volume waits, and is told for whom.
  world.claim("data", "db");
  world.run_for(5min, 5s);
  CHECK(world.holder_of("data") == "web");
  const auto seen = world.ceph->clients(world.id_of(world.get_volume("data"))).value();
  REQUIRE(seen.size() == 1);
  auto told = world.condition("data", "Attachable");
  CHECK(told.status == ConditionStatus::false_);
  CHECK(told.reason == "InUse");
  CHECK_MESSAGE(told.message.find(seen[0].name + " at " + seen[0].address) != std::string::npos, told.message);
  CHECK_MESSAGE(told.message.find("machine web on machine pool host-1") != std::string::npos, told.message);
  CHECK(world.secret_entry("data", "userKey").empty());
  CHECK(old->write("alive") == 0);

  // It dies.
  world.alive.erase("host-1");
  world.run_for(35s, 5s);
  CHECK(world.holder_of("data") == "web");
  CHECK(old->write("alive") == 0);
  world.run_for(1min, 5s);
  REQUIRE(world.holder_of("data") == "db");
  CHECK(world.condition("data", "Attachable").status == ConditionStatus::true_);
  REQUIRE(world.events("data", "ClientsFenced").size() == 1);
  CHECK(old->write("later") == -ESHUTDOWN);
  {
    // The next one breaks the lock of the dead one with the tenant's own rights.
    Guest next(world, "data");
    CHECK(next.read(5) == "alive");
    CHECK(next.write("fresh") == 0);
    CHECK(old->write("later") == -ESHUTDOWN);
    CHECK(next.read(5) == "fresh");
    // The host comes back: it was not the host that was shut out, and nobody is fenced for that.
    world.alive.insert("host-1");
    world.run_for(5min, 5s);
    CHECK(next.write("again") == 0);
    CHECK(world.holder_of("data") == "db");
    CHECK(Guest(world, "data", key).code() == 0);
  }
  old.reset();
  CHECK(Guest(world, "data").read(5) == "again");
  CHECK(world.events("data", "ClientsFenced").front()->count == 1);
}

TEST_CASE("a deleted volume that only a dead host has open is removed from the cluster") {
  CephWorld world;
  world.begin({"data"});
  world.hand_to("data", "web");
  std::optional<Guest> old(std::in_place, world, "data");
  REQUIRE(old->write("good") == 0);
  world.release("data");
  world.remove<api::Volume>("data");
  world.run_for(1min, 5s);
  REQUIRE(world.get_volume("data"));
  CHECK(world.condition("data", "Removable").reason == "InUse");
  CHECK(old->write("alive") == 0);
  world.alive.clear();
  world.run_for(3min, 5s);
  CHECK_FALSE(world.get_volume("data"));
  CHECK(world.events("data", "ClientsFenced").size() == 1);
  CHECK(old->write("later") == -ESHUTDOWN);
  CHECK(world.ceph->volumes().value().empty());
}

TEST_CASE("new limits of a volume reach a client that has it open") {
  CephWorld world;
  world.begin({"data"});
  world.hand_to("data", "web");
  Guest guest(world, "data");
  const auto id = world.id_of(world.get_volume("data"));
  SystemClock real;
  const auto thirty_writes = [&] {
    const auto begin = real.now();
    for (int i = 0; i < 30; ++i) REQUIRE(guest.write("x") == 0);
    return real.now() - begin;
  };
  (void)thirty_writes();
  REQUIRE(world.ceph->set_limits(id, {.iops = 10}));
  CHECK(thirty_writes() > 1s);  // it cannot be faster, whatever the machine
}

TEST_CASE("a new credential is used from the next attach on, and the old one opens until the last volume has let go") {
  CephWorld world;
  world.begin({"free", "held", "also"});
  for (const auto* name : {"held", "also"}) world.hand_to(name, "web");
  const auto old_key = Guest::key_of(world, "held");
  const auto first = world.credentials();
  REQUIRE(first == Names{old_key.user});
  std::optional<Guest> open(std::in_place, world, "held");

  world.rotate();
  world.run_for(3min, 5s);
  const auto both = world.credentials();
  REQUIRE(both.size() == 2);
  CHECK(both.contains(old_key.user));
  const auto new_key = Guest::key_of(world, "free");
  CHECK(new_key.user != old_key.user);
  CHECK(new_key.key != old_key.key);
  CHECK(Guest(world, "free").write("new") == 0);
  // Who has a volume keeps what it has, also when its machine is started again.
  CHECK(Guest::key_of(world, "held").key == old_key.key);
  CHECK(open->write("still") == 0);
  open.reset();
  open.emplace(world, "held");
  CHECK(open->read(5) == "still");

  // The next one gets the new one, while the old one is still in use elsewhere.
  open.reset();
  world.release("held");
  world.run_for(3min, 5s);
  CHECK(world.credentials() == both);
  world.hand_to("held", "db");
  CHECK(Guest::key_of(world, "held").key == new_key.key);
  CHECK(Guest(world, "held").read(5) == "still");
  CHECK(Guest(world, "also", old_key).code() == 0);

  world.release("also");
  world.run_for(3min, 5s);
  CHECK(world.credentials() == Names{new_key.user});
  CHECK(is_refused(Guest(world, "also", old_key).code()));
  CHECK(is_refused(Guest(world, "held", old_key).code()));
  for (const auto* name : {"free", "held", "also"}) CHECK(Guest(world, name).code() == 0);
}

TEST_CASE("a provider that is killed at any write of a rotation on the cluster finishes it when it comes back") {
  CephWorld world;
  world.begin({"free", "held"});
  bool is_dead = false;
  world.on_step = [&] {
    if (!is_dead) return;
    is_dead = false;
    world.start();
  };
  const int moments = at_each_moment([&](int n) {
    CAPTURE(n);
    world.hand_to("held", "web");
    const auto old_key = Guest::key_of(world, "held");
    bool was_reached = false;
    world.store.set_faults(
        [&, seen = 0](FaultyStore::Call call, const store::Transaction*) mutable -> std::optional<FaultyStore::Fault> {
          if (call == FaultyStore::Call::commit && !was_reached && seen++ == n) was_reached = is_dead = true;
          if (!is_dead) return std::nullopt;
          return FaultyStore::Fault{Error(ErrorCode::unavailable, "killed")};
        });
    world.rotate();
    world.run_for(3min, 10s);
    CHECK(Guest(world, "held").code() == 0);
    world.release("held");
    world.run_for(3min, 10s);
    const auto left = world.credentials();
    REQUIRE(left.size() == 1);
    CHECK_FALSE(left.contains(old_key.user));
    CHECK(is_refused(Guest(world, "held", old_key).code()));
    for (const auto* name : {"free", "held"}) CHECK(Guest(world, name).code() == 0);
    world.store.set_faults({});
    return was_reached;
  });
  CHECK(moments > 3);
}

TEST_CASE("a rotation that ended between the cluster's users and the list of them is finished") {
  CephWorld world;
  world.begin({"data"});
  const auto old_key = Guest::key_of(world, "data");
  // The new one was noted, and not made.
  world.provider.reset();
  REQUIRE(world.ceph->rotate_credential("default"));
  auto names = world.credentials();
  REQUIRE(names.size() == 2);
  names.erase(old_key.user);
  remove_user(*names.begin());
  // The old one was removed, and is still noted.
  remove_user(old_key.user);
  world.start();
  world.run_for(3min, 5s);
  CHECK(world.credentials() == names);
  CHECK(world.secret_entry("data", "userID") == *names.begin());
  CHECK(Guest(world, "data").write("new") == 0);
}

}  // namespace ironcore::storage::ceph::testing
