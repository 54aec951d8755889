// SPDX-License-Identifier: Apache-2.0
// What a store of machines and namespaces should hold, said as simply as possible: values that are copied,
// searches from end to end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/base/error.hpp"

namespace ironcore::test {

using Incarnation = int;                            ///< one life of an object; its uid is known only after the commit
using Place = std::pair<std::string, std::string>;  ///< namespace and name

struct ModelMachine {
  Incarnation incarnation = 0;
  std::map<std::string, std::string> labels;
  std::string pool;
  bool is_on = true;
  std::string machine_id;
  std::vector<std::string> finalizers;
  bool is_deleting = false;
  std::set<Incarnation> owners;
  std::int64_t generation = 1;
  friend bool operator==(const ModelMachine&, const ModelMachine&) = default;
};

/// Each call does what the operation of that name must do, or says which error must come. A failed call may
/// leave anything behind: the caller works on a copy.
struct Model {
  std::map<Place, ModelMachine> machines;
  std::map<std::string, bool> namespaces;  ///< → is being deleted
  std::uint64_t changes = 0;
  Incarnation last_incarnation = 0;

  using Failure = std::optional<ErrorCode>;

  Failure create(const Place& place, ModelMachine machine) {
    if (machines.contains(place)) return ErrorCode::already_exists;
    const auto space = namespaces.find(place.first);
    if (space == namespaces.end()) return ErrorCode::not_found;
    if (space->second) return ErrorCode::wrong_state;
    for (const auto owner : machine.owners)
      if (find(owner) == nullptr || place_of(owner).first != place.first) return ErrorCode::conflict;
    machine.incarnation = ++last_incarnation;
    machines[place] = std::move(machine);
    ++changes;
    return {};
  }

  /// `wanted` with the fields that an update may change.
  Failure change(const Place& place, const ModelMachine& wanted) {
    const auto found = machines.find(place);
    if (found == machines.end()) return ErrorCode::not_found;
    auto& machine = found->second;
    if (machine.is_deleting)
      for (const auto& finalizer : wanted.finalizers)
        if (std::find(machine.finalizers.begin(), machine.finalizers.end(), finalizer) == machine.finalizers.end())
          return ErrorCode::wrong_state;
    auto result = wanted;
    result.incarnation = machine.incarnation;
    result.is_deleting = machine.is_deleting;
    result.owners = machine.owners;
    result.generation = machine.generation;
    if (result == machine) return {};
    if (machine.is_deleting && result.finalizers.empty()) {
      remove(place);
      settle();
      return {};
    }
    if (result.is_on != machine.is_on || result.pool != machine.pool) ++result.generation;
    machine = std::move(result);
    ++changes;
    return {};
  }

  Failure erase(const Place& place, bool is_orphaning) {
    const auto found = machines.find(place);
    if (found == machines.end()) return ErrorCode::not_found;
    if (is_orphaning) {
      const auto owner = found->second.incarnation;
      for (auto& [other, machine] : machines) changes += machine.owners.erase(owner);
    }
    start_deleting(place);
    settle();
    return {};
  }

  Failure create_namespace(const std::string& name) {
    if (namespaces.contains(name)) return ErrorCode::already_exists;
    namespaces[name] = false;
    ++changes;
    return {};
  }

  Failure erase_namespace(const std::string& name) {
    const auto found = namespaces.find(name);
    if (found == namespaces.end()) return ErrorCode::not_found;
    if (found->second) return {};
    if (name == "default") return ErrorCode::forbidden;
    std::vector<Place> inside;
    for (const auto& [place, machine] : machines)
      if (place.first == name) inside.push_back(place);
    ++changes;
    if (inside.empty()) {
      namespaces.erase(found);
      return {};
    }
    found->second = true;
    for (const auto& place : inside)
      if (machines.contains(place)) start_deleting(place);
    settle();
    return {};
  }

  const ModelMachine* find(Incarnation incarnation) const {
    for (const auto& [place, machine] : machines)
      if (machine.incarnation == incarnation) return &machine;
    return nullptr;
  }

 private:
  Place place_of(Incarnation incarnation) const {
    for (const auto& [place, machine] : machines)
      if (machine.incarnation == incarnation) return place;
    return {};
  }

  void start_deleting(const Place& place) {
    auto& machine = machines.at(place);
    if (machine.is_deleting) return;
    if (machine.finalizers.empty()) return remove(place);
    machine.is_deleting = true;
    ++changes;
  }

  void remove(const Place& place) {
    removed_.push_back(machines.at(place).incarnation);
    machines.erase(place);
    ++changes;
    const auto space = namespaces.find(place.first);
    const bool is_empty = std::none_of(machines.begin(), machines.end(),
                                       [&](const auto& entry) { return entry.first.first == place.first; });
    if (space != namespaces.end() && space->second && is_empty) {
      namespaces.erase(space);
      ++changes;
    }
  }

  void settle() {
    while (!removed_.empty()) {
      const auto owner = removed_.front();
      removed_.pop_front();
      std::vector<Place> owned;
      for (const auto& [place, machine] : machines)
        if (machine.owners.contains(owner)) owned.push_back(place);
      for (const auto& place : owned) {
        auto& machine = machines.at(place);
        const bool has_other = std::any_of(machine.owners.begin(), machine.owners.end(),
                                           [&](auto other) { return other != owner && find(other) != nullptr; });
        if (has_other) {
          machine.owners.erase(owner);
          ++changes;
        } else {
          start_deleting(place);
        }
      }
    }
  }

  std::deque<Incarnation> removed_;
};

}  // namespace ironcore::test
