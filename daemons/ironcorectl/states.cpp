// SPDX-License-Identifier: Apache-2.0
// States and conditions of each kind, from the declarations.
#include "ironcorectl/states.hpp"

#include <boost/describe.hpp>
#include <boost/mp11.hpp>
#include <vector>

#include "ironcore/api/compute.hpp"
#include "ironcore/base/names.hpp"

namespace ironcore::ctl {
namespace {

using Words = std::vector<std::string>;

/// `Pending`, `Running` … of the enumerators, which are single words.
template <class State>
Words words_of() {
  Words words;
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<State>>([&](auto enumerator) {
    std::string word = enumerator.name;
    word[0] = static_cast<char>(word[0] - 'a' + 'A');
    words.push_back(std::move(word));
  });
  return words;
}

Words states_of(const api::Kind& kind) {
  if (&kind == &api::kind_of<api::Machine>()) return words_of<api::MachineState>();
  if (&kind == &api::kind_of<api::MachinePool>()) return words_of<api::MachinePoolState>();
  if (&kind == &api::kind_of<api::NetworkInterface>()) return words_of<api::NetworkInterfaceState>();
  if (&kind == &api::kind_of<api::Bucket>()) return words_of<api::BucketState>();
  if (&kind == &api::kind_of<api::BucketPool>()) return words_of<api::StoragePoolState>();
  if (&kind == &api::kind_of<api::Volume>()) return words_of<api::VolumeState>();
  if (&kind == &api::kind_of<api::VolumePool>()) return words_of<api::StoragePoolState>();
  if (&kind == &api::kind_of<api::VolumeSnapshot>()) return words_of<api::VolumeSnapshotState>();
  return {};
}

Words conditions_of(const api::Kind& kind) {
  if (&kind == &api::kind_of<api::Machine>()) return {"Ready", "VolumesReady", "NetworkInterfacesReady"};
  for (const auto* pool :
       {&api::kind_of<api::MachinePool>(), &api::kind_of<api::VolumePool>(), &api::kind_of<api::BucketPool>()})
    if (&kind == pool) return {"Ready"};
  return {};
}

Result<void> check_word(const char* what, const api::Kind& kind, const std::string& word, const Words& known) {
  std::string all;
  for (const std::string& each : known) {
    if (each == word) return {};
    all += (all.empty() ? "" : ", ") + each;
  }
  const std::string name(kind.info().kind);
  return Error(ErrorCode::invalid,
               name + " has no " + what + " \"" + word + '"' + did_you_mean(word, known) + "; there is: " + all);
}

}  // namespace

Result<void> check_state(const api::Kind& kind, const std::string& state) {
  if (!kind.has_status()) return Error(ErrorCode::invalid, std::string(kind.info().kind) + " has no state");
  const Words known = states_of(kind);
  return known.empty() ? Result<void>() : check_word("state", kind, state, known);
}

Result<void> check_condition(const api::Kind& kind, const std::string& name) {
  const Words known = conditions_of(kind);
  return known.empty() ? Result<void>() : check_word("condition", kind, name, known);
}

}  // namespace ironcore::ctl
