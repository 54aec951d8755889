// SPDX-License-Identifier: Apache-2.0
// Batches to lines, and counters to how much they grew.
#include "ironcorectl/dataplane_watch.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <ostream>
#include <string_view>
#include <utility>

#include "ironcore/network/configuration_json.hpp"
#include "ironcorectl/dataplane_objects.hpp"
#include "ironcorectl/dataplane_tables.hpp"
#include "ironcorectl/dataplane_vnis.hpp"

namespace ironcore::ctl {
namespace {

using network::Change;
namespace json = boost::json;

/// Numbers that differ, with the difference in their place. Lists of what has an id go by it; other lists, and words, are left out.
json::value growth(const json::value& before, const json::value& now) {
  if (now.is_number()) {
    const auto number = [](const json::value& value) {
      return value.is_number() ? value.to_number<std::int64_t>() : 0;
    };
    return number(now) - number(before);
  }
  const auto is_nothing = [](const json::value& value) {
    return value.is_null() || (value.is_int64() && value.get_int64() == 0) ||
           (value.is_object() && value.get_object().empty());
  };
  json::object out;
  if (now.is_object()) {
    for (const auto& [name, value] : now.get_object()) {
      const auto* const old = before.is_object() ? before.get_object().if_contains(name) : nullptr;
      auto grown = growth(old == nullptr ? json::value() : *old, value);
      if (!is_nothing(grown)) out[name] = std::move(grown);
    }
    return out;
  }
  if (!now.is_array()) return {};
  const auto id_of = [](const json::value& value) -> const json::string* {
    const auto* const id = value.is_object() ? value.get_object().if_contains("id") : nullptr;
    return id == nullptr ? nullptr : id->if_string();
  };
  json::object by_id;
  if (before.is_array())
    for (const auto& one : before.get_array())
      if (const auto* const id = id_of(one)) by_id[*id] = one;
  for (const auto& one : now.get_array()) {
    const auto* const id = id_of(one);
    if (id == nullptr) continue;
    const auto* const old = by_id.if_contains(*id);
    auto grown = growth(old == nullptr ? json::value() : *old, one);
    if (!is_nothing(grown)) out[*id] = std::move(grown);
  }
  return out;
}

/// `dropped.local +2, interfaces.web-1.sentPackets +7`
void add_text(std::string& out, const json::value& grown, const std::string& name) {
  if (grown.is_object()) {
    for (const auto& [key, value] : grown.get_object())
      add_text(out, value, (name.empty() ? "" : name + ".") + std::string(key.data(), key.size()));
    return;
  }
  const auto number = grown.get_int64();
  out += (out.empty() ? "" : ", ") + name + (number < 0 ? " " : " +") + std::to_string(number);
}

enum class Networks { ignored, watched };

class Watcher {
 public:
  Watcher(Session& session, network::zmq::Client& client, const WatchWishes& wishes, const std::string& interface,
          OutputFormat format)
      : session_(session), client_(client), wishes_(wishes), interface_(interface), format_(format) {}

  Result<void> run(const std::vector<std::string_view>& kinds, Networks networks) {
    auto& clock = session_.clock();
    const auto deadline = wishes_.timeout == Duration(0) ? Instant::max() : clock.now() + wishes_.timeout;
    IRONCORE_TRY(const auto facts, client_.facts());
    auto after = facts.revision;
    const bool has_vnis = networks == Networks::watched;
    if (has_vnis) {
      IRONCORE_TRY(const auto list, list_vnis(client_));
      after = list.revision;
      for (const auto& vni : list.vnis) vnis_[vni.vni] = vni;
    }
    if (wishes_.has_counters) {
      IRONCORE_TRY(counters_, counters());
    }
    auto look_at = wishes_.has_counters ? clock.now() + wishes_.every : Instant::max();
    session_.err() << "watching from revision " << after << std::endl;
    while (!session_.stop().stop_requested()) {
      const auto batches = client_.watch(after, std::min(deadline, look_at), session_.stop());
      if (!batches && batches.error().code() == ErrorCode::gone) {
        IRONCORE_TRY(const auto now, client_.facts());
        after = now.revision;
        counters_ = json::value();
        session_.err() << "warning: changes were missed, because the dataplane was started anew or changed too fast: "
                          "`ironcorectl dataplane get` shows what is there; going on from revision "
                       << after << std::endl;
        if (has_vnis) IRONCORE_CHECK(print_vnis());
        if (is_enough()) return {};
        continue;
      }
      IRONCORE_CHECK(batches);
      for (const auto& batch : *batches) {
        after = batch.revision;
        for (const auto& change : *batch.changes) {
          if (!is_wanted(change, kinds)) continue;
          print(batch.revision, network::to_json(change), words_of(change), line_of(change));
          if (is_enough()) return {};
        }
      }
      if (has_vnis && !batches->empty()) {
        IRONCORE_CHECK(print_vnis());
        if (is_enough()) return {};
      }
      if (clock.now() >= look_at) {
        look_at = clock.now() + wishes_.every;
        IRONCORE_CHECK(print_counters());
        if (is_enough()) return {};
      }
      // Whoever stopped reading has seen enough.
      if (const auto flushed = session_.flush(); !flushed) {
        if (flushed.error().code() == ErrorCode::cancelled) return {};
        return flushed;
      }
      if (clock.now() >= deadline) break;
    }
    if (wishes_.count == 0 || session_.stop().stop_requested()) return {};
    return Error(ErrorCode::timeout, std::to_string(lines_) + " of " + std::to_string(wishes_.count) +
                                         " lines came in " + to_text(wishes_.timeout));
  }

 private:
  bool is_enough() const { return wishes_.count != 0 && lines_ >= wishes_.count; }

  bool is_wanted(const Change& change, const std::vector<std::string_view>& kinds) const {
    if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), network::kind_of(change)) == kinds.end()) return false;
    if (interface_.empty()) return true;
    const auto* const owner = interface_of(change);
    return owner != nullptr && *owner == interface_;
  }

  /// `line`: what there is to tell of the object that the words name; empty = it is gone.
  void print(std::uint64_t revision, const std::string& change, const std::string& words, const std::string& line) {
    ++lines_;
    auto& out = session_.out();
    if (format_ == OutputFormat::json)
      out << "{\"revision\":" << revision << ",\"change\":" << change << "}\n";
    else if (!line.empty())
      out << revision << "  set      " << words.substr(0, words.find(' ')) << ": " << line << '\n';
    else
      out << revision << "  deleted  " << words << '\n';
  }

  /// Networks come and go with objects; which ones, a list says.
  Result<void> print_vnis() {
    IRONCORE_TRY(const auto list, list_vnis(client_));
    auto before = std::exchange(vnis_, {});
    for (const auto& vni : list.vnis) {
      vnis_[vni.vni] = vni;
      const auto old = before.extract(vni.vni);
      const bool is_same = old && old.mapped() == vni;
      if (!is_same && !is_enough()) print(list.revision, to_json(vni), "vni", line_of(vni));
    }
    for (const auto& [vni, use] : before) {
      if (is_enough()) break;
      print(list.revision, "{\"delete\":\"Vni\",\"vni\":" + vni.to_text() + "}", "vni " + vni.to_text(), "");
    }
    return {};
  }

  Result<json::value> counters() {
    IRONCORE_TRY(auto all, client_.counters());
    if (!interface_.empty()) std::erase_if(all.interfaces, [&](const auto& one) { return one.id != interface_; });
    auto value = json::parse(to_json(DataplaneReport{std::move(all), {}}));
    value.as_object().erase("bursts");  // grow all the time
    return value;
  }

  Result<void> print_counters() {
    IRONCORE_TRY(auto now, counters());
    if (!counters_.is_null()) {
      auto grown = growth(counters_, now);
      if (!interface_.empty()) {
        auto* const of_interfaces = grown.get_object().if_contains("interfaces");
        grown = of_interfaces == nullptr ? json::object() : json::object{{"interfaces", *of_interfaces}};
      }
      if (!grown.get_object().empty()) {
        ++lines_;
        if (format_ == OutputFormat::json) {
          session_.out() << json::serialize(json::object{{"counters", grown}}) << '\n';
        } else {
          std::string text;
          add_text(text, grown, "");
          session_.out() << "counters  " << text << '\n';
        }
      }
    }
    counters_ = std::move(now);
    return {};
  }

  Session& session_;
  network::zmq::Client& client_;
  const WatchWishes& wishes_;
  const std::string& interface_;
  OutputFormat format_;
  std::map<Vni, network::VniUse> vnis_;  ///< as they were told last
  json::value counters_;                 ///< as they were told last; null = never
  std::uint64_t lines_ = 0;
};

}  // namespace

Result<void> watch_dataplane(Session& session, const std::vector<std::string>& words, const WatchWishes& wishes,
                             const std::string& interface, OutputFormat format) {
  if (format != OutputFormat::table && format != OutputFormat::json)
    return Error(ErrorCode::invalid, "watch prints lines: -o table or -o json");
  if (wishes.every < std::chrono::milliseconds(100)) return Error(ErrorCode::invalid, "--every: at least 100ms");
  std::vector<std::string_view> kinds;
  auto networks = Networks::ignored;
  for (const auto& word : words) {
    IRONCORE_TRY(const auto* const kind, find_dataplane_kind(word));
    if (!interface.empty()) IRONCORE_CHECK(check_has_interface(*kind));
    if (is_vni(*kind)) networks = Networks::watched;
    kinds.push_back(kind->kind);
  }
  IRONCORE_TRY(auto* const client, session.dataplane());
  return Watcher(session, *client, wishes, interface, format).run(kinds, networks);
}

}  // namespace ironcore::ctl
