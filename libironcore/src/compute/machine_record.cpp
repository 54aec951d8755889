// SPDX-License-Identifier: Apache-2.0
// Machine records as JSON.
#include "machine_record.hpp"

#include <boost/json.hpp>
#include <limits>

namespace ironcore::compute {

namespace {

namespace json = boost::json;
using Record = MachineRecord;

const char* text(Record::Wish wish) {
  switch (wish) {
    case Record::Wish::on:
      return "on";
    case Record::Wish::off:
      return "off";
    case Record::Wish::removed:
      return "removed";
  }
  return "on";
}

const char* text(Record::Reboot reboot) {
  switch (reboot) {
    case Record::Reboot::none:
      return "none";
    case Record::Reboot::stopping:
      return "stopping";
    case Record::Reboot::starting:
      return "starting";
  }
  return "none";
}

json::value time_value(const std::optional<WallTime>& time) {
  return time ? json::value(time->time_since_epoch().count()) : json::value(nullptr);
}

/// Reads fields of one object; remembers the first that has the wrong type.
class Reader {
 public:
  explicit Reader(const json::object& object) : object_(object) {}

  std::string string(const char* key) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr) return {};
    if (const json::string* found = value->if_string()) return std::string(found->data(), found->size());
    bad_ = key;
    return {};
  }
  bool boolean(const char* key) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr) return false;
    if (const bool* found = value->if_bool()) return *found;
    bad_ = key;
    return false;
  }
  std::uint64_t number(const char* key) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr) return 0;
    json::error_code wrong;
    const auto found = value->to_number<std::uint64_t>(wrong);
    if (wrong) bad_ = key;
    return wrong ? 0 : found;
  }
  std::optional<WallTime> time(const char* key) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr || value->is_null()) return std::nullopt;
    json::error_code wrong;
    const auto found = value->to_number<std::int64_t>(wrong);
    if (wrong) bad_ = key;
    return wrong ? std::nullopt : std::optional(WallTime(Duration(found)));
  }
  template <class Each>
  void objects(const char* key, Each each) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr) return;
    const json::object* members = value->if_object();
    if (members == nullptr) {
      bad_ = key;
      return;
    }
    for (const auto& member : *members) {
      const json::object* device = member.value().if_object();
      if (device == nullptr) {
        bad_ = key;
        return;
      }
      Reader reader(*device);
      each(std::string(member.key()), reader);
      if (reader.bad() != nullptr) bad_ = reader.bad();
    }
  }
  void fail(const char* key) { bad_ = key; }
  const char* bad() const { return bad_; }

 private:
  const json::object& object_;
  const char* bad_ = nullptr;
};

}  // namespace

std::string MachineRecord::to_text() const {
  json::object disk_values;
  for (const auto& [name, disk] : disks) {
    json::object value = {
        {"source", disk.source}, {"handle", disk.handle}, {"size", disk.size_bytes}, {"backing", disk.backing}};
    if (!disk.access.empty()) value["access"] = disk.access;
    if (!disk.next_access.empty()) value["nextAccess"] = disk.next_access;
    if (disk.has_secrets) value["hasSecrets"] = true;
    if (!disk.limits.empty()) value["limits"] = disk.limits;
    disk_values[name] = std::move(value);
  }
  json::object nic_values;
  for (const auto& [name, nic] : nics) nic_values[name] = {{"source", nic.source}, {"mac", nic.mac}};
  const json::value value = {
      {"version", 1},
      {"wish", text(wish)},
      {"wasRunning", was_running},
      {"isStoppedByGuest", is_stopped_by_guest},
      {"stopAsked", time_value(stop_asked)},
      {"reboot", text(reboot)},
      {"rebootWanted", reboot_wanted},
      {"rebootDone", reboot_done},
      {"crashes", crashes},
      {"started", time_value(started)},
      {"notBefore", time_value(not_before)},
      {"defined", defined},
      {"disks", std::move(disk_values)},
      {"nics", std::move(nic_values)},
  };
  return json::serialize(value);
}

Result<MachineRecord> MachineRecord::parse(std::string_view text) {
  json::error_code wrong;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), wrong);
  if (wrong || !value.is_object()) return Error(ErrorCode::corrupt, "the machine's record is no JSON object");
  Reader reader(value.get_object());
  if (reader.number("version") != 1) {
    return Error(ErrorCode::corrupt, "the machine's record has another version: it was written by a newer program");
  }
  MachineRecord record;
  const std::string wish = reader.string("wish");
  if (wish == "off") {
    record.wish = Wish::off;
  } else if (wish == "removed") {
    record.wish = Wish::removed;
  } else if (wish != "on") {
    reader.fail("wish");
  }
  const std::string reboot = reader.string("reboot");
  if (reboot == "stopping") {
    record.reboot = Reboot::stopping;
  } else if (reboot == "starting") {
    record.reboot = Reboot::starting;
  } else if (reboot != "none") {
    reader.fail("reboot");
  }
  record.was_running = reader.boolean("wasRunning");
  record.is_stopped_by_guest = reader.boolean("isStoppedByGuest");
  record.stop_asked = reader.time("stopAsked");
  record.reboot_wanted = reader.string("rebootWanted");
  record.reboot_done = reader.string("rebootDone");
  const std::uint64_t crashes = reader.number("crashes");
  if (crashes > std::numeric_limits<std::uint32_t>::max()) reader.fail("crashes");
  record.crashes = static_cast<std::uint32_t>(crashes);
  record.started = reader.time("started");
  record.not_before = reader.time("notBefore");
  record.defined = reader.string("defined");
  reader.objects("disks", [&](std::string name, Reader& disk) {
    record.disks[std::move(name)] = {disk.string("source"),      disk.string("handle"), disk.number("size"),
                                     disk.string("backing"),     disk.string("access"), disk.string("nextAccess"),
                                     disk.boolean("hasSecrets"), disk.string("limits")};
  });
  reader.objects("nics", [&](std::string name, Reader& nic) {
    record.nics[std::move(name)] = {nic.string("source"), nic.string("mac")};
  });
  if (reader.bad() != nullptr) {
    return Error(ErrorCode::corrupt, std::string("the machine's record has a bad field ") + reader.bad());
  }
  return record;
}

}  // namespace ironcore::compute
