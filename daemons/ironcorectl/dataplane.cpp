// SPDX-License-Identifier: Apache-2.0
// Files and words to changes, and answers to text.
#include "ironcorectl/dataplane.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <ostream>
#include <string_view>
#include <utility>

#include "ironcore/api/yaml.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcorectl/dataplane_tables.hpp"
#include "ironcorectl/manifest_files.hpp"
#include "ironcorectl/packet_words.hpp"

namespace ironcore::ctl {
namespace {

using network::Change;

/// The words of a kind, and the members of its key in the order in which they are given.
struct KindWords {
  std::string_view kind;
  std::string_view plural;
  std::string_view singular;
  std::array<std::string_view, 3> key;
};
constexpr std::array<KindWords, 10> kind_words{{
    {"Interface", "interfaces", "interface", {"id"}},
    {"InterfacePrefix", "prefixes", "prefix", {"interface", "prefix", "use"}},
    {"VirtualIp", "virtual-ips", "virtual-ip", {"interface", "family"}},
    {"Nat", "nats", "nat", {"interface"}},
    {"NeighbourNat", "neighbour-nats", "neighbour-nat", {"vni", "address", "firstPort"}},
    {"LoadBalancer", "load-balancers", "load-balancer", {"id"}},
    {"LoadBalancerTarget", "targets", "target", {"loadBalancer", "underlay"}},
    {"Route", "routes", "route", {"vni", "prefix"}},
    {"FirewallRule", "rules", "rule", {"interface", "id"}},
    {"VirtualService", "virtual-services", "virtual-service", {"id"}},
}};

Result<const KindWords*> find_kind(const std::string& word) {
  for (const auto& kind : kind_words)
    if (word == kind.kind || word == kind.plural || word == kind.singular) return &kind;
  const auto known = dataplane_kinds();
  std::string list;
  for (const auto& each : known) list += (list.empty() ? "" : ", ") + each;
  return Error(ErrorCode::invalid, "a dataplane has no kind " + in_quotes(word) +
                                       did_you_mean(word, std::span<const std::string>(known)) + "; there are " + list);
}

/// `route 100 10.0.0.0/8` → the key of the route.
Result<Change> parse_key(const std::vector<std::string>& words) {
  IRONCORE_TRY(const auto* const kind, find_kind(words.front()));
  std::string json = "{\"delete\":\"" + std::string(kind->kind) + '"';
  std::string usage = std::string(kind->singular);
  for (std::size_t i = 0; i < kind->key.size() && !kind->key[i].empty(); ++i) {
    usage += " " + std::string(kind->key[i]);
    if (i + 1 >= words.size()) continue;
    const auto& word = words[i + 1];
    const bool is_number = kind->key[i] == "vni" || kind->key[i] == "firstPort";
    json += ",\"" + std::string(kind->key[i]) + "\":";
    const bool is_digits =
        !word.empty() && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    json += is_number && is_digits ? word : boost::json::serialize(boost::json::string(word));
  }
  const auto parts = static_cast<std::size_t>(
      std::count_if(kind->key.begin(), kind->key.end(), [](std::string_view part) { return !part.empty(); }));
  if (words.size() > 1 + parts)
    return Error(ErrorCode::invalid,
                 "expected " + usage + ": " + in_quotes(words[1 + parts]) + " is one word too many");
  auto key = network::parse_change(json + "}");
  if (!key) return Error(ErrorCode::invalid, "expected " + usage + ": " + key.error().message());
  return key;
}

/// A change, and where it was written.
struct Written {
  const Document* file = nullptr;
  std::string path;  ///< in the document: empty, or `items[2]`
};

/// `changes[3].prefix` as the file and the field in it; false if it names no change.
bool split_field(std::string_view field, std::size_t& index, std::string_view& rest) {
  constexpr std::string_view start = "changes[";
  if (!field.starts_with(start)) return false;
  std::size_t at = start.size();
  index = 0;
  while (at < field.size() && field[at] >= '0' && field[at] <= '9')
    index = index * 10 + static_cast<std::size_t>(field[at++] - '0');
  if (at == field.size() || field[at] != ']') return false;
  rest = field.substr(at + 1);
  return true;
}

/// An error about a batch, with the places in the files.
Error located(const Error& error, const std::vector<Written>& origins) {
  if (error.fields().empty()) return error;
  std::string text;
  for (const auto& field : error.fields()) {
    std::size_t index = 0;
    std::string_view rest;
    std::vector<std::string> lines{field.field + ": " + field.message};
    if (split_field(field.field, index, rest) && index < origins.size()) {
      const auto& origin = origins[index];
      auto path = origin.path + std::string(rest);
      if (path.starts_with('.')) path.erase(0, 1);
      lines = api::locate(Error(std::vector{FieldError{path, field.reason, field.message}}), origin.file->document,
                          origin.file->name);
    }
    for (const auto& line : lines) text += (text.empty() ? "" : "\n") + line;
  }
  return {error.code(), std::move(text)};
}

struct Batch {
  std::vector<Document> documents;
  std::vector<Change> changes;
  std::vector<Written> origins;
};

Result<Batch> read_batch(Session& session, const std::vector<std::string>& files) {
  if (files.empty()) return Error(ErrorCode::invalid, "-f FILE is missing");
  Batch batch;
  IRONCORE_TRY(batch.documents, read_documents(session, files));
  std::string wrong;
  for (const auto& file : batch.documents) {
    const auto& json = file.document.json();
    auto changes = network::parse_changes(json);
    // A document is one change, or a List of them.
    const bool is_list = json.find("\"items\":") != std::string::npos && json.find("\"List\"") != std::string::npos;
    std::vector<Written> origins;
    const std::size_t count = changes ? changes->size() : api::max_manifest_values;
    for (std::size_t i = 0; i < (is_list ? count : 1); ++i)
      origins.push_back({&file, is_list ? "items[" + std::to_string(i) + "]" : std::string()});
    if (!changes) {
      const auto error = located(changes.error(), origins);
      wrong +=
          (wrong.empty() ? "" : "\n") + (changes.error().fields().empty() ? file.name + ": " : "") + error.message();
      continue;
    }
    batch.changes.insert(batch.changes.end(), changes->begin(), changes->end());
    batch.origins.insert(batch.origins.end(), origins.begin(), origins.end());
  }
  if (!wrong.empty()) return Error(ErrorCode::invalid, wrong);
  return batch;
}

Result<void> send(Session& session, const Batch& batch) {
  IRONCORE_TRY(auto* const client, session.dataplane());
  IRONCORE_TRY(const auto before, client->facts());
  const auto revision = client->apply(batch.changes);
  if (!revision) return located(revision.error(), batch.origins);
  session.out() << batch.changes.size() << (batch.changes.size() == 1 ? " change" : " changes")
                << (*revision == before.revision ? " said nothing new" : " applied") << ", revision " << *revision
                << '\n';
  return {};
}

Change key_of_change(const Change& change) {
  return std::visit(
      [](const auto& object) -> Change {
        if constexpr (requires { key_of(object); })
          return key_of(object);
        else
          return object;
      },
      change);
}

Result<void> remove(Session& session, const DataplaneCommand& command) {
  Batch batch;
  if (!command.files.empty()) {
    IRONCORE_TRY(batch, read_batch(session, command.files));
    for (auto& change : batch.changes) change = key_of_change(change);
  } else {
    if (command.words.empty()) return Error(ErrorCode::invalid, "delete takes -f FILE, or KIND and what names it");
    IRONCORE_TRY(auto key, parse_key(command.words));
    batch.changes.push_back(std::move(key));
  }
  return send(session, batch);
}

Result<std::vector<Change>> list_all(network::zmq::Client& client, std::string_view kind) {
  constexpr std::size_t page_objects = 1000;
  std::vector<Change> all;
  for (std::optional<Change> after;;) {
    IRONCORE_TRY(auto page, client.list(kind, page_objects, after));
    const bool has_more = page.has_more && !page.objects.empty();
    if (has_more) after = key_of_change(page.objects.back());
    std::move(page.objects.begin(), page.objects.end(), std::back_inserter(all));
    if (!has_more) return all;
  }
}

/// An older server does not tell it.
Result<network::DataplaneUsage> usage_of(network::zmq::Client& client) {
  auto usage = client.usage();
  if (!usage && usage.error().code() == ErrorCode::unsupported) return network::DataplaneUsage();
  return usage;
}

/// Who may not read counters sees no MACs that were heard.
Result<HeardMacs> heard_macs(network::zmq::Client& client) {
  HeardMacs heard;
  const auto counters = client.counters();
  if (!counters && counters.error().code() == ErrorCode::forbidden) return heard;
  IRONCORE_CHECK(counters);
  for (const auto& one : counters->interfaces)
    if (one.heard_mac) heard.emplace(one.id, *one.heard_mac);
  return heard;
}

Result<void> print_objects(Session& session, std::span<const Change> objects, OutputFormat format) {
  auto& out = session.out();
  switch (format) {
    case OutputFormat::json: {
      const auto json = objects.size() == 1 ? network::to_json(objects.front())
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
      for (const auto& object : objects) out << network::to_json(key_of_change(object)) << '\n';
      return {};
    case OutputFormat::table:
    case OutputFormat::wide:
      break;
  }
  HeardMacs heard;
  if (!objects.empty() && std::holds_alternative<network::Interface>(objects.front())) {
    IRONCORE_TRY(auto* const client, session.dataplane());
    IRONCORE_TRY(heard, heard_macs(*client));
  }
  print_table(session, objects, heard);
  return {};
}

Result<void> get(Session& session, const DataplaneCommand& command) {
  if (command.words.empty()) return Error(ErrorCode::invalid, "get takes a kind: `dataplane get interfaces`");
  IRONCORE_TRY(auto* const client, session.dataplane());
  std::vector<Change> objects;
  if (command.words.size() == 1) {
    IRONCORE_TRY(const auto* const kind, find_kind(command.words.front()));
    IRONCORE_TRY(objects, list_all(*client, kind->kind));
    if (objects.empty() && command.format == OutputFormat::table)
      session.err() << "there are no " << kind->plural << '\n';
  } else {
    IRONCORE_TRY(const auto key, parse_key(command.words));
    std::string what;
    for (const auto& word : command.words) what += (what.empty() ? "" : " ") + word;
    IRONCORE_TRY(auto object, within(client->get(key), what));
    objects.push_back(std::move(object));
  }
  return print_objects(session, objects, command.format);
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
  if (command.mtu > UINT16_MAX) return Error(ErrorCode::invalid, "--mtu: at most 9000");
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
  IRONCORE_TRY(auto* const client, session.dataplane());
  IRONCORE_CHECK(client->close_port(command.words.front()));
  session.out() << "port " << command.words.front() << " is closed\n";
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
  IRONCORE_TRY(const auto interfaces, list_all(client, "Interface"));
  for (const auto& object : interfaces) {
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
                 "explain takes a port and a packet like `udp 10.0.0.1:1000 10.0.0.2:53`, or a port, a frame in "
                 "hexadecimal and perhaps the number of a worker");
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

}  // namespace

std::vector<std::string> dataplane_kinds() {
  std::vector<std::string> words;
  for (const auto& kind : kind_words) words.emplace_back(kind.plural);
  return words;
}

Result<void> dataplane(Session& session, const DataplaneCommand& command) {
  const auto& verb = command.verb.front();
  if (verb == "get") return get(session, command);
  if (verb == "delete") return remove(session, command);
  if (verb == "explain") return explain_packet(session, command);
  if (verb == "open-port") return open_port(session, command);
  if (verb == "close-port") return close_port(session, command);
  if (verb == "capture") return capture(session, command.words, command.capture, command.format);
  if (verb != "apply" && verb != "counters" && verb != "ports" && verb != "status") {
    const std::array<std::string_view, 10> verbs{"apply",   "get",   "delete",    "status",     "counters",
                                                 "explain", "ports", "open-port", "close-port", "capture"};
    return Error(ErrorCode::invalid, "dataplane cannot " + in_quotes(verb) + did_you_mean(verb, verbs));
  }
  if (!command.words.empty())
    return Error(ErrorCode::invalid, "one argument too many: " + in_quotes(command.words.front()));
  if (verb == "apply") {
    IRONCORE_TRY(const auto batch, read_batch(session, command.files));
    return send(session, batch);
  }
  IRONCORE_TRY(auto* const client, session.dataplane());
  if (verb == "ports") {
    IRONCORE_TRY(const auto ports, client->ports());
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
