// SPDX-License-Identifier: Apache-2.0
// From a client's message to the server's.
#include "dhcpv6.hpp"

#include <algorithm>
#include <optional>

#include "boot_class.hpp"
#include "local_frames.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint16_t server_port = 547;
constexpr std::uint16_t client_port = 546;
/// All_DHCP_Relay_Agents_and_Servers
constexpr IpAddress all_servers = IpAddress::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2});
constexpr std::size_t header_bytes = 4;
constexpr std::size_t longest_duid = 130;
constexpr std::size_t least_v6_mtu = 1280;

enum class Message : std::uint8_t {
  solicit = 1,
  advertise,
  request,
  confirm,
  renew,
  rebind,
  reply,
  release,
  decline,
  reconfigure,
  information_request,
  relay_forward,
  relay_reply,
};

enum Option : std::uint16_t {
  option_client_id = 1,
  option_server_id = 2,
  option_ia_na = 3,
  option_ia_ta = 4,
  option_ia_address = 5,
  option_preference = 7,
  option_status = 13,
  option_rapid_commit = 14,
  option_user_class = 15,
  option_vendor_class = 16,
  option_dns_servers = 23,
  option_ia_pd = 25,
  option_ia_prefix = 26,
  option_boot_file_url = 59,
  option_client_architecture = 61,
};

enum class Status : std::uint16_t {
  success = 0,
  no_addresses = 2,
  no_binding = 3,
  not_on_link = 4,
  use_multicast = 5,
  no_prefixes = 6,
};

constexpr std::size_t ia_address_bytes = 24;
constexpr std::size_t ia_prefix_bytes = 25;

bool is_ia(std::uint16_t option) noexcept {
  return option == option_ia_na || option == option_ia_ta || option == option_ia_pd;
}
/// What stands in an IA before its options: its id, and but for temporary addresses T1 and T2.
std::size_t ia_fixed_bytes(std::uint16_t ia) noexcept {
  return ia == option_ia_ta ? 4 : 12;
}

/// False if an option is cut, or if `each(code, value)` says so.
template <class Each>
bool for_each_option(ConstBytes bytes, Each each) noexcept {
  while (!bytes.empty()) {
    if (bytes.size() < 4) return false;
    const auto code = load16(bytes.data());
    const std::size_t length = load16(bytes.data() + 2);
    if (length > bytes.size() - 4) return false;
    if (!each(code, bytes.subspan(4, length))) return false;
    bytes = bytes.subspan(4 + length);
  }
  return true;
}

/// Each with its 16-bit length before it, in the user and vendor classes.
template <class Matches>
bool has_class(ConstBytes bytes, Matches matches) noexcept {
  while (bytes.size() >= 2) {
    const std::size_t length = load16(bytes.data());
    if (length > bytes.size() - 2) return false;
    if (matches(bytes.subspan(2, length))) return true;
    bytes = bytes.subspan(2 + length);
  }
  return false;
}

/// The addresses of an IA_NA or IA_TA, from its value. The options were checked.
template <class Each>
void for_each_address(std::uint16_t ia, ConstBytes value, Each each) noexcept {
  for_each_option(value.subspan(ia_fixed_bytes(ia)), [&](std::uint16_t code, ConstBytes address) noexcept {
    if (code == option_ia_address) each(load_v6(address.data()));
    return true;
  });
}

struct Request {
  Message message = Message::solicit;
  ConstBytes transaction;
  ConstBytes options;
  ConstBytes client_id;  ///< empty: there is none
  ConstBytes server_id;  ///< likewise
  bool has_ia = false;
  bool has_rapid_commit = false;
  BootClass boot_class = BootClass::none;
};

bool take_duid(ConstBytes value, ConstBytes& duid) noexcept {
  if (value.empty() || value.size() > longest_duid || !duid.empty()) return false;
  duid = value;
  return true;
}

/// Whether an IA and what is in it are long enough.
bool is_ia_whole(std::uint16_t ia, ConstBytes value) noexcept {
  const auto fixed = ia_fixed_bytes(ia);
  if (value.size() < fixed) return false;
  return for_each_option(value.subspan(fixed), [](std::uint16_t code, ConstBytes inner) noexcept {
    std::size_t least = 0;
    if (code == option_ia_address) least = ia_address_bytes;
    if (code == option_ia_prefix) least = ia_prefix_bytes;
    return inner.size() >= least;
  });
}

bool read_options(Request& request) noexcept {
  return for_each_option(request.options, [&](std::uint16_t code, ConstBytes value) noexcept {
    auto& boot_class = request.boot_class;
    const auto is_firmware = [&](bool is) noexcept {
      if (is && boot_class == BootClass::none) boot_class = BootClass::firmware;
    };
    switch (code) {
      case option_client_id:
        return take_duid(value, request.client_id);
      case option_server_id:
        return take_duid(value, request.server_id);
      case option_ia_na:
      case option_ia_ta:
      case option_ia_pd:
        request.has_ia = true;
        return is_ia_whole(code, value);
      case option_rapid_commit:
        request.has_rapid_commit = true;
        return true;
      case option_user_class:
        if (has_class(value, is_loader_class)) boot_class = BootClass::loader;
        return true;
      case option_vendor_class:
        // Behind the number of the enterprise, which firmware chooses as it likes.
        is_firmware(value.size() > 4 && has_class(value.subspan(4), is_firmware_class));
        return true;
      case option_client_architecture:
        is_firmware(has_loader_architecture(value));
        return true;
      default:
        return true;
    }
  });
}

/// RFC 8415 §16: which messages must name their server, which must not, and that it is this one.
NoReply check_ids(const Request& request) noexcept {
  const bool has_client = !request.client_id.empty();
  const bool has_server = !request.server_id.empty();
  switch (request.message) {
    case Message::solicit:
    case Message::confirm:
    case Message::rebind:
      if (!has_client || has_server) return NoReply::malformed;
      break;
    case Message::request:
    case Message::renew:
    case Message::release:
    case Message::decline:
      if (!has_client || !has_server) return NoReply::malformed;
      break;
    case Message::information_request:
      if (request.has_ia) return NoReply::malformed;
      break;
    default:
      return NoReply::not_asked;
  }
  const auto id = request.server_id;
  if (has_server && !std::equal(id.begin(), id.end(), server_duid.begin(), server_duid.end()))
    return NoReply::other_server;
  return NoReply::none;
}

/// Writes one answer.
class Reply {
 public:
  Reply(const Request& request, const LocalServices& services, Writer& out) noexcept
      : request_(request), services_(services), out_(out) {}

  void begin(Message message) noexcept {
    out_.put8(static_cast<std::uint8_t>(message));
    out_.put(request_.transaction);
    begin_option(option_server_id, server_duid.size());
    out_.put(ConstBytes(server_duid));
    if (request_.client_id.empty()) return;
    begin_option(option_client_id, request_.client_id.size());
    out_.put(request_.client_id);
  }

  void put_status(Status status) noexcept {
    begin_option(option_status, 2);
    out_.put16(static_cast<std::uint16_t>(status));
  }

  void put_preference() noexcept {
    begin_option(option_preference, 1);
    out_.put8(255);
  }
  void put_rapid_commit() noexcept { begin_option(option_rapid_commit, 0); }

  /// To Solicit and Request (RFC 8415 §18.3.1, §18.3.2, §18.3.9).
  void grant_leases() noexcept {
    for_each_ia([&](std::uint16_t ia, ConstBytes value, bool is_chosen) noexcept {
      if (ia == option_ia_pd) return put_refusal(ia, value, Status::no_prefixes);
      if (!is_chosen) return put_refusal(ia, value, Status::no_addresses);
      // Before it was told its address, a client may only have wished for one.
      if (request_.message == Message::request && has_foreign(ia, value))
        return put_refusal(ia, value, Status::not_on_link);
      const auto length_at = begin_ia(ia, value, services_.lease_seconds);
      put_address(*services_.ipv6, services_.lease_seconds);
      end_option(length_at);
    });
  }

  /// To Renew and Rebind (RFC 8415 §18.3.4, §18.3.5): an address that is not the machine's any more ends at once.
  void extend_leases() noexcept {
    for_each_ia([&](std::uint16_t ia, ConstBytes value, bool is_chosen) noexcept {
      if (ia != option_ia_na || (!is_chosen && !has_foreign(ia, value)))
        return put_refusal(ia, value, Status::no_binding);
      const auto length_at = begin_ia(ia, value, is_chosen ? services_.lease_seconds : 0);
      if (is_chosen) put_address(*services_.ipv6, services_.lease_seconds);
      for_each_address(ia, value, [&](const IpAddress& address) noexcept {
        if (!is_ours(address)) put_address(address, 0);
      });
      end_option(length_at);
    });
  }

  /// To Release and Decline (RFC 8415 §18.3.7, §18.3.8): only of what was never leased there is something to say.
  void end_leases() noexcept {
    put_status(Status::success);
    for_each_ia([&](std::uint16_t ia, ConstBytes value, bool) noexcept {
      if (ia != option_ia_na || !has_ours(ia, value)) put_refusal(ia, value, Status::no_binding);
    });
  }

  /// To Confirm (RFC 8415 §18.3.3): false if it names no address.
  bool confirm() noexcept {
    bool has_any = false, is_right = true;
    for_each_option(request_.options, [&](std::uint16_t code, ConstBytes value) noexcept {
      if (code == option_ia_na || code == option_ia_ta) {
        for_each_address(code, value, [&](const IpAddress& address) noexcept {
          has_any = true;
          is_right = is_right && is_ours(address);
        });
      }
      return true;
    });
    put_status(is_right ? Status::success : Status::not_on_link);
    return has_any;
  }

  void put_configuration() noexcept {
    const auto room = out_.room() < 4 ? 0 : out_.room() - 4;
    const auto servers = services_.dns_v6.first(std::min(services_.dns_v6.size(), room / 16));
    if (!servers.empty()) {
      begin_option(option_dns_servers, servers.size() * 16);
      for (const auto& server : servers) out_.put(server);
    }
    if (request_.boot_class == BootClass::none || !services_.boot || !services_.boot->server_v6) return;
    std::array<std::uint8_t, 512> text;
    Writer url(text);
    put_boot_url(url, request_.boot_class, *services_.boot->server_v6, *services_.boot);
    // A name that is cut would be another name.
    if (url.is_cut() || out_.room() < 4 + url.size()) return;
    begin_option(option_boot_file_url, url.size());
    out_.put(url.written());
  }

 private:
  bool is_ours(const IpAddress& address) const noexcept { return services_.ipv6 == address; }
  bool has_ours(std::uint16_t ia, ConstBytes value) const noexcept {
    bool has = false;
    for_each_address(ia, value, [&](const IpAddress& address) noexcept { has = has || is_ours(address); });
    return has;
  }
  bool has_foreign(std::uint16_t ia, ConstBytes value) const noexcept {
    bool has = false;
    for_each_address(ia, value, [&](const IpAddress& address) noexcept { has = has || !is_ours(address); });
    return has;
  }

  /// `each(code, value, is_chosen)`: chosen is the one IA_NA that the machine's address is leased to; none if it has no address.
  template <class Each>
  void for_each_ia(Each each) noexcept {
    const std::uint8_t* chosen = nullptr;
    bool is_known = false;
    for_each_option(request_.options, [&](std::uint16_t code, ConstBytes value) noexcept {
      if (code != option_ia_na || !services_.ipv6 || is_known) return true;
      is_known = has_ours(code, value);
      if (is_known || chosen == nullptr) chosen = value.data();
      return true;
    });
    for_each_option(request_.options, [&](std::uint16_t code, ConstBytes value) noexcept {
      if (is_ia(code)) each(code, value, value.data() == chosen);
      return true;
    });
  }

  void begin_option(std::uint16_t code, std::size_t length) noexcept {
    out_.put16(code);
    out_.put16(static_cast<std::uint16_t>(length));
  }
  /// Where the length stands: `end_option` fills it in.
  std::size_t begin_ia(std::uint16_t ia, ConstBytes value, std::uint32_t lease_seconds) noexcept {
    begin_option(ia, 0);
    const auto length_at = out_.size() - 2;
    out_.put(value.first(4));
    if (ia == option_ia_ta) return length_at;
    const auto share = [&](std::uint64_t tenths) noexcept {
      return lease_seconds == infinite_lease ? lease_seconds : static_cast<std::uint32_t>(lease_seconds * tenths / 10);
    };
    out_.put32(share(5));
    out_.put32(share(8));
    return length_at;
  }
  void end_option(std::size_t length_at) noexcept {
    if (!out_.is_cut()) out_.set16(length_at, static_cast<std::uint16_t>(out_.size() - length_at - 2));
  }
  void put_address(const IpAddress& address, std::uint32_t lease_seconds) noexcept {
    begin_option(option_ia_address, ia_address_bytes);
    out_.put(address);
    out_.put32(lease_seconds);  // preferred, valid
    out_.put32(lease_seconds);
  }
  void put_refusal(std::uint16_t ia, ConstBytes value, Status status) noexcept {
    const auto length_at = begin_ia(ia, value, 0);
    put_status(status);
    end_option(length_at);
  }

  const Request& request_;
  const LocalServices& services_;
  Writer& out_;
};

/// False if nothing is to be said.
bool write_message(const Request& request, const LocalServices& services, bool is_unicast, Writer& out) noexcept {
  Reply reply(request, services, out);
  const bool commits = request.message == Message::solicit && request.has_rapid_commit && services.ipv6;
  const bool advertises = request.message == Message::solicit && !commits;
  reply.begin(advertises ? Message::advertise : Message::reply);
  if (is_unicast) {
    reply.put_status(Status::use_multicast);
    return true;
  }
  switch (request.message) {
    case Message::solicit:
      // There is no other server to wait for.
      if (advertises) reply.put_preference();
      if (commits) reply.put_rapid_commit();
      reply.grant_leases();
      break;
    case Message::request:
      reply.grant_leases();
      break;
    case Message::renew:
    case Message::rebind:
      reply.extend_leases();
      break;
    case Message::release:
    case Message::decline:
      reply.end_leases();
      return true;
    case Message::confirm:
      return reply.confirm();
    default:
      break;
  }
  reply.put_configuration();
  return true;
}

}  // namespace

Answer answer_dhcpv6(std::span<const std::uint8_t> frame, const LocalServices& services,
                     std::span<std::uint8_t> reply) noexcept {
  const auto is_not = [](NoReply why) noexcept { return Answer{.length = 0, .why = why, .claim = {}}; };
  Received received;
  if (const auto why = receive_ip(frame, ethertype_ipv6, received); why != NoReply::none) return is_not(why);
  const auto& headers = received.headers;
  const bool is_unicast = received.destination == gateway_v6;
  if (headers.protocol != protocol_udp || !headers.has_transport || headers.destination_port != server_port ||
      (!is_unicast && received.destination != all_servers))
    return is_not(NoReply::not_mine);
  if (headers.is_fragment) return is_not(NoReply::fragment);
  if (!has_right_checksum(received)) return is_not(NoReply::checksum);

  const auto message = received.transport.subspan(udp_bytes);
  if (message.size() < header_bytes || !is_host_address(received.source)) return is_not(NoReply::malformed);
  Request request;
  request.message = static_cast<Message>(message[0]);
  request.transaction = message.subspan(1, 3);
  request.options = message.subspan(header_bytes);
  if (request.message == Message::relay_forward || request.message == Message::relay_reply)
    return is_not(NoReply::relayed);
  if (!read_options(request)) return is_not(NoReply::malformed);
  if (const auto why = check_ids(request); why != NoReply::none) return is_not(why);
  // RFC 8415 §16, §18.4: nobody was told to speak to the server alone.
  const bool may_be_told = request.message == Message::request || request.message == Message::renew ||
                           request.message == Message::release || request.message == Message::decline;
  if (is_unicast && !may_be_told) return is_not(NoReply::malformed);

  Writer out(reply);
  begin_udp(out, services, {received.source_mac, received.source}, server_port, client_port);
  out.limit(ethernet_bytes + std::max<std::size_t>(services.mtu, least_v6_mtu));
  if (!write_message(request, services, is_unicast, out)) return is_not(NoReply::not_asked);
  return finish_ip(out);
}

}  // namespace ironcore::network::dataplane
