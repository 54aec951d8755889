// SPDX-License-Identifier: Apache-2.0
// Files and words to changes, and answers to text.
#include "ironcorectl/dataplane.hpp"

#include <algorithm>
#include <map>
#include <ostream>
#include <span>
#include <utility>

#include "ironcore/api/yaml.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcorectl/dataplane_files.hpp"
#include "ironcorectl/dataplane_objects.hpp"
#include "ironcorectl/dataplane_tables.hpp"
#include "ironcorectl/dataplane_vnis.hpp"
#include "ironcorectl/packet_words.hpp"

namespace ironcore::ctl {
namespace {

using network::Change;

/// Names of interfaces that one message lists; more of them are counted.
constexpr std::size_t most_told = 10;

/// A port may come later; whoever mistyped it shall see it at once. Who may not read counters is told nothing.
Result<void> tell_missing_ports(Session& session, network::zmq::Client& client, const DataplaneBatch& batch) {
  std::map<std::string, std::pair<std::size_t, const network::Interface*>> told;
  for (std::size_t i = 0; i < batch.changes.size(); ++i)
    if (const auto* one = std::get_if<network::Interface>(&batch.changes[i])) told[one->id] = {i, one};
  if (told.empty()) return {};
  const auto counters = client.counters();
  if (!counters && counters.error().code() == ErrorCode::forbidden) return {};
  IRONCORE_CHECK(counters);
  std::size_t missing = 0;
  for (const auto& one : counters->interfaces) {
    const auto found = told.find(one.id);
    if (one.has_port || found == told.end() || ++missing > most_told) continue;
    const auto& port = found->second.second->port;
    const std::vector<FieldError> field{
        {"changes[" + std::to_string(found->second.first) + "].port", FieldError::Reason::invalid,
         port + " is not there yet; `ironcorectl dataplane open-port " + port + " DEVICE` opens it"}};
    session.err() << "warning: " << batch.located(Error(field)).message() << '\n';
  }
  if (missing > most_told)
    session.err() << "warning: … and " << missing - most_told
                  << " more: `ironcorectl dataplane get interfaces` shows whose ports are not there\n";
  return {};
}

/// `nothing_new`: what it means if nothing changed by it.
Result<void> send(Session& session, const DataplaneBatch& batch, const char* nothing_new) {
  IRONCORE_TRY(auto* const client, session.dataplane());
  IRONCORE_TRY(const auto before, client->facts());
  const auto revision = client->apply(batch.changes);
  if (!revision) return batch.located(revision.error());
  session.out() << batch.changes.size() << (batch.changes.size() == 1 ? " change" : " changes")
                << (*revision == before.revision ? nothing_new : " applied") << ", revision " << *revision << '\n';
  return tell_missing_ports(session, *client, batch);
}

Result<void> remove(Session& session, const DataplaneCommand& command) {
  DataplaneBatch batch;
  if (!command.files.empty()) {
    IRONCORE_TRY(batch, read_batch(session, command.files));
    for (auto& change : batch.changes) change = key_of_change(change);
  } else {
    if (command.words.empty()) return Error(ErrorCode::invalid, "delete takes -f FILE, or KIND and what names it");
    IRONCORE_TRY(auto key, parse_key(command.words));
    batch.changes.push_back(std::move(key));
  }
  return send(session, batch, batch.changes.size() == 1 ? ": it was not there" : ": nothing of that was there");
}

/// An older server does not tell it.
Result<network::DataplaneUsage> usage_of(network::zmq::Client& client) {
  auto usage = client.usage();
  if (!usage && usage.error().code() == ErrorCode::unsupported) return network::DataplaneUsage();
  return usage;
}

/// What counters know of interfaces; who may not read them sees nothing of it.
Result<LiveInterfaces> live_interfaces(network::zmq::Client& client) {
  LiveInterfaces live;
  const auto counters = client.counters();
  if (!counters && counters.error().code() == ErrorCode::forbidden) return live;
  IRONCORE_CHECK(counters);
  for (const auto& one : counters->interfaces) live.emplace(one.id, one);
  return live;
}

Result<void> print_objects(Session& session, std::span<const Change> objects, Asked asked, OutputFormat format) {
  auto& out = session.out();
  switch (format) {
    case OutputFormat::json: {
      const auto json = asked == Asked::one_by_name ? network::to_json(objects.front())
                                                    : "{\"kind\":\"List\",\"items\":" + network::to_json(objects) + "}";
      IRONCORE_TRY(const auto text, api::to_indented_json(json));
      out << text;
      return {};
    }
    case OutputFormat::yaml:
      for (const auto& object : objects) {
        IRONCORE_TRY(const auto text, api::to_yaml(network::to_json(object)));
        out << (&object == objects.data() ? "" : "---\n") << text;
      }
      return {};
    case OutputFormat::name:
      for (const auto& object : objects) out << words_of(object) << '\n';
      return {};
    case OutputFormat::table:
    case OutputFormat::wide:
      break;
  }
  LiveInterfaces live;
  if (!objects.empty() && std::holds_alternative<network::Interface>(objects.front())) {
    IRONCORE_TRY(auto* const client, session.dataplane());
    IRONCORE_TRY(live, live_interfaces(*client));
  }
  print_table(session, objects, live);
  return {};
}

Result<void> print_vnis(Session& session, std::span<const network::VniUse> vnis, OutputFormat format) {
  auto& out = session.out();
  if (format == OutputFormat::json) {
    std::string items;
    for (const auto& vni : vnis) items += (items.empty() ? "" : ",") + to_json(vni);
    IRONCORE_TRY(const auto text,
                 api::to_indented_json(vnis.size() == 1 ? items : "{\"kind\":\"List\",\"items\":[" + items + "]}"));
    out << text;
  } else if (format == OutputFormat::yaml) {
    for (const auto& vni : vnis) {
      IRONCORE_TRY(const auto text, api::to_yaml(to_json(vni)));
      out << (&vni == vnis.data() ? "" : "---\n") << text;
    }
  } else if (format == OutputFormat::name) {
    for (const auto& vni : vnis) out << "vni " << vni.vni.to_text() << '\n';
  } else {
    print_table(session, vnis);
  }
  return {};
}

Result<void> get_vnis(Session& session, network::zmq::Client& client, const DataplaneCommand& command) {
  IRONCORE_TRY(const auto list, list_vnis(client, command.limit == 0 ? SIZE_MAX : command.limit));
  if (list.vnis.empty() && command.format == OutputFormat::table) session.err() << "there are no vnis\n";
  IRONCORE_CHECK(print_vnis(session, list.vnis, command.format));
  if (list.has_more) session.err() << "… and more: --limit 0 shows all\n";
  return {};
}

Result<void> get(Session& session, const DataplaneCommand& command) {
  if (command.words.empty()) return Error(ErrorCode::invalid, "get takes a kind: `dataplane get interfaces`");
  IRONCORE_TRY(auto* const client, session.dataplane());
  IRONCORE_TRY(const auto* const kind, find_dataplane_kind(command.words.front()));
  if (command.words.size() == 1) {
    if (!command.interface.empty()) IRONCORE_CHECK(check_has_interface(*kind));
    if (is_vni(*kind)) return get_vnis(session, *client, command);
    const auto limit = command.limit == 0 ? SIZE_MAX : command.limit;
    IRONCORE_TRY(const auto list, list_objects(*client, kind->kind, command.interface, limit));
    if (list.objects.empty() && command.format == OutputFormat::table)
      session.err() << "there are no " << kind->plural
                    << (command.interface.empty() ? "" : " of interface " + command.interface) << '\n';
    IRONCORE_CHECK(print_objects(session, list.objects, Asked::list, command.format));
    if (list.has_more) session.err() << "… and more: --limit 0 shows all\n";
    return {};
  }
  if (!command.interface.empty() || command.limit != 0)
    return Error(ErrorCode::invalid, "--interface and --limit are for lists: leave out what names one object");
  std::string what;
  for (const auto& word : command.words) what += (what.empty() ? "" : " ") + word;
  if (is_vni(*kind)) {
    if (command.words.size() > 2)
      return Error(ErrorCode::invalid, "expected vni NUMBER: " + in_quotes(command.words[2]) + " is one word too many");
    IRONCORE_TRY(const auto vni, within(get_vni(*client, command.words[1]), what));
    return print_vnis(session, std::span(&vni, 1), command.format);
  }
  IRONCORE_TRY(const auto key, parse_key(command.words));
  IRONCORE_TRY(const auto object, within(client->get(key), what));
  return print_objects(session, std::span(&object, 1), Asked::one_by_name, command.format);
}

template <class T>
Result<void> print_report(Session& session, const T& report, OutputFormat format) {
  if (format != OutputFormat::json && format != OutputFormat::yaml) {
    print_table(session, report);
    return {};
  }
  const auto json = to_json(report);
  IRONCORE_TRY(const auto text, format == OutputFormat::json ? api::to_indented_json(json) : api::to_yaml(json));
  session.out() << text;
  return {};
}

Result<void> open_port(Session& session, const DataplaneCommand& command) {
  if (command.words.size() != 2)
    return Error(ErrorCode::invalid, "open-port takes a name and a device: `dataplane open-port web-1 tap:web1`");
  if (command.mtu < 68 || command.mtu > 9000)
    return Error(ErrorCode::invalid, "--mtu: expected 68 to 9000, not " + std::to_string(command.mtu));
  const network::PortSpec spec{.name = command.words[0],
                               .device = command.words[1],
                               .mtu = static_cast<std::uint16_t>(command.mtu),
                               .mac = std::nullopt};
  IRONCORE_TRY(auto* const client, session.dataplane());
  IRONCORE_TRY(const auto state, client->open_port(spec));
  session.out() << "port " << state.spec.name << " is open, " << (state.is_up ? "up" : "down") << '\n';
  return {};
}

Result<void> close_port(Session& session, const DataplaneCommand& command) {
  if (command.words.size() != 1) return Error(ErrorCode::invalid, "close-port takes a name");
  const auto& name = command.words.front();
  IRONCORE_TRY(auto* const client, session.dataplane());
  // To close one that is not there is no error of the dataplane's, since a call may come twice; a person has mistyped it.
  const auto ports = client->ports();
  if (!ports && ports.error().code() != ErrorCode::forbidden) return ports.error();
  if (ports) {
    std::vector<std::string> names;
    for (const auto& port : *ports) names.push_back(port.state.spec.name);
    if (std::find(names.begin(), names.end(), name) == names.end())
      return Error(ErrorCode::not_found,
                   "there is no port " + in_quotes(name) + did_you_mean(name, std::span<const std::string>(names)));
  }
  IRONCORE_CHECK(client->close_port(name));
  session.out() << "port " << name << " is closed\n";
  return {};
}

/// `02 00:00` too: blanks and colons between the bytes do not matter.
Result<std::vector<std::uint8_t>> parse_frame(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  bool is_half = false;
  for (const char c : text) {
    if (c == ' ' || c == ':') continue;
    unsigned digit = 0;
    if (c >= '0' && c <= '9')
      digit = static_cast<unsigned>(c - '0');
    else if (c >= 'a' && c <= 'f')
      digit = static_cast<unsigned>(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F')
      digit = static_cast<unsigned>(c - 'A') + 10;
    else
      return Error(ErrorCode::invalid, "a frame is written as hexadecimal digits, not " + in_quotes(text));
    if (is_half)
      bytes.back() = static_cast<std::uint8_t>(bytes.back() << 4 | digit);
    else
      bytes.push_back(static_cast<std::uint8_t>(digit));
    is_half = !is_half;
  }
  if (is_half) return Error(ErrorCode::invalid, "half of the frame's last byte is missing");
  return bytes;
}

/// The MAC of the machine at a port, as far as it was told; a port of nobody, or one that learns, gets zeros.
Result<MacAddress> mac_at(network::zmq::Client& client, const std::string& port) {
  IRONCORE_TRY(const auto interfaces, list_objects(client, "Interface"));
  for (const auto& object : interfaces.objects) {
    const auto* interface = std::get_if<network::Interface>(&object);
    if (interface != nullptr && interface->port == port) return interface->mac.value_or(MacAddress());
  }
  return MacAddress();
}

/// A worker knows an uplink by its number alone.
Result<void> name_uplink(network::zmq::Client& client, network::Explanation& explanation) {
  if (explanation.drop != network::Drop::none || explanation.steps.empty() ||
      !explanation.steps.back().text.starts_with("uplink "))
    return {};
  const auto ports = client.ports();
  if (!ports && ports.error().code() == ErrorCode::forbidden) return {};
  IRONCORE_CHECK(ports);
  for (const auto& port : *ports)
    if (port.state.number == explanation.port) explanation.steps.back().text += ", port " + port.state.spec.name;
  return {};
}

/// PORT FRAME [WORKER], or PORT PROTOCOL SOURCE DESTINATION.
Result<void> explain_packet(Session& session, const DataplaneCommand& command) {
  const auto& words = command.words;
  const bool is_described = words.size() == 4;
  const bool has_worker = words.size() == 3;
  if ((words.size() != 2 && !has_worker && !is_described) ||
      (has_worker &&
       (words[2].empty() || words[2].size() > 4 || words[2].find_first_not_of("0123456789") != std::string::npos)))
    return Error(ErrorCode::invalid,
                 "explain takes a port and a packet like `udp 10.0.0.1:1000 10.0.0.2:53` or `47 10.0.0.1 10.0.0.2`, or "
                 "a port, a frame in hexadecimal and perhaps the number of a worker");
  std::vector<std::uint8_t> frame;
  if (is_described) {
    IRONCORE_CHECK(frame_of(words[1], words[2], words[3], MacAddress()));  // before anybody is asked
  } else {
    IRONCORE_TRY(frame, parse_frame(words[1]));
  }
  IRONCORE_TRY(auto* const client, session.dataplane());
  if (is_described) {
    IRONCORE_TRY(const auto mac, mac_at(*client, words[0]));
    IRONCORE_TRY(frame, frame_of(words[1], words[2], words[3], mac));
  }
  IRONCORE_TRY(auto explanation, client->explain(words[0], frame, has_worker ? std::stoul(words[2]) : 0));
  if (command.format == OutputFormat::json) {
    IRONCORE_TRY(const auto text, api::to_indented_json(explanation.to_json()));
    session.out() << text;
    return {};
  }
  IRONCORE_CHECK(name_uplink(*client, explanation));
  session.out() << explanation.to_text();
  return {};
}

/// A flag of another verb would be a wish that nobody hears.
Result<void> check_flags(const DataplaneCommand& command) {
  const auto& verb = command.verb.front();
  const bool is_get = verb == "get", is_watch = verb == "watch";
  const auto& watch = command.watch;
  if (!command.interface.empty() && !is_get && !is_watch)
    return Error(ErrorCode::invalid, "--interface is for get and watch");
  if (command.limit != 0 && !is_get) return Error(ErrorCode::invalid, "--limit is for get; watch has --count");
  if ((watch.count != 0 || watch.timeout != Duration(0) || watch.has_counters) && !is_watch)
    return Error(ErrorCode::invalid, "--count, --timeout and --counters are for watch");
  if (!command.files.empty() && verb != "apply" && verb != "delete")
    return Error(ErrorCode::invalid, "-f is for apply and delete");
  return {};
}

}  // namespace

std::vector<std::string> dataplane_verbs() {
  return {"apply",   "get",   "delete",    "watch",      "status", "counters",
          "explain", "ports", "open-port", "close-port", "capture"};
}

Result<void> dataplane(Session& session, const DataplaneCommand& command) {
  IRONCORE_CHECK(check_flags(command));
  const auto& verb = command.verb.front();
  if (verb == "get") return get(session, command);
  if (verb == "delete") return remove(session, command);
  if (verb == "explain") return explain_packet(session, command);
  if (verb == "open-port") return open_port(session, command);
  if (verb == "close-port") return close_port(session, command);
  if (verb == "watch") return watch_dataplane(session, command.words, command.watch, command.interface, command.format);
  if (verb == "capture") return capture(session, command.words, command.capture, command.format);
  if (verb != "apply" && verb != "counters" && verb != "ports" && verb != "status") {
    const auto verbs = dataplane_verbs();
    return Error(ErrorCode::invalid,
                 "dataplane cannot " + in_quotes(verb) + did_you_mean(verb, std::span<const std::string>(verbs)));
  }
  if (!command.words.empty())
    return Error(ErrorCode::invalid, "one argument too many: " + in_quotes(command.words.front()));
  if (verb == "apply") {
    IRONCORE_TRY(const auto batch, read_batch(session, command.files));
    return send(session, batch, " said nothing new");
  }
  IRONCORE_TRY(auto* const client, session.dataplane());
  if (verb == "ports") {
    IRONCORE_TRY(const auto ports, client->ports());
    if (command.format == OutputFormat::name) {
      for (const auto& port : ports) session.out() << "port " << port.state.spec.name << '\n';
      return {};
    }
    return print_report(session, std::span<const network::zmq::PortReport>(ports), command.format);
  }
  if (verb == "status") {
    DataplaneStatus status;
    IRONCORE_TRY(status.facts, client->facts());
    IRONCORE_TRY(status.counters, client->counters());
    IRONCORE_TRY(status.usage, usage_of(*client));
    IRONCORE_TRY(status.ports, client->ports());
    return print_report(session, status, command.format);
  }
  DataplaneReport report;
  IRONCORE_TRY(report.counters, client->counters());
  IRONCORE_TRY(report.usage, usage_of(*client));
  return print_report(session, report, command.format);
}

}  // namespace ironcore::ctl
