// SPDX-License-Identifier: Apache-2.0
// What holds for every value of every kind, tried on values made from the descriptions of the kinds.
#include <doctest/doctest.h>

#include <functional>

#include "json_writer.hpp"
#include "objects.hpp"
#include "random_values.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

template <class T>
Object random_object(std::uint64_t seed) {
  T value;
  RandomValues random(seed);
  random.fill(value);
  return Object::of(std::move(value));
}

/// Where a value is in JSON, how an error would name it, and which JSON has another type.
struct Field {
  std::vector<std::string> steps;
  std::string path;
  std::vector<const char*> wrong;
};

/// Visits every place that the description knows, with one element in each list and the entry `k` in each
/// map.
template <class T>
void walk(const Field& at, const std::function<void(const Field&)>& visit) {
  [[maybe_unused]] auto here = at;  // NOLINT(performance-unnecessary-copy-initialization): most types change it
  if constexpr (is_optional<T>) {
    walk<typename T::value_type>(at, visit);
  } else if constexpr (DescribedStruct<T>) {
    here.wrong = {"true", "17", "\"x\"", "[]", "[{}]"};
    visit(here);
    for_each_member<T>([&](auto descriptor) {
      using Descriptor = decltype(descriptor);
      auto below = at;
      below.steps.emplace_back(json::member_name<Descriptor>);
      below.path += (at.path.empty() ? "" : ".") + below.steps.back();
      walk<std::remove_cvref_t<decltype(std::declval<T>().*Descriptor::pointer)>>(below, visit);
    });
  } else if constexpr (is_list<T>) {
    here.wrong = {"true", "17", "\"x\"", "{}"};
    visit(here);
    here.steps.emplace_back("0");
    here.path += "[0]";
    walk<typename T::value_type>(here, visit);
  } else if constexpr (is_string_map<T>) {
    here.wrong = {"true", "17", "\"x\"", "[]"};
    visit(here);
    here.steps.emplace_back("k");
    here.path += "[k]";
    walk<typename T::mapped_type>(here, visit);
  } else {
    if constexpr (std::same_as<T, std::string>) here.wrong = {"true", "17", "[]", "{}"};
    if constexpr (std::same_as<T, bool>) here.wrong = {"\"true\"", "1", "[]", "{}"};
    if constexpr (Integer<T>) here.wrong = {"\"1\"", "1.5", "1e1", "true", "[]", "{}", "99999999999999999999999"};
    if constexpr (DescribedEnum<T>) here.wrong = {"\"Nonsense\"", "true", "1", "[]", "{}"};
    if constexpr (std::same_as<T, IpAddress> || std::same_as<T, Prefix>)
      here.wrong = {"\"10.0.0\"", "\"\"", "\"fd00::1%eth0\"", "1", "true", "[]", "{}"};
    if constexpr (std::same_as<T, Revision>)
      here.wrong = {"1", "\"-1\"", "\"x\"", "\"99999999999999999999999\"", "[]", "{}"};
    if constexpr (std::same_as<T, WallTime>) here.wrong = {"1", "\"\"", "\"yesterday\"", "[]", "{}"};
    if constexpr (std::same_as<T, Quantity>) here.wrong = {"\"\"", "\"much\"", "1e99999", "true", "[]", "{}"};
    if constexpr (std::same_as<T, Bytes>) here.wrong = {"1", "\"%\"", "\"a\"", "[]", "{}"};
    visit(here);
  }
}

json::Tree parsed(std::string_view text) {
  return json::parse_tree(text, json::Nulls::keep).value();
}

/// The value at `steps`; the last one is made if it is missing.
json::Tree& at(json::Tree& tree, const std::vector<std::string>& steps) {
  auto* place = &tree;
  for (const auto& step : steps) {
    if (place->type == json::Type::list) {
      place = &place->items.at(0);
      continue;
    }
    auto* const found = place->find(step);
    place = found != nullptr ? found : &place->add(step, json::Tree());
  }
  return *place;
}

template <class T>
struct Tag {
  using type = T;
};

/// Calls `run` with each kind's struct.
template <class Run>
void for_each_kind(Run run) {
  run(Tag<Event>());
  run(Tag<Namespace>());
  run(Tag<Secret>());
  run(Tag<Machine>());
  run(Tag<MachineClass>());
  run(Tag<MachinePool>());
  run(Tag<NetworkInterface>());
  run(Tag<Bucket>());
  run(Tag<BucketClass>());
  run(Tag<BucketPool>());
  run(Tag<Volume>());
  run(Tag<VolumeClass>());
  run(Tag<VolumePool>());
  run(Tag<VolumeSnapshot>());
}

}  // namespace

TEST_CASE("every value comes back from its JSON, and its JSON is the only one it has") {
  for_each_kind([](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
      CAPTURE(T::info.kind);
      CAPTURE(seed);
      const auto object = random_object<T>(seed);
      const auto json = object.json();
      const auto again = Object::decode(json);
      REQUIRE(again.has_value());
      REQUIRE(*again == object);
      REQUIRE(again->json() == json);
    }
  });
}

TEST_CASE("the patch between any two values turns one into the other, and a second time nothing changes") {
  for_each_kind([](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      CAPTURE(T::info.kind);
      CAPTURE(seed);
      auto from = random_object<T>(seed), to = random_object<T>(seed + 1);
      auto metadata = from.metadata();
      metadata.resource_version = to.metadata().resource_version;
      from = from.kind().with_metadata(from, metadata);
      const auto patch = merge_patch(from, to);
      CAPTURE(patch);
      const auto patched = apply_merge_patch(from, patch);
      REQUIRE(patched.has_value());
      REQUIRE(*patched == to);
      REQUIRE(*apply_merge_patch(to, patch) == to);
      REQUIRE(merge_patch(*patched, to) == "{}");
    }
  });
}

TEST_CASE("what an older program did not know survives when it writes what it knows") {
  for_each_kind([](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
      const auto object = random_object<T>(seed);
      auto value = object.template as<T>();
      value.metadata.labels["touched"] = "yes";
      const auto written = Object::decode(Object::of(value).json()).value();
      value.metadata.labels = object.metadata().labels;
      REQUIRE(Object::of(value) == object);
      REQUIRE(merge_patch(object, written).find("touched") != std::string::npos);
      REQUIRE(written.template as<T>().unknown == object.template as<T>().unknown);
    }
  });
}

TEST_CASE("a value of a wrong type is refused in every field of every kind, by its path") {
  std::size_t tried = 0;
  for_each_kind([&](auto tag) {
    using T = typename decltype(tag)::type;
    T full;
    RandomValues(1, Filling::full).fill(full);
    const auto base = parsed(Object::of(full).json());
    walk<T>({}, [&](const Field& field) {
      if (field.steps.empty()) return;  // not an object at all: tested by hand
      for (const char* wrong : field.wrong) {
        CAPTURE(T::info.kind);
        CAPTURE(field.path);
        CAPTURE(wrong);
        auto tree = base;
        at(tree, field.steps) = parsed(wrong);
        const auto object = Object::decode(json::to_text(tree));
        REQUIRE(object.has_error());
        const Error error = object.error();
        REQUIRE(!error.fields().empty());
        CHECK(error.fields()[0].field.starts_with(field.path));
        ++tried;
      }
      CAPTURE(T::info.kind);
      CAPTURE(field.path);
      // Null is absent everywhere, and so is a member that a patch removes.
      if (!field.path.ends_with("]")) {
        auto tree = base;
        at(tree, field.steps) = json::Tree();
        CHECK(Object::decode(json::to_text(tree)).has_value());
      }
    });
  });
  CHECK(tried > 1000);
}

TEST_CASE("a member twice is refused in every object of every kind") {
  for_each_kind([&](auto tag) {
    using T = typename decltype(tag)::type;
    T full;
    RandomValues(1, Filling::full).fill(full);
    const auto base = parsed(Object::of(full).json());
    walk<T>({}, [&](const Field& field) {
      if (field.steps.empty()) return;
      auto tree = base;
      auto parent = field.steps;
      parent.pop_back();
      auto& object = at(tree, parent);
      if (object.type != json::Type::object) return;
      object.members.push_back(object.members.front());
      CAPTURE(field.path);
      CHECK(Object::decode(json::to_text(tree)).error().message().find("twice") != std::string::npos);
    });
  });
}

TEST_CASE("a field is found by its path wherever the description has one") {
  for_each_kind([&](auto tag) {
    using T = typename decltype(tag)::type;
    T full;
    RandomValues(1, Filling::full).fill(full);
    const auto object = Object::of(full);
    auto tree = parsed(object.json());
    walk<T>({}, [&](const Field& field) {
      const auto& value = at(tree, field.steps);
      const bool is_scalar =
          value.type == json::Type::string || value.type == json::Type::number || value.type == json::Type::boolean;
      const bool is_secret = T::info.kind == "Secret" && field.path == "data[k]";
      CAPTURE(field.path);
      CHECK(field_text(object, field.path).has_value() == (is_scalar && !is_secret));
    });
  });
}

TEST_CASE("text that is cut off or changed by a byte is refused or read, never misread into a crash") {
  std::mt19937_64 engine(7);
  for_each_kind([&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto json = random_object<T>(3).json();
    for (std::size_t size = 0; size < json.size(); ++size)
      CHECK(Object::decode(std::string_view(json).substr(0, size)).has_error());
    for (int i = 0; i < 3000; ++i) {
      auto changed = json;
      changed[engine() % changed.size()] = static_cast<char>(engine());
      const auto object = Object::decode(changed);
      if (object) CHECK(Object::decode(object->json()).value() == *object);
    }
  });
}
