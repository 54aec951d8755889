// SPDX-License-Identifier: Apache-2.0
// Every command: its words, its flags, its examples, and the function behind it.
#include "ironcorectl/commands.hpp"

#include <ostream>

#include "ironcorectl/completion.hpp"
#include "ironcorectl/output.hpp"
#include "ironcorectl/table.hpp"
#include "program/daemon.hpp"

namespace ironcore::ctl {
namespace {

using program::Argument;
using program::Command;
using program::Setting;
using program::with_letter;

constexpr std::size_t any_number = 10'000;

Argument kind_and_names(std::vector<std::string>& target, std::size_t least) {
  return {.name = "KIND [NAME…]",
          .help = "a kind (machines, machine, m …) and names, or KIND/NAME…",
          .least = least,
          .most = any_number,
          .target = &target,
          .choices = {"@kinds"}};
}

Argument machines(std::vector<std::string>& target, std::size_t most) {
  return {.name = "MACHINE", .help = "name of a machine", .most = most, .target = &target, .choices = {"@machines"}};
}

Setting files(std::vector<std::string>& target) {
  return with_letter(
      'f', program::texts("filename", target, "FILE", "manifest, directory of manifests, or - for standard input"));
}

Setting selector(std::string& target) {
  return with_letter('l',
                     program::text("selector", target, "LABELS", "only objects with these labels: app=web,tier!=db"));
}

Setting all_namespaces(bool& target) {
  return with_letter('A', program::toggle("all-namespaces", target, "objects of every namespace"));
}

Setting timeout(Duration& target) {
  return program::duration("timeout", target, "give up after this");
}

Setting output(OutputFormat& target) {
  return with_letter('o', program::choice<OutputFormat>("output", target,
                                                        {{"table", OutputFormat::table},
                                                         {"wide", OutputFormat::wide},
                                                         {"json", OutputFormat::json},
                                                         {"yaml", OutputFormat::yaml},
                                                         {"name", OutputFormat::name}},
                                                        "how objects are printed"));
}

Result<void> need_files(const std::vector<std::string>& given) {
  if (given.empty()) return Error(ErrorCode::invalid, "-f FILE is missing");
  return {};
}

void add_object_commands(std::vector<Command>& all, Options& o, const Runner& run) {
  all.push_back({.name = "apply",
                 .summary = "Make objects as their manifests say; leave alone what others set.",
                 .examples = "ironcorectl apply -f machine.yaml\nironcorectl apply -f manifests/\nsed s/web-1/web-2/ "
                             "machine.yaml | ironcorectl apply -f -",
                 .settings = {files(o.apply.files)},
                 .run = [&o, run] {
                   return run([&o](Session& session) -> Result<void> {
                     IRONCORE_CHECK(need_files(o.apply.files));
                     return apply(session, o.apply);
                   });
                 }});
  all.push_back({.name = "create",
                 .summary = "Make new objects; fail if they exist.",
                 .examples = "ironcorectl create -f machine.yaml",
                 .settings = {files(o.create.files)},
                 .run = [&o, run] {
                   return run([&o](Session& session) -> Result<void> {
                     IRONCORE_CHECK(need_files(o.create.files));
                     return create(session, o.create);
                   });
                 }});
  all.push_back({.name = "get",
                 .summary = "Show objects.",
                 .examples = "ironcorectl get machines -o wide\nironcorectl get machine web-1 -o yaml\nironcorectl get "
                             "machines -A -w\n"
                             "ironcorectl get machines --field-selector status.state=Running",
                 .settings = {output(o.get.format), all_namespaces(o.get.is_all_namespaces), selector(o.get.labels),
                              program::text("field-selector", o.get.fields, "FIELDS",
                                            "only objects with these values: status.state=Running"),
                              with_letter('w', program::toggle("watch", o.get.is_watch, "then show every change"))},
                 .arguments = {kind_and_names(o.get.words, 1)},
                 .run = [&o, run] { return run([&o](Session& session) { return get(session, o.get); }); }});
  all.push_back({.name = "describe",
                 .summary = "Show everything about objects, with conditions and events.",
                 .examples = "ironcorectl describe machine web-1",
                 .arguments = {kind_and_names(o.describe.words, 1)},
                 .run = [&o, run] { return run([&o](Session& session) { return describe(session, o.describe); }); }});
  all.push_back(
      {.name = "delete",
       .summary = "Delete objects and wait until they are gone.",
       .examples = "ironcorectl delete machine web-1\nironcorectl delete -f machine.yaml --now\nironcorectl "
                   "delete machines -l app=web",
       .settings = {files(o.remove.files), selector(o.remove.labels),
                    program::toggle("all", o.remove.is_all, "every object of the kind in the namespace"),
                    program::toggle("now", o.remove.is_now, "do not wait until they are gone"),
                    program::toggle("orphan", o.remove.is_orphan, "what they own stays"),
                    program::toggle("ignore-not-found", o.remove.is_missing_fine, "what is not there is no error"),
                    timeout(o.remove.timeout)},
       .arguments = {kind_and_names(o.remove.words, 0)},
       .run = [&o, run] { return run([&o](Session& session) { return remove(session, o.remove); }); }});
  all.push_back({.name = "edit",
                 .summary = "Change an object in an editor.",
                 .examples = "EDITOR=nano ironcorectl edit machine web-1",
                 .arguments = {kind_and_names(o.edit.words, 1)},
                 .run = [&o, run] { return run([&o](Session& session) { return edit(session, o.edit); }); }});
  all.push_back({.name = "wait",
                 .summary = "Wait until objects are as wanted.",
                 .examples = "ironcorectl wait machine/web-1 --for state=Running --timeout 2m\nironcorectl wait "
                             "machinepool/host-1 --for condition=Ready\n"
                             "ironcorectl wait machine/web-1 --for spec.machinePoolRef.name=host-1\nironcorectl wait "
                             "machine/web-1 --for delete",
                 .settings = {program::texts("for", o.wait.conditions, "WHAT",
                                             "condition=NAME[=STATUS], state=STATE, FIELD=VALUE, exists or delete"),
                              timeout(o.wait.timeout)},
                 .arguments = {kind_and_names(o.wait.words, 1)},
                 .run = [&o, run] { return run([&o](Session& session) { return wait(session, o.wait); }); }});
  all.push_back({.name = "events",
                 .summary = "Show what happened, the latest last.",
                 .examples = "ironcorectl events web-1\nironcorectl events machinepool/host-1\nironcorectl events -A",
                 .settings = {all_namespaces(o.events.is_all_namespaces)},
                 .arguments = {kind_and_names(o.events.words, 0)},
                 .run = [&o, run] { return run([&o](Session& session) { return events(session, o.events); }); }});
  all.push_back({.name = "explain",
                 .summary = "Say for each pool why a machine, volume or bucket fits there or not.",
                 .examples = "ironcorectl explain machine web-1\nironcorectl explain volume data",
                 .arguments = {kind_and_names(o.explain.words, 1)},
                 .run = [&o, run] { return run([&o](Session& session) { return explain(session, o.explain); }); }});
}

void add_machine_commands(std::vector<Command>& all, Options& o, const Runner& run) {
  Argument wish{.name = "on|off", .help = "what the machines shall be", .target = nullptr, .choices = {"on", "off"}};
  wish.name = "on|off MACHINE…";
  wish.help = "on or off, then names of machines";
  wish.least = 2;
  wish.most = any_number;
  wish.target = &o.power_words;
  all.push_back(
      {.name = "power",
       .summary = "Switch machines on or off; off asks the guest first.",
       .examples = "ironcorectl power off web-1 --wait\nironcorectl power on web-1",
       .settings = {program::toggle("wait", o.power.is_wait, "wait until they are"), timeout(o.power.timeout)},
       .arguments = {wish},
       .run = [&o, run] {
         return run([&o](Session& session) {
           o.power.wish = o.power_words.front();
           o.power.names.assign(o.power_words.begin() + 1, o.power_words.end());
           return power(session, o.power);
         });
       }});
  all.push_back(
      {.name = "reboot",
       .summary = "Restart guests.",
       .examples = "ironcorectl reboot web-1 --wait",
       .settings = {program::toggle("wait", o.reboot.is_wait, "wait until it was done"), timeout(o.reboot.timeout)},
       .arguments = {machines(o.reboot.names, any_number)},
       .run = [&o, run] { return run([&o](Session& session) { return reboot(session, o.reboot); }); }});
  all.push_back(
      {.name = "console",
       .summary = "Attach to a machine's serial port; Ctrl-] leaves.",
       .examples = "ironcorectl console web-1\nprintf 'uptime\\n' | ironcorectl console web-1",
       .settings = {program::duration("linger", o.console.linger,
                                      "after piped input ends: leave when the guest is silent for this long")},
       .arguments = {machines(o.console.names, 1)},
       .run = [&o, run] { return run([&o](Session& session) { return console(session, o.console); }); }});
  all.push_back(
      {.name = "logs",
       .summary = "Print what a machine wrote to its serial port.",
       .examples = "ironcorectl logs web-1\nironcorectl logs web-1 --tail 20 -f",
       .settings = {program::count("tail", o.logs.tail, "only so many lines from the end; 0 = all that is kept"),
                    with_letter('f',
                                program::toggle("follow", o.logs.is_follow, "go on with what is written from now on"))},
       .arguments = {machines(o.logs.names, 1)},
       .run = [&o, run] { return run([&o](Session& session) { return logs(session, o.logs); }); }});
}

void add_dataplane_command(std::vector<Command>& all, Options& o, const Runner& run) {
  using Encapsulation = network::CaptureUdp::Encapsulation;
  auto& capture = o.dataplane.capture;
  Argument verb{.name = "VERB", .help = "", .target = &o.dataplane.verb, .choices = dataplane_verbs()};
  for (const auto& each : verb.choices)
    verb.help += (verb.help.empty() ? "" : each == verb.choices.back() ? " or " : ", ") + each;
  Argument words{.name = "WORD",
                 .help =
                     "get: KIND [NAME]; delete: KIND and what names it; watch: [KIND…]; explain: PORT PROTOCOL FROM "
                     "TO, or PORT FRAME (hexadecimal) [WORKER]; open-port: NAME DEVICE; close-port: NAME; capture: "
                     "start ID [FILTER], stop ID, or list",
                 .least = 0,
                 .most = any_number,
                 .target = &o.dataplane.words,
                 .choices = {"@dataplane"}};
  all.push_back(
      {.name = "dataplane",
       .summary = "Look at and change what the dataplane of a host forwards.",
       .examples = "ironcorectl dataplane open-port web-1 tap:web1\n"
                   "ironcorectl dataplane apply -f network.yaml\n"
                   "ironcorectl dataplane get interfaces\n"
                   "ironcorectl dataplane get routes -o yaml\n"
                   "ironcorectl dataplane get rules --interface web-1\n"
                   "ironcorectl dataplane get vnis\n"
                   "ironcorectl dataplane watch routes targets\n"
                   "ironcorectl dataplane watch --counters --every 5s -o json\n"
                   "ironcorectl dataplane watch interfaces --interface web-1 --count 1 --timeout 30s\n"
                   "ironcorectl dataplane delete route 100 10.2.0.0/16\n"
                   "ironcorectl dataplane delete -f network.yaml\n"
                   "ironcorectl dataplane status\n"
                   "ironcorectl dataplane counters\n"
                   "ironcorectl dataplane ports\n"
                   "ironcorectl dataplane explain web-1 udp 10.0.0.1:1000 10.0.0.2:53\n"
                   "ironcorectl dataplane explain web-1 sctp 10.0.0.1:1000 10.0.0.2:3868\n"
                   "ironcorectl dataplane explain web-1 47 10.0.0.1 10.0.0.2\n"
                   "ironcorectl dataplane explain web-1 ffffffffffff0200000000010806…\n"
                   "ironcorectl dataplane capture start web --port web-1 -w - tcp port 80 | tcpdump -nr -\n"
                   "ironcorectl dataplane capture start dns -w dns.pcapng --packets 1000 udp port 53\n"
                   "ironcorectl dataplane capture stop dns",
       .settings = {files(o.dataplane.files),
                    output(o.dataplane.format),
                    program::text("dataplane", o.session.dataplane, "ENDPOINT",
                                  "ipc:///path or tcp://host:port of a metalnetd; also $IRONCORE_DATAPLANE"),
                    program::optional_text("dataplane-key", o.session.dataplane_key, "KEY",
                                           "metalnetd's public key, for tcp; also $IRONCORE_DATAPLANE_KEY"),
                    program::text("interface", o.dataplane.interface, "NAME",
                                  "get, watch: only what belongs to this interface"),
                    program::count("limit", o.dataplane.limit, "get: only so many objects; 0 = all"),
                    program::count("count", o.dataplane.watch.count, "watch: ends after so many lines; 0 = no limit"),
                    program::duration("timeout", o.dataplane.watch.timeout,
                                      "watch: ends after this, as a failure if --count is not reached; 0s = no limit"),
                    program::toggle("counters", o.dataplane.watch.has_counters, "watch: also how counters grow"),
                    program::duration("every", o.dataplane.watch.every, "watch: how often counters are looked at"),
                    program::count("mtu", o.dataplane.mtu, "open-port: of the machine's packets"),
                    with_letter('w', program::text("write", capture.file, "FILE",
                                                   "capture: a name in metalnetd's --capture-directory; - = print it")),
                    program::toggle("replace", capture.is_replacing, "capture: FILE may be there already"),
                    program::choice<network::CaptureFormat>(
                        "format", capture.format,
                        {{"pcapng", network::CaptureFormat::pcapng}, {"pcap", network::CaptureFormat::pcap}},
                        "capture: pcapng tells port and direction"),
                    program::text("udp", capture.udp, "ADDRESS[:PORT]",
                                  "capture: send each frame there instead; [ADDRESS]:PORT for IPv6"),
                    program::choice<Encapsulation>("encapsulation", capture.encapsulation,
                                                   {{"vxlan", Encapsulation::vxlan}, {"plain", Encapsulation::plain}},
                                                   "capture: of these datagrams"),
                    program::count("vni", capture.vni, "capture: of vxlan"),
                    program::texts("port", capture.ports, "NAME", "capture: this port only; all when not given"),
                    program::choice<network::CaptureDirection>("direction", capture.direction,
                                                               {{"both", network::CaptureDirection::both},
                                                                {"in", network::CaptureDirection::in},
                                                                {"out", network::CaptureDirection::out}},
                                                               "capture: in = came from a port"),
                    program::count("snap-length", capture.snap_length, "capture: bytes of each frame, 64 to 262144"),
                    with_letter(
                        'c', program::count("packets", capture.packets, "capture: ends after so many; 0 = no limit")),
                    program::bytes("most-bytes", capture.bytes, "capture: ends before it writes more; 0 = no limit")},
       .arguments = {verb, words},
       .run = [&o, run] { return run([&o](Session& session) { return dataplane(session, o.dataplane); }); }});
}

void add_routes_command(std::vector<Command>& all, Options& o, const Runner& run) {
  auto& routes = o.routes;
  Argument verb{.name = "VERB", .help = "", .target = &routes.verb, .choices = routes_verbs()};
  for (const auto& each : verb.choices)
    verb.help += (verb.help.empty() ? "" : each == verb.choices.back() ? " or " : ", ") + each;
  Argument words{.name = "WORD",
                 .help = "dump: VNI; trace: VNI ADDRESS, or VNI PREFIX; watch: VNI",
                 .least = 0,
                 .most = 2,
                 .target = &routes.words,
                 .choices = {"@vnis"}};
  all.push_back(
      {.name = "routes",
       .summary = "Look at what a route reflector knows, and how it does.",
       .examples = "ironcorectl routes status\n"
                   "ironcorectl routes status -o wide\n"
                   "ironcorectl routes nodes\n"
                   "ironcorectl routes vnis -o json\n"
                   "ironcorectl routes dump 100\n"
                   "ironcorectl routes dump 100 --inside 10.0.0.0/24 --node host-1\n"
                   "ironcorectl routes dump 100 -o name | head\n"
                   "ironcorectl routes trace 100 10.0.0.1\n"
                   "ironcorectl routes trace 100 10.0.0.0/24\n"
                   "ironcorectl routes watch 100\n"
                   "ironcorectl routes watch 100 --inside 10.0.0.1/32 --count 1 --timeout 30s\n"
                   "ironcorectl routes status --reflector tcp://10.0.0.1:7420 --reflector-key KEY --key-file my.key",
       .settings = {output(routes.format),
                    program::text("reflector", o.session.reflector, "ENDPOINT",
                                  "ipc:///path or tcp://host:port of a metalbondd; also $IRONCORE_REFLECTOR"),
                    program::optional_text("reflector-key", o.session.reflector_key, "KEY",
                                           "metalbondd's public key, for tcp; also $IRONCORE_REFLECTOR_KEY"),
                    program::choice<RoutesFrom>("from", routes.from,
                                                {{"everywhere", RoutesFrom::everywhere},
                                                 {"here", RoutesFrom::here},
                                                 {"peers", RoutesFrom::peers}},
                                                "here: what nodes announce to this reflector; peers: what it reads "
                                                "from reflectors of other sites"),
                    program::text("inside", routes.inside, "PREFIX", "dump, watch: only routes to it and inside of it"),
                    program::text("node", routes.node, "NAME", "dump, watch: only what this node announces"),
                    program::count("limit", routes.limit, "dump, nodes, vnis: only so many; 0 = all"),
                    program::count("count", routes.count, "watch: ends after so many lines; 0 = no limit"),
                    program::duration("timeout", routes.timeout,
                                      "watch: ends after this, as a failure if --count is not reached; 0s = no limit"),
                    program::duration("every", routes.every, "watch: how often the reflector is asked")},
       .arguments = {verb, words},
       .run = [&o, run] { return run([&o](Session& session) { return ctl::routes(session, o.routes); }); }});
}

}  // namespace

Result<void> version(Session& session, const VersionOptions& options) {
  session.out() << "client  " << program::version() << std::endl;
  if (options.is_client_only) return {};
  IRONCORE_TRY(store::Store* const store, session.store());
  IRONCORE_TRY(const store::Revision revision, store->revision());
  IRONCORE_TRY(const std::string server, session.server_program());
  session.out() << "server  " << printable(server) << " at " << session.options().server << ", revision "
                << revision.value << '\n';
  return {};
}

Command commands(Options& o, Runner run) {
  Command program{.name = "ironcorectl",
                  .summary = "Looks at and changes the objects of an IronCore control plane.",
                  .examples =
                      "ironcorectl apply -f machine.yaml\nironcorectl get machines -w\nironcorectl console web-1\n"
                      "ironcorectl delete machine web-1",
                  .settings = {with_letter('n', program::text("namespace", o.session.namespace_, "NAME",
                                                              "where objects are looked for and made")),
                               with_letter('s', program::text("server", o.session.server, "ENDPOINT",
                                                              "ipc:///path or tcp://host:port; also $IRONCORE_SERVER")),
                               program::optional_text(
                                   "key-file", o.session.key_file, "FILE",
                                   "our key pair, for tcp (ironcored keygen makes one); also $IRONCORE_KEY_FILE"),
                               program::optional_text("server-key", o.session.server_key, "KEY",
                                                      "the server's public key, for tcp; also $IRONCORE_SERVER_KEY")}};
  add_object_commands(program.commands, o, run);
  add_machine_commands(program.commands, o, run);
  add_dataplane_command(program.commands, o, run);
  add_routes_command(program.commands, o, run);
  program.commands.push_back(
      {.name = "version",
       .summary = "Show the versions of client and server.",
       .examples = "ironcorectl version\nironcorectl version --client",
       .settings = {program::toggle("client", o.version.is_client_only, "do not ask the server")},
       .run = [&o, run] { return run([&o](Session& session) { return version(session, o.version); }); }});
  program.commands.push_back({.name = "completion",
                              .summary = "Print a script that completes commands in a shell.",
                              .examples = "source <(ironcorectl completion bash)\nironcorectl completion fish | source",
                              .arguments = {{.name = "bash|zsh|fish",
                                             .help = "the shell",
                                             .target = &o.completion_words,
                                             .choices = {"bash", "zsh", "fish"}}},
                              .run = [&o, run] {
                                return run([&o](Session& session) -> Result<void> {
                                  Options unused;
                                  IRONCORE_TRY(const std::string script,
                                               completion_script(commands(unused, {}), o.completion_words.front()));
                                  session.out() << script;
                                  return {};
                                });
                              }});
  return program;
}

}  // namespace ironcore::ctl
