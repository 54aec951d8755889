// SPDX-License-Identifier: Apache-2.0
// What those who operate a reflector ask it, on its socket of sessions, and the answers.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "../../base/wire/envelope.hpp"
#include "ironcore/routing/link.hpp"
#include "ironcore/routing/zmq.hpp"

namespace ironcore::routing::zmq {

using wire::Text;

struct StatusRequest {
  static constexpr auto type = wire::MessageType::reflector_status;
};
struct CountRecord {
  static constexpr std::size_t least_bytes = 4 + 8;
  Text name;
  std::uint64_t count = 0;
};
struct PeerRecord {
  static constexpr std::size_t least_bytes = 4 * 4 + 8 + 1;
  Text endpoint;
  Text phase;  ///< `connecting`, `connected`, `refused`
  Text name;
  std::uint64_t epoch = 0;
  bool is_ready = false;
  Text refusal;
};
struct StatusReply {
  static constexpr auto type = wire::reply_to(wire::MessageType::reflector_status);
  Text program;
  Text name;
  std::uint64_t epoch = 0;
  bool is_ready = false;
  std::uint32_t heartbeat_ms = 0;
  std::uint32_t lease_ms = 0;
  std::vector<CountRecord> counts;  ///< who does not know a name leaves it alone
  std::vector<PeerRecord> peers;
};

struct NodesRequest {
  static constexpr auto type = wire::MessageType::reflector_nodes;
  Text after;  ///< a name; empty = from the first one
  std::uint32_t limit = 0;
};
struct NodeRecord {
  static constexpr std::size_t least_bytes = 4 + 8 + 8 + 1 + 6 * 8;
  Text name;
  std::uint64_t origin = 0;
  std::uint64_t instance = 0;
  bool is_connected = false;
  std::uint64_t silent_ms = 0;
  std::uint64_t routes = 0;
  std::uint64_t announced = 0;
  std::uint64_t refused = 0;
  std::uint64_t streams = 0;
  std::uint64_t behind = 0;
};
struct NodesReply {
  static constexpr auto type = wire::reply_to(wire::MessageType::reflector_nodes);
  std::vector<NodeRecord> nodes;
  bool has_more = false;
};

struct VnisRequest {
  static constexpr auto type = wire::MessageType::reflector_vnis;
  std::uint32_t from = 0;
  std::uint32_t limit = 0;
};
struct VniRecord {
  static constexpr std::size_t least_bytes = 4 + 4 + 4 * 8 + 1;
  std::uint32_t vni = 0;
  Text view;  ///< `direct`, `relayed`
  std::uint64_t routes = 0;
  std::uint64_t tombstones = 0;
  std::uint64_t sequence = 0;
  std::uint64_t digest = 0;
  bool is_subscribed = false;
};
struct VnisReply {
  static constexpr auto type = wire::reply_to(wire::MessageType::reflector_vnis);
  std::vector<VniRecord> vnis;
  bool has_more = false;
};

struct RoutesRequest {
  static constexpr auto type = wire::MessageType::reflector_routes;
  std::uint32_t vni = 0;
  Text view;
  std::uint64_t after = 0;
  std::uint32_t limit = 0;
  bool has_withdrawals = false;
  Text match;   ///< `all`, `covering`, `inside`
  Text prefix;  ///< of the latter two
};
struct RouteRecord {
  static constexpr std::size_t least_bytes = 3 * 4 + 3 * 8;
  Text what;   ///< `announced`, `withdrawn`, `origin-gone`
  Text route;  ///< in the notation of `parse_route`; empty for `origin-gone`
  std::uint64_t origin = 0;
  Text node;
  std::uint64_t version = 0;
  std::uint64_t sequence = 0;
};
struct RoutesReply {
  static constexpr auto type = wire::reply_to(wire::MessageType::reflector_routes);
  std::vector<RouteRecord> routes;
  std::uint64_t next = 0;
  bool is_last = false;
  bool has_forgotten = false;
  std::uint64_t epoch = 0;
};

/// Of one answer.
inline constexpr std::size_t page_nodes = 1'000;
inline constexpr std::size_t page_vnis = 1'000;
inline constexpr std::size_t page_routes = 1'000;

/// Answers in the loop of the reflector, a few in each turn, so that nodes do not wait. Thread: one.
class Operations {
 public:
  /// `link` leads to those who ask.
  Operations(const Reflector& reflector, Link& link, std::string program, std::vector<std::string> peers)
      : reflector_(reflector), link_(link), program_(std::move(program)), peers_(std::move(peers)) {}

  /// Whether a message of the socket of sessions is meant for us, judged by its type alone.
  static bool is_request(std::string_view message) noexcept;
  /// Keeps it for `answer`; what cannot be read, or may not be asked, is refused at once. `rights` null = everything. Of too many the oldest is
  /// dropped: it is asked again.
  void take(PeerId peer, std::string_view message, const KeyRights::Rights* rights);
  /// Answers those that wait, up to a bound; `further` are counts besides those of the reflector. False if that was all.
  bool answer(const std::vector<ReflectorCount>& further);
  bool is_waiting() const noexcept { return !waiting_.empty(); }
  /// Of requests.
  std::vector<ReflectorCount> counts() const;

 private:
  struct Waiting {
    PeerId peer = 0;
    wire::Header header;
    std::string message;
  };
  Result<std::string> carry_out(const Waiting& request, const std::vector<ReflectorCount>& further);
  std::string status(const Waiting& request, const std::vector<ReflectorCount>& further) const;
  std::string nodes(const Waiting& request, const NodesRequest& wish) const;
  std::string vnis(const Waiting& request, const VnisRequest& wish, Vni from) const;
  std::string routes(const Waiting& request, const RoutesQuery& query) const;
  void refuse(PeerId peer, std::uint64_t request, const Error& error);

  const Reflector& reflector_;
  Link& link_;
  const std::string program_;
  const std::vector<std::string> peers_;
  std::deque<Waiting> waiting_;
  std::uint64_t requests_ = 0;
  std::uint64_t malformed_ = 0;
  std::uint64_t foreign_version_ = 0;
  std::uint64_t refused_ = 0;
};

std::string_view name(View view) noexcept;
Result<View> view_of(Text word);
std::string_view name(RoutesQuery::Match match) noexcept;
Result<RoutesQuery> query_of(const RoutesRequest& request);
std::string_view name(LearnedRoute::What what) noexcept;
Result<KnownRoute> route_of(const RouteRecord& record);

}  // namespace ironcore::routing::zmq
