// SPDX-License-Identifier: Apache-2.0
// Access, credentials, clients, fencing.
#pragma once

#include "block_store_fixture.hpp"

namespace ironcore::storage::testing {

TEST_CASE_TEMPLATE_DEFINE("access names the volume the same way each time, and keeps secrets among the secrets",
                          Fixture, blocks_access) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto one = new_id();
  const auto other = new_id();
  created(store, one, empty_spec(mib));
  created(store, other, empty_spec(mib));
  const auto access = store.access(one);
  IRONCORE_BLOCKS_OK(access);
  CHECK_FALSE(access->driver.empty());
  CHECK(access->handle.size() == 16);
  CHECK(access->handle.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos);
  CHECK(("vda-" + access->handle).size() <= 20);
  CHECK_FALSE(access->attributes.empty());
  for (const auto& [name, value] : access->attributes) {
    CHECK_FALSE(name.empty());
    CHECK_FALSE(value.empty());
  }
  if (access->driver == "ceph") {
    CHECK(access->attributes.contains("monitors"));
    CHECK(access->attributes.contains("image"));
    CHECK(access->secrets.contains("userID"));
    REQUIRE(access->secrets.contains("userKey"));
    for (const auto& [name, value] : access->attributes) {
      CHECK(value.find(access->secrets.at("userKey")) == std::string::npos);
    }
  }
  CHECK(access->secrets.empty() != fixture.quirks().has_credentials);
  CHECK(access->credential.empty() != fixture.quirks().has_credentials);
  for (const auto& again : {store.access(one), fixture.another()->access(one)}) {
    IRONCORE_BLOCKS_OK(again);
    CHECK(again->driver == access->driver);
    CHECK(again->handle == access->handle);
    CHECK(again->attributes == access->attributes);
    CHECK(again->secrets == access->secrets);
  }
  const auto others = store.access(other);
  IRONCORE_BLOCKS_OK(others);
  CHECK(others->handle != access->handle);
  CHECK(others->attributes != access->attributes);
  CHECK(others->secrets == access->secrets);
  if (const auto is_reached = fixture.reaches(*access)) CHECK(*is_reached);
  IRONCORE_BLOCKS_OK(store.expand(one, 2 * mib));
  CHECK(store.access(one)->handle == access->handle);
  IRONCORE_BLOCKS_OK(store.remove(one));
  IRONCORE_BLOCKS_FAIL(not_found, store.access(one));
}

TEST_CASE_TEMPLATE_DEFINE("a tenant's credential is replaced, and the old one is good until it is revoked", Fixture,
                          blocks_credentials) {
  Fixture fixture;
  auto& store = fixture.store();
  const std::string tenant = "team-" + Uid::random().to_text();
  const std::string neighbour = "team-" + Uid::random().to_text();
  const auto listed = [&] {
    const auto credentials = store.credentials(tenant);
    REQUIRE_MESSAGE(credentials.has_value(), credentials.error().message());
    return *credentials;
  };
  const auto current = [&] {
    std::string name;
    for (const auto& credential : listed()) {
      if (!credential.is_current) continue;
      CHECK(name.empty());
      name = credential.name;
    }
    CHECK_FALSE(name.empty());
    return name;
  };
  const auto reaches = [&](const Access& access) { return fixture.reaches(access).value_or(true); };
  CHECK(listed().empty());
  const auto id = new_id(tenant);
  created(store, id, empty_spec(mib));
  if (!fixture.quirks().has_credentials) {
    IRONCORE_BLOCKS_FAIL(unsupported, store.rotate_credential(tenant));
    IRONCORE_BLOCKS_OK(store.access(id));
    CHECK(listed().empty());
    IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, "absent"));
    return;
  }
  const auto neighbours = new_id(neighbour);
  created(store, neighbours, empty_spec(mib));
  const auto beside = store.access(neighbours);
  IRONCORE_BLOCKS_OK(beside);

  const auto first = store.access(id);
  IRONCORE_BLOCKS_OK(first);
  CHECK(first->secrets != beside->secrets);
  REQUIRE(listed().size() == 1);
  const auto first_name = current();
  IRONCORE_BLOCKS_OK(store.rotate_credential(tenant));
  const auto second = store.access(id);
  IRONCORE_BLOCKS_OK(second);
  CHECK(second->secrets != first->secrets);
  CHECK(second->handle == first->handle);
  CHECK(second->attributes == first->attributes);
  CHECK(fixture.another()->access(id)->secrets == second->secrets);
  REQUIRE(listed().size() == 2);
  const auto second_name = current();
  CHECK(second_name != first_name);
  CHECK(reaches(*first));
  CHECK(reaches(*second));

  IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, first_name));
  IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, first_name));
  IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, "absent"));
  REQUIRE(listed().size() == 1);
  CHECK(current() == second_name);
  CHECK(store.access(id)->secrets == second->secrets);
  if (const auto is_reached = fixture.reaches(*first)) CHECK_FALSE(*is_reached);
  CHECK(reaches(*second));

  // The one in use is no longer good: a new one is made for who asks.
  IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, second_name));
  CHECK(listed().empty());
  if (const auto is_reached = fixture.reaches(*second)) CHECK_FALSE(*is_reached);
  const auto third = store.access(id);
  IRONCORE_BLOCKS_OK(third);
  CHECK(third->secrets != first->secrets);
  CHECK(third->secrets != second->secrets);
  CHECK(listed().size() == 1);
  CHECK(reaches(*third));
  IRONCORE_BLOCKS_OK(store.rotate_credential(tenant));
  const auto fourth = store.access(id);
  IRONCORE_BLOCKS_OK(fourth);
  CHECK(fourth->secrets != third->secrets);

  CHECK(store.access(neighbours)->secrets == beside->secrets);
  CHECK(reaches(*beside));
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove(neighbours));
  for (const auto& credential : listed()) IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, credential.name));
  CHECK(listed().empty());
  const auto others = store.credentials(neighbour);
  IRONCORE_BLOCKS_OK(others);
  for (const auto& credential : *others) {
    IRONCORE_BLOCKS_OK(store.revoke_credential(neighbour, credential.name));
  }
}

TEST_CASE_TEMPLATE_DEFINE("who has a volume open is known by name, and it is not removed", Fixture, blocks_clients) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(2 * mib));
  const auto clients = [&] {
    const auto all = store.clients(id);
    REQUIRE_MESSAGE(all.has_value(), all.error().message());
    return *all;
  };
  CHECK(clients().empty());
  {
    const auto mine = opened(store, id);
    CHECK(clients().empty());
    IRONCORE_BLOCKS_FAIL(wrong_state, store.remove(id));
  }
  {
    auto elsewhere = fixture.open_elsewhere(id, {});
    const auto removed = store.remove(id);
    REQUIRE_FALSE(removed.has_value());
    CHECK(removed.error().code() == ErrorCode::wrong_state);
    if (fixture.quirks().knows_clients) {
      const auto seen = clients();
      REQUIRE(seen.size() == 1);
      CHECK_FALSE(seen[0].address.empty());
      CHECK_FALSE(seen[0].name.empty());
      CHECK_MESSAGE(removed.error().message().find(seen[0].address) != std::string::npos, removed.error().message());
    } else {
      CHECK(clients().empty());
    }
    IRONCORE_BLOCKS_OK(store.volume(id));
    if (elsewhere.data != nullptr) {
      IRONCORE_BLOCKS_OK(write(*elsewhere.data, 0, as_bytes("still here")));
      IRONCORE_BLOCKS_OK(flush(*elsewhere.data));
    }
  }
  CHECK(fixture.wait_until([&] { return clients().empty(); }));
  CHECK(fixture.wait_until([&] { return store.remove(id).has_value(); }));
}

TEST_CASE_TEMPLATE_DEFINE("from who is fenced nothing reaches a volume any more", Fixture, blocks_fence) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(2 * mib));
  if (!fixture.quirks().fences) {
    const std::vector<std::string> somebody{"127.0.0.1:0/1"};
    IRONCORE_BLOCKS_FAIL(unsupported, store.fence(somebody));
    return;
  }
  IRONCORE_BLOCKS_OK(store.fence({}));
  auto elsewhere = fixture.open_elsewhere(id, {});
  REQUIRE(elsewhere.data != nullptr);
  const auto before = noise(8192);
  IRONCORE_BLOCKS_OK(write(*elsewhere.data, 0, before));
  IRONCORE_BLOCKS_OK(flush(*elsewhere.data));
  IRONCORE_BLOCKS_OK(write(*elsewhere.data, mib, before));  // may still be in its cache
  auto seen = store.clients(id);
  IRONCORE_BLOCKS_OK(seen);
  REQUIRE(seen->size() == 1);
  const std::vector<std::string> addresses{seen->front().address};
  IRONCORE_BLOCKS_OK(store.fence(addresses));
  IRONCORE_BLOCKS_OK(store.fence(addresses));
  CHECK(fixture.wait_until([&] {
    seen = store.clients(id);
    return seen.has_value() && seen->empty();
  }));

  // The next one writes at once, and is not disturbed.
  const auto after = noise(8192);
  put(store, id, 4096, after);
  const auto late = write(*elsewhere.data, 0, noise(4096));
  const auto safe = flush(*elsewhere.data);
  CHECK_FALSE((late.has_value() && safe.has_value()));
  CHECK(get(store, id, 0, 4096) == part(before, 0, 4096));
  CHECK(get(store, id, 4096, 8192) == after);
  elsewhere.close();
  CHECK(get(store, id, 0, 4096) == part(before, 0, 4096));
  CHECK(get(store, id, 4096, 8192) == after);

  // Not the host is shut out, but what it had.
  {
    const auto again = fixture.open_elsewhere(id, {});
    REQUIRE(again.data != nullptr);
    IRONCORE_BLOCKS_OK(write(*again.data, 0, after));
    IRONCORE_BLOCKS_OK(flush(*again.data));
  }
  CHECK(get(store, id, 0, 4096) == part(after, 0, 4096));
  CHECK(fixture.wait_until([&] { return store.remove(id).has_value(); }));
}

}  // namespace ironcore::storage::testing
