// SPDX-License-Identifier: Apache-2.0
// Python: speakers and reflectors over ZeroMQ, each with its loop on a thread. Routes are text, as everywhere.
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "ironcore/routing/zmq.hpp"
#include "module.hpp"

namespace ironcore::python {
namespace {

using routing::LearnedRoute;
using routing::Route;
using routing::Speaker;

Random& random_source() {
  static SystemRandom random;
  return random;
}

std::vector<Route> routes_of(const std::vector<std::string>& texts) {
  std::vector<Route> routes;
  for (const auto& text : texts) routes.push_back(value_of(within(routing::parse_route(text), text)));
  return routes;
}

/// A loop on a thread of its own, ended with the object.
template <class Node>
class Running {
 public:
  void start(std::unique_ptr<wire::Context> context, std::unique_ptr<Node> node,
             std::function<Result<void>(Node&, std::stop_token)> run) {
    context_ = std::move(context);
    node_ = std::move(node);
    thread_ = std::jthread([this, run](std::stop_token stop) { result_ = run(*node_, std::move(stop)); });
  }
  ~Running() { stop(); }
  Node& node() {
    if (!thread_.joinable()) value_of(Result<void>(Error(ErrorCode::wrong_state, "it was closed")));
    return *node_;
  }
  bool is_running() const { return thread_.joinable(); }
  void stop() {
    if (!thread_.joinable()) return;
    py::gil_scoped_release release;
    thread_.request_stop();
    thread_.join();
  }
  /// What ended the loop, if it was not `stop`.
  Result<void> result() const { return result_; }

 private:
  std::unique_ptr<wire::Context> context_;
  std::unique_ptr<Node> node_;
  Result<void> result_;
  std::jthread thread_;
};

class PythonSpeaker {
 public:
  PythonSpeaker(const std::string& name, const std::vector<std::string>& reflectors, const std::string& key_file,
                const std::string& server_key) {
    std::vector<routing::zmq::ReflectorEndpoint> endpoints;
    for (const auto& endpoint : reflectors) {
      auto& to = endpoints.emplace_back();
      to.endpoint = endpoint;
      if (!key_file.empty()) to.keys = wire::ClientKeys{value_of(wire::load_key_pair(key_file)), server_key};
    }
    auto context = value_of(wire::Context::create());
    auto node = value_of(routing::zmq::SpeakerNode::create(*context, {.name = name}, std::move(endpoints), clock(),
                                                           random_source(), log()));
    node->on_turn([this](Speaker&) {
      {
        const std::lock_guard lock(mutex_);
        ++turns_;
      }
      turned_.notify_all();
      return Instant::max();
    });
    running_.start(std::move(context), std::move(node),
                   [](auto& of, std::stop_token stop) { return of.run(std::move(stop)); });
  }
  ~PythonSpeaker() { running_.stop(); }

  /// Calls `f` without Python's lock, because the loop may have to wait for it.
  template <class F>
  auto with(F f) {
    auto& node = running_.node();
    std::optional<decltype(f(std::declval<Speaker&>()))> result;
    {
      py::gil_scoped_release release;
      node.with([&](Speaker& speaker) { result.emplace(f(speaker)); });
    }
    return std::move(*result);
  }

  /// Until `done`, which is asked after each turn of the loop; false if the time is up.
  template <class F>
  bool wait(double timeout, F done) {
    const auto deadline = deadline_in(clock(), timeout);
    while (true) {
      std::uint64_t seen = 0;
      {
        const std::lock_guard lock(mutex_);
        seen = turns_;
      }
      if (with(done)) return true;
      if (clock().now() >= deadline) return false;
      {
        py::gil_scoped_release release;
        std::unique_lock lock(mutex_);
        turned_.wait_for(lock, std::chrono::milliseconds(100), [&] { return turns_ != seen; });
      }
      // In small steps, so that Ctrl-C is heard.
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    }
  }

  void close(bool leaving) {
    if (leaving && running_.is_running()) running_.node().leave_as(Speaker::Leave::leaving);
    running_.stop();
  }

 private:
  std::mutex mutex_;
  std::condition_variable turned_;
  std::uint64_t turns_ = 0;
  Running<routing::zmq::SpeakerNode> running_;
};

class PythonReflector {
 public:
  PythonReflector(const std::string& name, const std::string& path, const std::vector<std::string>& peers,
                  double deferral) {
    std::vector<routing::zmq::ReflectorEndpoint> endpoints;
    for (const auto& peer : peers) endpoints.push_back({peer, std::nullopt});
    routing::ReflectorOptions options{.name = name};
    const double seconds = deferral > 0 ? std::min(deferral, 1e6) : 0.0;  // and what is no number is none
    options.deferral = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
    auto context = value_of(wire::Context::create());
    auto server = value_of(routing::zmq::ReflectorServer::create(
        *context, options, {.path = path, .tcp = std::nullopt}, std::move(endpoints), clock(), random_source(), log()));
    running_.start(std::move(context), std::move(server),
                   [](auto& of, std::stop_token stop) { return of.run(std::move(stop)); });
  }
  routing::zmq::ReflectorServer& server() { return running_.node(); }
  void close() { running_.stop(); }

 private:
  Running<routing::zmq::ReflectorServer> running_;
};

py::dict to_dict(const routing::SpeakerStatus& status) {
  py::dict dict;
  dict["own_routes"] = status.own_routes;
  dict["learned_routes"] = status.learned_routes;
  py::list reflectors;
  for (const auto& session : status.reflectors) {
    py::dict of;
    of["phase"] = std::string(name(session.phase));
    of["name"] = session.name;
    of["is_ready"] = session.is_ready;
    of["refusal"] = session.refusal;
    of["refused_routes"] = session.refused_routes;
    of["has_everything"] = session.announced == status.announced;
    reflectors.append(of);
  }
  dict["reflectors"] = reflectors;
  py::dict vnis;
  for (const auto& table : status.vnis) {
    py::dict of;
    of["routes"] = table.routes;
    of["is_stale"] = table.is_stale;
    of["is_complete"] = table.is_complete;
    py::dict refusals;
    for (const auto& refusal : table.refusals) refusals[py::cast(refusal.reflector)] = refusal.reason;
    of["refusals"] = refusals;
    vnis[py::cast(table.vni.value())] = of;
  }
  dict["vnis"] = vnis;
  return dict;
}

Vni vni_of(std::uint32_t number) {
  return value_of(Vni::make(number));
}

}  // namespace

void bind_routing(py::module_& module) {
  py::class_<PythonSpeaker>(module, "Speaker",
                            "Announces this node's routes to reflectors and learns those of others. A route is text: "
                            "'100#10.0.0.1/32#fd00::1'.")
      .def(py::init<std::string, std::vector<std::string>, std::string, std::string>(), py::arg("name"),
           py::arg("reflectors"), py::arg("key_file") = "", py::arg("server_key") = "",
           "`reflectors` are endpoints: 'ipc:///path', or 'tcp://host:port' with `key_file` and the reflectors' public "
           "key.")
      .def(
          "announce",
          [](PythonSpeaker& self, const std::vector<std::string>& routes) {
            const auto parsed = routes_of(routes);
            value_of(self.with([&](Speaker& speaker) { return speaker.announce(parsed); }));
          },
          py::arg("routes"), "All of them or, with an error, none.")
      .def(
          "withdraw",
          [](PythonSpeaker& self, const std::vector<std::string>& routes) {
            const auto parsed = routes_of(routes);
            self.with([&](Speaker& speaker) { return speaker.withdraw(parsed), true; });
          },
          py::arg("routes"))
      .def(
          "take_over",
          [](PythonSpeaker& self, const std::string& route) {
            const auto parsed = routes_of({route});
            value_of(self.with([&](Speaker& speaker) { return speaker.take_over(parsed[0]); }));
          },
          py::arg("route"), "Announces it so that it alone is used for its prefix.")
      .def_property_readonly("announced",
                             [](PythonSpeaker& self) {
                               std::vector<std::string> texts;
                               for (const auto& route : self.with([](Speaker& speaker) { return speaker.announced(); }))
                                 texts.push_back(to_text(route));
                               return texts;
                             })
      .def(
          "subscribe",
          [](PythonSpeaker& self, std::uint32_t vni) {
            self.with([of = vni_of(vni)](Speaker& speaker) { return speaker.subscribe(of), true; });
          },
          py::arg("vni"))
      .def(
          "unsubscribe",
          [](PythonSpeaker& self, std::uint32_t vni) {
            self.with([of = vni_of(vni)](Speaker& speaker) { return speaker.unsubscribe(of), true; });
          },
          py::arg("vni"))
      .def(
          "routes",
          [](PythonSpeaker& self, std::uint32_t vni) {
            const auto learned = self.with([of = vni_of(vni)](Speaker& speaker) { return speaker.routes(of); });
            py::list list;
            for (const auto& one : learned)
              list.append(py::make_tuple(to_text(one.route), static_cast<std::uint64_t>(one.origin)));
            return list;
          },
          py::arg("vni"), "What others announce there: a list of (route, origin).")
      .def(
          "wait_complete",
          [](PythonSpeaker& self, std::uint32_t vni, double timeout) {
            return self.wait(timeout, [of = vni_of(vni)](Speaker& speaker) { return speaker.is_complete(of); });
          },
          py::arg("vni"), py::arg("timeout") = 10.0,
          "Until a reflector has told everything; False if it has not in time.")
      .def(
          "wait_changed",
          [](PythonSpeaker& self, std::uint32_t vni, std::uint64_t after, double timeout) {
            const auto of = vni_of(vni);
            self.wait(timeout, [&](Speaker& speaker) { return speaker.sequence(of) > after; });
            return self.with([&](Speaker& speaker) { return speaker.sequence(of); });
          },
          py::arg("vni"), py::arg("after"), py::arg("timeout") = 10.0,
          "Until something has changed after number `after`; gives the number to go on from.")
      .def_property_readonly(
          "status",
          [](PythonSpeaker& self) { return to_dict(self.with([](Speaker& speaker) { return speaker.status(); })); })
      .def("close", &PythonSpeaker::close, py::arg("leaving") = false,
           "Ends it. The routes stay until it comes back, for a minute at most; with `leaving` they go at once.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__",
           [](PythonSpeaker& self, const py::object&, const py::object&, const py::object&) { self.close(true); });

  py::class_<PythonReflector>(module, "Reflector", "Hears what speakers announce and tells it to those that subscribe.")
      .def(py::init<std::string, std::string, std::vector<std::string>, double>(), py::arg("name"), py::arg("path"),
           py::arg("peers") = std::vector<std::string>(), py::arg("deferral") = 8.0,
           "Serves on the socket `path`; whoever may open it may do everything.")
      .def_property_readonly("endpoint", [](PythonReflector& self) { return self.server().ipc_endpoint(); })
      .def_property_readonly("status",
                             [](PythonReflector& self) {
                               routing::ReflectorStatus status;
                               {
                                 auto& server = self.server();
                                 py::gil_scoped_release release;
                                 server.with([&](const routing::Reflector& reflector) { status = reflector.status(); });
                               }
                               py::dict dict;
                               dict["is_ready"] = status.is_ready;
                               dict["nodes"] = status.nodes;
                               dict["routes"] = status.routes;
                               dict["relayed_routes"] = status.relayed_routes;
                               dict["vnis"] = status.vnis;
                               return dict;
                             })
      .def("close", &PythonReflector::close)
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__",
           [](PythonReflector& self, const py::object&, const py::object&, const py::object&) { self.close(); });
}

}  // namespace ironcore::python
