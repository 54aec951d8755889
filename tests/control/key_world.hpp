// SPDX-License-Identifier: Apache-2.0
// A VolumeWorld whose provider wraps keys.
#pragma once

#include <string>

#include "volume_world.hpp"

namespace ironcore::control::test {

struct KeyWorld : VolumeWorld {
  KeyWorld() { options.keys = &keys; }

  std::string wrapped_by(const std::string& uid) {
    const auto secret = get<api::Secret>("volumekey-" + uid, "default");
    if (!secret) return "";
    return crypto::WrappedKey::parse(secret->data.at("wrappedKey").value).value().by.to_text();
  }
  std::string wrapped_by_of(const std::string& volume) { return wrapped_by(get_volume(volume)->metadata.uid); }
  api::Condition keys_current() {
    const auto* found = api::find_condition(pool()->status.conditions, "KeysCurrent");
    return found == nullptr ? api::Condition{.type = "none"} : *found;
  }
  void fail(ErrorCode code) {
    keys.set_faults([code](std::string_view) { return Error(code, "the key server says no"); });
  }
  /// As a machine would that comes and goes.
  void put_claimed(const std::string& name, const std::string& text) {
    claim(name, "writer");
    run_for(10s);
    REQUIRE(holder_of(name) == "writer");
    put(name, text);
    release(name);
    run_for(10s);
    REQUIRE(holder_of(name).empty());
  }
  std::string contents_claimed(const std::string& name, std::size_t size) {
    claim(name, "reader");
    run_for(10s);
    REQUIRE(holder_of(name) == "reader");
    auto found = contents(name, size);
    release(name);
    run_for(10s);
    REQUIRE(holder_of(name).empty());
    return found;
  }
};

}  // namespace ironcore::control::test
