// SPDX-License-Identifier: Apache-2.0
// A host without machines: announces the routes that it is given, prints what others announce, and installs it in tables of the kernel, until it is told to leave.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "ironcore/base/text.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/routing/applier.hpp"
#include "ironcore/routing/kernel_routes.hpp"
#include "ironcore/routing/zmq.hpp"

using namespace ironcore;
using namespace ironcore::routing;

namespace {

constexpr const char* usage =
    "usage: speaker NAME [--reflector ENDPOINT[,key=PUBLIC-KEY]]… [--key-file FILE] [--subscribe VNI]… [--come-back] "
    "[--install VNI#TABLE]… [--device NAME] [--encapsulation none|ip6] [ROUTE]…\n"
    "  a ROUTE is VNI#PREFIX#NEXT-HOP[#TYPE[#FROM#TO]][,target=VNI][,weight=N][,mobility=N]: 100#10.0.0.1/32#fd00::1\n"
    "then, on standard input, a line each:\n"
    "  announce ROUTE…   withdraw ROUTE…   take-over ROUTE   subscribe VNI   unsubscribe VNI   status\n"
    "  relist   leave\n"
    "it ends then, or with SIGINT or SIGTERM, and takes its routes along; with --come-back they stay for a while\n"
    "--install subscribes, and puts what is learned into this table of the kernel, through --device; what is there "
    "stays at the "
    "end\n"
    "prints + ROUTE and - ROUTE with the number of the node that announces it\n";

/// Standard output with a thread of its own: whoever does not read it holds up nobody else. Thread: any.
class Output {
 public:
  Output()
      : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this](const std::stop_token& stop) { run(stop); }) {}
  /// What is not written a second later is lost.
  ~Output() {
    thread_.request_stop();
    wake();
  }

  /// Lines that it still takes now.
  std::size_t room() const {
    const std::lock_guard lock(mutex_);
    return lines_.size() < most_lines ? most_lines - lines_.size() : 0;
  }
  /// Taken even when there is no room, so look at that before.
  void say(std::string line) {
    {
      const std::lock_guard lock(mutex_);
      lines_.push_back(std::move(line) + '\n');
    }
    wake();
  }

 private:
  static constexpr std::size_t most_lines = 10'000;
  static constexpr std::size_t most_bytes = 4096;  ///< that a pipe takes at once, if it takes anything
  static constexpr int last_second = 1000;

  void wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);  // fails only when it is set already
  }
  void run(const std::stop_token& stop) {
    std::string text;  // under way
    while (true) {
      {
        const std::lock_guard lock(mutex_);
        while (!lines_.empty() && text.size() < most_bytes) {
          text += lines_.front();
          lines_.pop_front();
        }
      }
      const bool must_end = stop.stop_requested();
      if (text.empty() && must_end) return;
      pollfd items[] = {{wake_.get(), POLLIN, 0}, {text.empty() ? -1 : STDOUT_FILENO, POLLOUT, 0}};
      // In the end only for the reader.
      if (::poll(must_end ? items + 1 : items, must_end ? 1 : 2, must_end ? last_second : -1) == 0) return;
      std::uint64_t count = 0;
      [[maybe_unused]] const auto read = ::read(wake_.get(), &count, sizeof count);
      if (items[1].revents == 0) continue;
      const auto written = ::write(STDOUT_FILENO, text.data(), std::min(text.size(), most_bytes));
      if (written < 0 && errno != EINTR && errno != EAGAIN) text.clear();  // nobody will read it
      if (written > 0) text.erase(0, static_cast<std::size_t>(written));
    }
  }

  mutable std::mutex mutex_;
  std::deque<std::string> lines_;
  UniqueFd wake_;
  std::jthread thread_;
};

/// Prints what changes in the VNIs that are subscribed, as fast as it is read: a route that changed meanwhile is told once. Used while nobody
/// else uses the speaker.
class Printer {
 public:
  explicit Printer(Output& out) : out_(out) {}
  void follow(Vni vni) { tables_.try_emplace(vni); }
  void leave(Vni vni) { tables_.erase(vni); }

  /// When to call it again, beside when something has changed.
  Instant print(const Speaker& speaker, Instant now) {
    for (auto& [vni, table] : tables_) {
      const auto room = out_.room();
      if (room == 0) return now + std::chrono::milliseconds(50);
      const auto next =
          speaker.changes(vni, table.sequence, room, [&](const LearnedRoute& learned) { take(table, learned); });
      if (next) {
        table.sequence = *next;
      } else {
        begin_anew(table, speaker, vni);
      }
      if (table.sequence != speaker.sequence(vni)) return now;
    }
    return Instant::max();
  }

 private:
  using Known = std::pair<OriginId, std::string>;
  struct Table {
    std::uint64_t sequence = 0;
    std::map<Known, std::string> routes;  ///< what says which route it is, and all of it
  };

  /// Weight, target and mobility may change of the same route.
  static std::string identity(Route route) {
    route.weight = 1;
    route.target_vni = {};
    route.mobility = 0;
    return to_text(route);
  }
  void tell(char what, const std::string& route, OriginId origin) {
    std::ostringstream line;
    line << what << ' ' << route << " from " << std::hex << static_cast<std::uint64_t>(origin);
    out_.say(std::move(line).str());
  }
  void forget(Table& table, std::map<Known, std::string>::iterator route) {
    tell('-', route->second, route->first.first);
    table.routes.erase(route);
  }
  void take(Table& table, const LearnedRoute& learned) {
    switch (learned.what) {
      case LearnedRoute::What::announced: {
        const auto text = to_text(learned.route);
        auto& known = table.routes[{learned.origin, identity(learned.route)}];
        if (known != text) tell('+', text, learned.origin);
        known = text;
        return;
      }
      case LearnedRoute::What::withdrawn: {
        const auto found = table.routes.find({learned.origin, identity(learned.route)});
        if (found != table.routes.end()) forget(table, found);
        return;
      }
      case LearnedRoute::What::origin_gone:
        for (auto it = table.routes.begin(); it != table.routes.end();) {
          const auto next = std::next(it);
          if (it->first.first == learned.origin) forget(table, it);
          it = next;
        }
    }
  }
  /// Too much was withdrawn since the last look to be told singly.
  void begin_anew(Table& table, const Speaker& speaker, Vni vni) {
    std::set<Known> there;
    for (const auto& learned : speaker.routes(vni)) {
      there.insert({learned.origin, identity(learned.route)});
      take(table, learned);
    }
    for (auto it = table.routes.begin(); it != table.routes.end();) {
      const auto next = std::next(it);
      if (!there.contains(it->first)) forget(table, it);
      it = next;
    }
    table.sequence = speaker.sequence(vni);
  }

  Output& out_;
  std::map<Vni, Table> tables_;
};

struct Wishes {
  std::string name;
  std::vector<zmq::ReflectorEndpoint> reflectors;
  std::vector<Vni> subscriptions;
  std::vector<Route> routes;
  KernelRoutesOptions installed;
  Speaker::Leave leave = Speaker::Leave::leaving;
};

Result<KernelRoutesOptions::Table> parse_table(std::string_view text) {
  const auto at = text.find('#');
  IRONCORE_TRY(const auto vni, Vni::parse(text.substr(0, at)));
  const auto number = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  std::uint32_t table = 0;
  const auto end = number.data() + number.size();
  const auto [read, error] = std::from_chars(number.data(), end, table);
  if (error != std::errc() || read != end)
    return Error(ErrorCode::invalid, in_quotes(text) + " is not VNI#TABLE, the table a number, like 100#1100");
  return KernelRoutesOptions::Table{vni, table};
}

Result<KernelRoutesOptions::Encapsulation> parse_encapsulation(std::string_view text) {
  if (text == "none") return KernelRoutesOptions::Encapsulation::none;
  if (text == "ip6") return KernelRoutesOptions::Encapsulation::ip6;
  return Error(ErrorCode::invalid, in_quotes(text) + " is none of none, ip6");
}

Result<Wishes> read_wishes(const std::vector<std::string>& words) {
  Wishes wishes{.name = words.front()};
  std::optional<zmq::KeyPair> keys;
  std::vector<std::string> reflectors;
  bool has_interface = false;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const auto& word = words[i];
    if (!word.starts_with("--")) {
      IRONCORE_TRY(wishes.routes.emplace_back(), parse_route(word));
      continue;
    }
    if (word == "--come-back") {
      wishes.leave = Speaker::Leave::coming_back;
      continue;
    }
    if (++i == words.size()) return Error(ErrorCode::invalid, word + ": a word is missing after it");
    if (word == "--reflector") {
      reflectors.push_back(words[i]);
    } else if (word == "--key-file") {
      IRONCORE_TRY(keys, wire::load_key_pair(words[i]));
    } else if (word == "--subscribe") {
      IRONCORE_TRY(wishes.subscriptions.emplace_back(), Vni::parse(words[i]));
    } else if (word == "--install") {
      IRONCORE_TRY(const auto table, parse_table(words[i]));
      wishes.installed.tables.push_back(table);
      wishes.subscriptions.push_back(table.vni);
    } else if (word == "--device") {
      wishes.installed.device = words[i];
      has_interface = true;
    } else if (word == "--encapsulation") {
      IRONCORE_TRY(wishes.installed.encapsulation, parse_encapsulation(words[i]));
      has_interface = true;
    } else {
      return Error(ErrorCode::invalid, in_quotes(word) +
                                           " is none of --reflector, --key-file, --subscribe, --come-back, --install, "
                                           "--device, --encapsulation");
    }
  }
  if (has_interface && wishes.installed.tables.empty())
    return Error(ErrorCode::invalid,
                 "--device and --encapsulation are of routes that are installed: add --install VNI#TABLE");
  for (const auto& text : reflectors) {
    constexpr std::string_view key = ",key=";
    const auto at = text.find(key);
    auto& reflector = wishes.reflectors.emplace_back();
    reflector.endpoint = text.substr(0, at);
    if (at == std::string::npos) continue;
    if (!keys) return Error(ErrorCode::invalid, text + " needs --key-file FILE: who we are");
    reflector.keys = zmq::ClientKeys{*keys, text.substr(at + key.size())};
  }
  return wishes;
}

std::string status_text(const Speaker& speaker, const Applier* applier) {
  std::ostringstream out;
  const auto status = speaker.status();
  for (const auto& reflector : status.reflectors)
    out << "= reflector " << (reflector.name.empty() ? "?" : reflector.name) << ' ' << name(reflector.phase)
        << (reflector.is_ready ? " ready" : "") << " announced " << reflector.announced << " of " << status.announced
        << " refused " << reflector.refused_routes << ' ' << reflector.refusal << '\n';
  for (const auto& table : status.vnis) {
    out << "= vni " << table.vni.to_text() << " routes " << table.routes << (table.is_complete ? " complete" : "")
        << (table.is_stale ? " stale" : "");
    for (const auto& refusal : table.refusals) out << " refused by " << refusal.reflector << ": " << refusal.reason;
    out << '\n';
  }
  if (applier != nullptr) {
    const auto told = applier->status();
    out << "= installed " << told.installed << " of " << told.wanted << " pending " << told.pending << " parked "
        << told.parked << " failing " << told.failing << ' ' << (told.error ? told.error->message() : "") << '\n';
  }
  out << "= status ends";
  return std::move(out).str();
}

enum class Next { go_on, leave };

/// The applier is nullptr if nothing is installed.
Result<Next> carry_out(const std::string& line, zmq::SpeakerNode& node, Output& out, Printer& printer,
                       Applier* applier) {
  std::istringstream words(line);
  std::string verb, word;
  if (!(words >> verb)) return Next::go_on;
  if (verb == "leave") return Next::leave;
  if (verb == "status") {
    if (out.room() == 0) return Error(ErrorCode::unavailable, "status: nobody reads standard output: read it first");
    node.with([&](const Speaker& speaker) { out.say(status_text(speaker, applier)); });
    return Next::go_on;
  }
  if (verb == "relist") {
    if (applier == nullptr) return Error(ErrorCode::invalid, "relist: nothing is installed: start with --install");
    node.with([&](const Speaker&) { applier->relist(); });
    return Next::go_on;
  }
  if (verb == "subscribe" || verb == "unsubscribe") {
    words >> word;
    IRONCORE_TRY(const auto vni, Vni::parse(word));
    node.with([&](Speaker& speaker) {
      if (verb == "subscribe") {
        speaker.subscribe(vni);
        printer.follow(vni);
      } else {
        speaker.unsubscribe(vni);
        printer.leave(vni);
      }
    });
    return Next::go_on;
  }
  if (verb != "announce" && verb != "withdraw" && verb != "take-over")
    return Error(ErrorCode::invalid,
                 verb + " is none of announce, withdraw, take-over, subscribe, unsubscribe, status, relist, leave");
  std::vector<Route> routes;
  while (words >> word) {
    IRONCORE_TRY(routes.emplace_back(), parse_route(word));
  }
  Result<void> done;
  node.with([&](Speaker& speaker) {
    if (verb == "announce") {
      done = speaker.announce(routes);
    } else if (verb == "withdraw") {
      speaker.withdraw(routes);
    } else {
      for (const auto& route : routes)
        if (done) done = speaker.take_over(route);
    }
  });
  IRONCORE_CHECK(std::move(done));
  return Next::go_on;
}

/// Carries out lines of standard input until one of them, or a signal, says that it is enough. The end of the input ends nothing.
void listen(int signals, zmq::SpeakerNode& node, Output& out, Printer& printer, Applier* applier) {
  std::string text;
  pollfd items[] = {{signals, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  while (true) {
    if (::poll(items, 2, -1) < 0) continue;
    if (items[0].revents != 0) return;
    char bytes[4096];
    const auto count = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (count <= 0) {
      items[1].fd = -1;
      continue;
    }
    text.append(bytes, static_cast<std::size_t>(count));
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
      const auto next = carry_out(text.substr(0, end), node, out, printer, applier);
      text.erase(0, end + 1);
      if (!next) {
        std::cerr << "error: " << next.error().message() << std::endl;
      } else if (*next == Next::leave) {
        return;
      }
    }
  }
}

Result<void> speak(Wishes wishes) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);  // before there are threads
  const UniqueFd signals(::signalfd(-1, &ends, SFD_CLOEXEC));

  SystemClock clock;
  SystemRandom random;
  NullLog log;
  IRONCORE_TRY(const auto context, zmq::Context::create());
  IRONCORE_TRY(const auto node, zmq::SpeakerNode::create(*context, {.name = wishes.name}, std::move(wishes.reflectors),
                                                         clock, random, log));
  Output out;
  Printer printer(out);
  std::unique_ptr<KernelRoutes> table;
  std::unique_ptr<Applier> applier;
  if (!wishes.installed.tables.empty()) {
    IRONCORE_TRY(table, KernelRoutes::open(std::move(wishes.installed)));
    Result<void> made;
    node->with([&](const Speaker& speaker) {
      auto created = Applier::create({}, speaker, *table, clock, log);
      if (created) {
        applier = *std::move(created);
      } else {
        made = std::move(created).error();
      }
    });
    IRONCORE_CHECK(std::move(made));
  }
  Result<void> announced;
  node->with([&](Speaker& speaker) {
    for (const auto vni : wishes.subscriptions) {
      speaker.subscribe(vni);
      printer.follow(vni);
    }
    announced = speaker.announce(wishes.routes);
  });
  IRONCORE_CHECK(std::move(announced));
  node->on_turn([&](const Speaker& speaker) {
    const auto again = printer.print(speaker, clock.now());
    return applier ? std::min(again, applier->advance()) : again;
  });
  Result<void> done;
  std::stop_source stop;
  node->leave_as(wishes.leave);
  std::thread loop([&] { done = node->run(stop.get_token()); });
  listen(signals.get(), *node, out, printer, applier.get());
  stop.request_stop();
  loop.join();
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty() || words.front().starts_with("-")) {
    std::cerr << usage;
    return 2;
  }
  auto wishes = read_wishes(words);
  if (!wishes) {
    std::cerr << "error: " << wishes.error().message() << '\n' << usage;
    return 2;
  }
  const auto done = speak(std::move(*wishes));
  if (done) return 0;
  std::cerr << "error: " << done.error().message() << '\n';
  return 1;
}
