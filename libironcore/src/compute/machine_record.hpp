// SPDX-License-Identifier: Apache-2.0
// What a Host must remember about a machine beyond its own life, because neither the spec nor the hypervisor knows it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::compute {

/// One small JSON file per machine, replaced as a whole. Everything in it can be lost without harm to a guest: a lost
/// record means that a grace period starts anew and that a guest which powered itself off is started again.
struct MachineRecord {
  enum class Wish { on, off, removed };
  ///  none ──new token──► stopping ──stopped──► starting ──started──► none (token acknowledged)
  enum class Reboot { none, stopping, starting };

  Wish wish = Wish::on;                ///< of the last call
  bool was_running = false;            ///< seen running and not seen stopped since
  bool is_stopped_by_guest = false;    ///< the guest powered itself off: stays off until it is wished on again
  std::optional<WallTime> stop_asked;  ///< first signal of the stop under way: the grace counts from here
  Reboot reboot = Reboot::none;
  std::string reboot_wanted;           ///< token under way
  std::string reboot_done;             ///< last token acted on
  std::uint32_t crashes = 0;           ///< in a row
  std::optional<WallTime> started;     ///< last start
  std::optional<WallTime> not_before;  ///< next start after a crash
  std::string defined;                 ///< digest of what was last defined

  /// A device that the domain has, shall have, or still has to give back.
  struct Disk {
    std::string source;  ///< compared to notice that the name now means something else
    std::string handle;
    std::uint64_t size_bytes = 0;
    std::string backing;        ///< the image below a copy-on-write disk
    std::string access{};       ///< of an image on Ceph: digest of what it was opened with
    std::string next_access{};  ///< the same for the next time, if that is something else and was told
    bool has_secrets = false;   ///< secrets may be with the hypervisor
    std::string limits{};       ///< that the hypervisor was told, as a text; empty = none
    friend bool operator==(const Disk&, const Disk&) = default;
  };
  struct Nic {
    std::string source;
    std::string mac;
    friend bool operator==(const Nic&, const Nic&) = default;
  };
  std::map<std::string, Disk> disks;
  std::map<std::string, Nic> nics;

  friend bool operator==(const MachineRecord&, const MachineRecord&) = default;

  std::string to_text() const;
  /// `corrupt` if the text is no record.
  static Result<MachineRecord> parse(std::string_view text);
};

}  // namespace ironcore::compute
