// SPDX-License-Identifier: Apache-2.0
// From a client's message to the server's.
#include "dhcpv4.hpp"

#include <array>
#include <bitset>
#include <optional>

#include "boot_class.hpp"
#include "local_frames.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint16_t server_port = 67;
constexpr std::uint16_t client_port = 68;
constexpr IpAddress broadcast_v4 = IpAddress::v4(0xffffffff);

// The fixed part of a message (RFC 2131 §2), and where in it is what.
constexpr std::size_t at_transaction = 4;
constexpr std::size_t at_flags = 10;
constexpr std::size_t at_client_address = 12;
constexpr std::size_t at_relay_address = 24;
constexpr std::size_t at_hardware_address = 28;
constexpr std::size_t at_server_name = 44;
constexpr std::size_t at_file = 108;
constexpr std::size_t at_cookie = 236;
constexpr std::size_t at_options = 240;
constexpr std::size_t server_name_bytes = at_file - at_server_name;
constexpr std::size_t file_bytes = at_cookie - at_file;
constexpr std::uint32_t cookie = 0x63825363;
constexpr std::uint16_t flag_broadcast = 0x8000;

constexpr std::size_t ip_and_udp_bytes = 28;
/// What every client takes (RFC 2131 §2), and what the relays and clients of BOOTP expect at least (RFC 1542 §2.1).
constexpr std::size_t least_most_bytes = 576;
constexpr std::size_t least_message_bytes = 300;

enum class Message : std::uint8_t { discover = 1, offer, request, decline, ack, nak, release, inform };

enum Option : std::uint8_t {
  option_pad = 0,
  option_subnet_mask = 1,
  option_router = 3,
  option_name_server = 6,
  option_host_name = 12,
  option_interface_mtu = 26,
  option_requested_address = 50,
  option_lease_time = 51,
  option_overload = 52,
  option_message_type = 53,
  option_server_identifier = 54,
  option_parameter_list = 55,
  option_most_message_bytes = 57,
  option_renewal_time = 58,
  option_rebinding_time = 59,
  option_vendor_class = 60,
  option_client_identifier = 61,
  option_boot_file_name = 67,
  option_user_class = 77,
  option_client_architecture = 93,
  option_classless_routes = 121,
  option_end = 255,
};

/// An option that may come in several parts (RFC 3396).
class LongOption {
 public:
  void append(ConstBytes part) noexcept {
    part = part.first(std::min(part.size(), bytes_.size() - size_));
    std::copy(part.begin(), part.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += part.size();
  }
  ConstBytes bytes() const noexcept { return ConstBytes(bytes_).first(size_); }

 private:
  std::array<std::uint8_t, 255> bytes_{};
  std::size_t size_ = 0;
};

struct Request {
  std::uint8_t message = 0;
  std::optional<IpAddress> requested;
  std::optional<IpAddress> server;
  std::uint16_t most_bytes = least_most_bytes;
  std::bitset<256> parameters;
  std::uint8_t overloaded = 0;
  LongOption identifier;
  LongOption vendor;
  LongOption user;
  LongOption architecture;
};

bool take_address(ConstBytes value, std::optional<IpAddress>& address) noexcept {
  if (value.size() != 4 || address) return false;
  address = load_v4(value.data());
  return true;
}

/// False if its length is wrong, or if an option that has one value comes twice.
bool read_option(std::uint8_t code, ConstBytes value, Request& request) noexcept {
  switch (code) {
    case option_message_type:
      if (value.size() != 1 || request.message != 0) return false;
      request.message = value[0];
      return true;
    case option_requested_address:
      return take_address(value, request.requested);
    case option_server_identifier:
      return take_address(value, request.server);
    case option_overload:
      if (value.size() != 1) return false;
      request.overloaded = value[0];
      return true;
    case option_most_message_bytes:
      if (value.size() != 2) return false;
      request.most_bytes = std::max<std::uint16_t>(load16(value.data()), least_most_bytes);
      return true;
    case option_parameter_list:
      for (const auto parameter : value) request.parameters.set(parameter);
      return true;
    case option_client_identifier:
      request.identifier.append(value);
      return true;
    case option_vendor_class:
      request.vendor.append(value);
      return true;
    case option_user_class:
      request.user.append(value);
      return true;
    case option_client_architecture:
      request.architecture.append(value);
      return true;
    default:
      return true;
  }
}

/// Ends at the option that says so or with the field. False if an option is cut or wrong.
bool read_options(ConstBytes field, Request& request) noexcept {
  while (!field.empty() && field[0] != option_end) {
    if (field[0] == option_pad) {
      field = field.subspan(1);
      continue;
    }
    if (field.size() < 2 || field.size() - 2 < field[1]) return false;
    if (!read_option(field[0], field.subspan(2, field[1]), request)) return false;
    field = field.subspan(2 + std::size_t{field[1]});
  }
  return true;
}

bool read_all_options(ConstBytes message, Request& request) noexcept {
  if (!read_options(message.subspan(at_options), request)) return false;
  // RFC 2132 §9.3; an overload inside an overloaded field means nothing.
  const auto overloaded = request.overloaded;
  if (overloaded > 3) return false;
  if ((overloaded & 1) != 0 && !read_options(message.subspan(at_file, file_bytes), request)) return false;
  return (overloaded & 2) == 0 || read_options(message.subspan(at_server_name, server_name_bytes), request);
}

/// Bare, as iPXE sends it, or as one of several with a length before each (RFC 3004).
bool has_loader_class(ConstBytes user_class) noexcept {
  if (is_loader_class(user_class)) return true;
  while (!user_class.empty()) {
    const std::size_t length = user_class[0];
    if (length == 0 || length >= user_class.size()) return false;
    if (is_loader_class(user_class.subspan(1, length))) return true;
    user_class = user_class.subspan(1 + length);
  }
  return false;
}

BootClass boot_class_of(const Request& request) noexcept {
  if (has_loader_class(request.user.bytes())) return BootClass::loader;
  if (is_firmware_class(request.vendor.bytes())) return BootClass::firmware;
  // The vendor class may say nothing of the architecture, or a wrong one.
  return has_loader_architecture(request.architecture.bytes()) ? BootClass::firmware : BootClass::none;
}

/// Options, each of them whole or not at all.
class OptionWriter {
 public:
  OptionWriter(Writer& out) noexcept : out_(out) {}
  /// True if there is room, also for the end: the value must follow.
  bool begin(Option code, std::size_t length) noexcept {
    if (length == 0 || length > 255 || out_.room() < 2 + length + 1) return false;
    out_.put8(code);
    out_.put8(static_cast<std::uint8_t>(length));
    return true;
  }
  void put32(Option code, std::uint32_t value) noexcept {
    if (begin(code, 4)) out_.put32(value);
  }
  void put(Option code, const IpAddress& address) noexcept {
    if (begin(code, 4)) out_.put(address);
  }

 private:
  Writer& out_;
};

constexpr std::size_t bytes_of_route(const Prefix& prefix) noexcept {
  return 1 + (prefix.length() + 7) / 8 + 4;
}

void put_route(Writer& out, const Prefix& prefix, const IpAddress& by) noexcept {
  out.put8(static_cast<std::uint8_t>(prefix.length()));
  out.put(prefix.first().bytes().first((prefix.length() + 7) / 8));
  out.put(by);
}

/// False if there is no room. Of the further routes, as many as one option holds.
bool put_routes(Writer& out, OptionWriter& options, const LocalServices& services) noexcept {
  const Prefix everything;
  const auto link = Prefix::make(IpAddress::v4(0xa9fe0000), 16).value();
  const auto room = std::min<std::size_t>(out.room() < 3 ? 0 : out.room() - 3, 255);
  auto length = bytes_of_route(link) + bytes_of_route(everything);
  std::size_t count = 0;
  for (; count < services.routes_v4.size(); ++count) {
    const auto longer = length + bytes_of_route(services.routes_v4[count]);
    if (longer > room) break;
    length = longer;
  }
  if (!options.begin(option_classless_routes, length)) return false;
  put_route(out, link, IpAddress());
  for (const auto& route : services.routes_v4.first(count)) put_route(out, route, gateway_v4);
  put_route(out, everything, gateway_v4);
  return true;
}

void put_name_servers(Writer& out, OptionWriter& options, std::span<const IpAddress> servers) noexcept {
  // As many as one option holds and as there is room for: two bytes before them, one behind.
  const auto room = std::min<std::size_t>(out.room() < 3 ? 0 : out.room() - 3, 255);
  servers = servers.first(std::min(servers.size(), room / 4));
  if (options.begin(option_name_server, servers.size() * 4))
    for (const auto& server : servers) out.put(server);
}

struct Boot {
  BootClass boot_class = BootClass::none;
  IpAddress server;
};

Boot boot_of(const Request& request, const LocalServices& services) noexcept {
  if (!services.boot || !services.boot->server_v4) return {};
  return {boot_class_of(request), *services.boot->server_v4};
}

/// What stands in the file field, and in its option if it is too long for the field.
void put_boot_file(Writer& out, const Boot& boot, const LocalServices& services) noexcept {
  if (boot.boot_class == BootClass::firmware) out.put(services.boot->loader);
  if (boot.boot_class == BootClass::loader) put_boot_url(out, boot.boot_class, boot.server, *services.boot);
}

struct Reply {
  Message message = Message::ack;
  Destination to;
  IpAddress client_address;
  IpAddress your_address;
};

void put_fixed(Writer& out, ConstBytes request, const Reply& reply, const Boot& boot, ConstBytes file) noexcept {
  out.put8(2);  // from a server
  out.put8(1);
  out.put8(6);
  out.put8(0);
  out.put(request.subspan(at_transaction, 4));
  out.put16(0);
  out.put(request.subspan(at_flags, 2));
  out.put(reply.client_address);
  out.put(reply.your_address);
  out.put(boot.boot_class == BootClass::none ? IpAddress() : boot.server);
  out.put(IpAddress());
  out.put(request.subspan(at_hardware_address, 16));
  out.put_zeros(server_name_bytes);
  out.put(file);
  out.put_zeros(file_bytes - file.size());
  out.put32(cookie);
}

void put_lease(OptionWriter& options, std::uint32_t seconds) noexcept {
  options.put32(option_lease_time, seconds);
  if (seconds == infinite_lease) return;
  options.put32(option_renewal_time, seconds / 2);
  options.put32(option_rebinding_time, static_cast<std::uint32_t>(std::uint64_t{seconds} * 7 / 8));
}

Answer write_reply(ConstBytes message, const Request& request, const Reply& reply, const LocalServices& services,
                   std::span<std::uint8_t> into) noexcept {
  const bool is_nak = reply.message == Message::nak;
  const bool has_lease =
      reply.message == Message::offer || (reply.message == Message::ack && reply.your_address != IpAddress());
  const auto boot = is_nak ? Boot{} : boot_of(request, services);
  std::array<std::uint8_t, 255> file_text;
  Writer file(file_text);
  put_boot_file(file, boot, services);
  // A name that is cut would be another name. The field ends with a zero.
  const auto name = file.is_cut() ? ConstBytes() : file.written();
  const bool fits = name.size() < file_bytes;

  Writer out(into);
  begin_udp(out, services, reply.to, server_port, client_port);
  const auto begin = out.size();
  const auto most = std::min<std::size_t>(request.most_bytes, std::max<std::size_t>(services.mtu, least_most_bytes));
  out.limit(begin + most - ip_and_udp_bytes);
  put_fixed(out, message, reply, boot, fits ? name : ConstBytes());

  OptionWriter options(out);
  if (options.begin(option_message_type, 1)) out.put8(static_cast<std::uint8_t>(reply.message));
  options.put(option_server_identifier, gateway_v4);
  if (has_lease) put_lease(options, services.lease_seconds);
  const auto identifier = request.identifier.bytes();
  if (options.begin(option_client_identifier, identifier.size())) out.put(identifier);  // RFC 6842
  if (!is_nak) {
    options.put32(option_subnet_mask, 0xffffffff);
    const bool has_routes = put_routes(out, options, services);
    // Who asks for the routes is not to be sent a router beside them (RFC 3442); who does not may not understand them.
    if (!has_routes || !request.parameters.test(option_classless_routes)) options.put(option_router, gateway_v4);
    if (services.mtu >= 68 && options.begin(option_interface_mtu, 2)) out.put16(services.mtu);
    if (!fits && options.begin(option_boot_file_name, name.size())) out.put(name);
    put_name_servers(out, options, services.dns_v4);
    if (options.begin(option_host_name, services.hostname.size())) out.put(services.hostname);
  }
  out.put8(option_end);
  if (const auto size = out.size() - begin; size < least_message_bytes) out.put_zeros(least_message_bytes - size);
  return finish_ip(out);
}

}  // namespace

Answer answer_dhcpv4(std::span<const std::uint8_t> frame, const LocalServices& services,
                     std::span<std::uint8_t> reply) noexcept {
  const auto is_not = [](NoReply why) noexcept { return Answer{.length = 0, .why = why, .claim = {}}; };
  Received received;
  if (const auto why = receive_ip(frame, ethertype_ipv4, received); why != NoReply::none) return is_not(why);
  const auto& headers = received.headers;
  if (headers.protocol != protocol_udp || !headers.has_transport || headers.destination_port != server_port ||
      (received.destination != gateway_v4 && received.destination != broadcast_v4))
    return is_not(NoReply::not_mine);
  if (headers.is_fragment) return is_not(NoReply::fragment);
  if (!has_right_checksum(received)) return is_not(NoReply::checksum);

  const auto message = received.transport.subspan(udp_bytes);
  if (message.size() < at_options || message[0] != 1 || message[1] != 1 || message[2] != 6 ||
      load32(message.data() + at_cookie) != cookie)
    return is_not(NoReply::malformed);
  const auto client_mac = load_mac(message.data() + at_hardware_address);
  Request request;
  if (!is_station(client_mac) || !read_all_options(message, request)) return is_not(NoReply::malformed);
  if (load32(message.data() + at_relay_address) != 0) return is_not(NoReply::relayed);

  const auto client_address = load_v4(message.data() + at_client_address);
  const bool has_address = !client_address.is_unspecified();
  const bool wants_broadcast = (load16(message.data() + at_flags) & flag_broadcast) != 0;
  const Destination to_all{broadcast_mac, broadcast_v4};
  /// RFC 2131 §4.1
  const auto to_client = [&](const IpAddress& address) noexcept {
    return !has_address && wants_broadcast ? to_all : Destination{client_mac, address};
  };

  switch (static_cast<Message>(request.message)) {
    case Message::discover:
      if (!services.ipv4) return is_not(NoReply::no_address);
      return write_reply(message, request,
                         {.message = Message::offer,
                          .to = wants_broadcast ? to_all : Destination{client_mac, *services.ipv4},
                          .client_address = {},
                          .your_address = *services.ipv4},
                         services, reply);
    case Message::request: {
      if (request.server && *request.server != gateway_v4) return is_not(NoReply::other_server);
      if (!has_address && !request.requested) return is_not(NoReply::malformed);
      // RFC 2131 §4.3.2. In whichever state the client is, the address it names is its own or it is to give it up.
      const bool is_right = services.ipv4 && (!has_address || client_address == *services.ipv4) &&
                            (!request.requested || *request.requested == *services.ipv4);
      if (!is_right)
        return write_reply(message, request,
                           {.message = Message::nak, .to = to_all, .client_address = {}, .your_address = {}}, services,
                           reply);
      auto answer = write_reply(message, request,
                                {.message = Message::ack,
                                 .to = to_client(*services.ipv4),
                                 .client_address = client_address,
                                 .your_address = *services.ipv4},
                                services, reply);
      if (answer.why == NoReply::none && client_mac == received.source_mac)
        answer.claim = Claim{.mac = client_mac, .address = *services.ipv4};
      return answer;
    }
    case Message::inform:
      if (!services.ipv4) return is_not(NoReply::no_address);
      if (!is_host_address(client_address)) return is_not(NoReply::malformed);
      return write_reply(message, request,
                         {.message = Message::ack,
                          .to = {client_mac, client_address},
                          .client_address = client_address,
                          .your_address = {}},
                         services, reply);
    case Message::decline:
    case Message::release:
      return is_not(NoReply::not_asked);
    default:
      return is_not(NoReply::malformed);
  }
}

}  // namespace ironcore::network::dataplane
