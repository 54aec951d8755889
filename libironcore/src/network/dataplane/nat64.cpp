// SPDX-License-Identifier: Apache-2.0
// The translation: read everything, refuse what cannot be translated, and only then write.
#include "nat64.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "bytes.hpp"
#include "checksum.hpp"
#include "headers.hpp"
#include "icmp_quote.hpp"
#include "rewrite.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::size_t v4_header_bytes = 20;
constexpr std::size_t v6_header_bytes = 40;
constexpr std::size_t fragment_header_bytes = 8;
constexpr std::size_t icmp_header_bytes = 8;

constexpr std::uint8_t protocol_hop_by_hop = 0;
constexpr std::uint8_t protocol_igmp = 2;
constexpr std::uint8_t protocol_routing = 43;
constexpr std::uint8_t protocol_fragment = 44;
constexpr std::uint8_t protocol_authentication = 51;
constexpr std::uint8_t protocol_destination_options = 60;

constexpr std::uint16_t flag_dont_fragment = 0x4000;
constexpr std::uint16_t flag_more_fragments = 0x2000;

constexpr std::uint32_t longest_v4 = 65'535;
/// What IPv6 carries everywhere, and the IPv4 packet that becomes as long.
constexpr std::uint32_t least_v6_mtu = 1'280;
constexpr std::uint32_t least_v4_mtu = 68;  // RFC 791
constexpr std::uint32_t difference = v6_header_bytes - v4_header_bytes;

using Bytes = std::span<const std::uint8_t>;

// --- what is there ---

/// A packet, whole or quoted, as both families tell it.
struct Datagram {
  Translated wrong;
  Headers headers;
  std::uint8_t traffic_class = 0;
  std::size_t beyond = 0;  ///< of its bytes, in further pieces
  bool has_pseudo_sum_only = false;

  /// At hand.
  std::size_t near_transport_bytes() const noexcept { return transport_bytes() - beyond; }
  std::size_t transport_bytes() const noexcept { return headers.length - headers.transport; }
};

/// Loose or strict, with addresses left in it (RFC 791 §3.1).
bool has_source_route(Bytes options) noexcept {
  for (std::size_t at = 0; at < options.size();) {
    const auto type = options[at];
    if (type == 0) return false;
    if (type == 1) {
      ++at;
      continue;
    }
    if (options.size() - at < 2 || options[at + 1] < 2) return false;
    const std::size_t size = options[at + 1];
    if ((type == 131 || type == 137) && size >= 3 && options.size() - at >= 3 && options[at + 2] <= size) return true;
    at += size;
  }
  return false;
}

Datagram read_v4(Bytes bytes, Extent extent, std::size_t beyond = 0) noexcept {
  Datagram out;
  out.beyond = beyond;
  if (parse(bytes, bytes.size() + beyond, out.headers, extent) != Malformed::none || out.headers.is_v6) {
    out.wrong.result = Translation::malformed;
    return out;
  }
  out.traffic_class = bytes[1];
  if (has_source_route(bytes.subspan(v4_header_bytes, out.headers.transport - v4_header_bytes)))
    out.wrong.result = Translation::source_route;
  return out;
}

/// More than `parse` lets pass.
constexpr int most_extension_headers = 9;

/// What `parse` does not tell: which extension headers there are.
Translated check_extensions(Bytes bytes) noexcept {
  auto next = bytes[6];
  auto at = v6_header_bytes;
  bool is_behind_fragment = false;
  for (int count = 0; count < most_extension_headers; ++count) {
    const bool is_skipped = next == protocol_hop_by_hop || next == protocol_routing ||
                            next == protocol_destination_options || next == protocol_fragment;
    if (is_behind_fragment && (is_skipped || next == protocol_authentication)) return {Translation::extension_header};
    if (next == protocol_authentication) return {Translation::unsupported};
    if (!is_skipped) return {};
    if (bytes.size() < at + 8) return {Translation::malformed};
    if (next == protocol_routing && bytes[at + 3] != 0)
      return {Translation::source_route, static_cast<std::uint32_t>(at + 3)};
    is_behind_fragment = next == protocol_fragment;
    const auto size = is_behind_fragment ? fragment_header_bytes : (std::size_t{bytes[at + 1]} + 1) * 8;
    next = bytes[at];
    at += size;
  }
  return {Translation::malformed};
}

Datagram read_v6(Bytes bytes, Extent extent, std::size_t beyond = 0) noexcept {
  Datagram out;
  out.beyond = beyond;
  out.wrong.result = Translation::malformed;
  if (bytes.size() < v6_header_bytes || bytes[0] >> 4 != 6) return out;
  const auto length = v6_header_bytes + load16(bytes.data() + 4);
  if (length > bytes.size() + beyond && extent == Extent::whole) return out;
  bytes = bytes.first(std::min(length, bytes.size()));
  out.wrong = check_extensions(bytes);
  if (out.wrong.result != Translation::done) return out;
  auto& headers = out.headers;
  if (parse(bytes, bytes.size() + beyond, headers, extent) != Malformed::none) {
    out.wrong.result = Translation::malformed;
    return out;
  }
  // A quote may end inside its extension headers.
  if (headers.transport > bytes.size()) out.wrong.result = Translation::malformed;
  out.traffic_class = static_cast<std::uint8_t>(bytes[0] << 4 | bytes[1] >> 4);
  return out;
}

/// What the other family would take for something else than it is here: its own ICMP, its extension headers. Groups are for one link. And what
/// authenticates addresses never survives their change, while IPv6 would have hidden a transport behind it that nobody looked at in IPv4.
bool is_of_one_family(const Headers& headers) noexcept {
  switch (headers.protocol) {
    case protocol_igmp:
    case protocol_authentication:
      return true;
    case protocol_icmp:
      return headers.is_v6;
    case protocol_icmpv6:
    case protocol_hop_by_hop:
    case protocol_routing:
    case protocol_fragment:
    case protocol_destination_options:
      return !headers.is_v6;
    default:
      return false;
  }
}

bool is_icmp(const Headers& headers) noexcept {
  return headers.protocol == (headers.is_v6 ? protocol_icmpv6 : protocol_icmp);
}

/// For whole and quoted ones: neither has a counterpart otherwise.
Translation check(const Datagram& datagram) noexcept {
  if (datagram.wrong.result != Translation::done) return datagram.wrong.result;
  const auto& headers = datagram.headers;
  if (is_of_one_family(headers)) return Translation::unsupported;
  // RFC 7915 §1.2: a checksum over a length that no fragment tells.
  if (is_icmp(headers) && (headers.is_fragment || datagram.beyond != 0)) return Translation::unsupported;
  if (!headers.is_v6) return Translation::done;
  return datagram.transport_bytes() + v4_header_bytes > longest_v4 ? Translation::too_big : Translation::done;
}

Translation check_quoted(const Datagram& datagram) noexcept {
  const auto result = check(datagram);
  if (result == Translation::malformed) return result;
  // Such a packet has never been translated, so no error can be about it.
  if (result != Translation::done) return Translation::unsupported;
  // RFC 7915 §4.3, §5.3: no errors about errors.
  if (is_icmp(datagram.headers) && !is_echo(datagram.headers)) return Translation::unsupported;
  return Translation::done;
}

// --- headers ---

void write_v4(std::uint8_t* ip, const Datagram& from, std::size_t payload, const NewEnds<V4Address>& ends,
              std::uint16_t identification) noexcept {
  const auto& headers = from.headers;
  const auto length = v4_header_bytes + payload;
  std::uint16_t flags = 0;
  if (headers.fragment_header != 0) {
    identification = static_cast<std::uint16_t>(headers.fragment_id);
    flags = static_cast<std::uint16_t>(headers.fragment_offset / 8 | (headers.has_more ? flag_more_fragments : 0));
  } else if (length > least_v6_mtu - difference) {
    flags = flag_dont_fragment;
  }
  ip[0] = 0x45;
  ip[1] = from.traffic_class;
  store16(ip + 2, static_cast<std::uint16_t>(length));
  store16(ip + 4, identification);
  store16(ip + 6, flags);
  ip[8] = headers.hop_limit;
  ip[9] = headers.protocol == protocol_icmpv6 ? protocol_icmp : headers.protocol;
  store16(ip + 10, 0);
  std::memcpy(ip + 12, ends.source.data(), 4);
  std::memcpy(ip + 16, ends.destination.data(), 4);
  ChecksumSum sum;
  sum.add({ip, v4_header_bytes});
  store16(ip + 10, sum.finish());
}

std::size_t v6_headers(const Datagram& from) noexcept {
  return v6_header_bytes + (from.headers.is_fragment ? fragment_header_bytes : 0);
}

void write_v6(std::uint8_t* ip, const Datagram& from, std::size_t payload, const NewEnds<V6Address>& ends) noexcept {
  const auto& headers = from.headers;
  const auto next = headers.protocol == protocol_icmp ? protocol_icmpv6 : headers.protocol;
  store32(ip, 0x6000'0000U | static_cast<std::uint32_t>(from.traffic_class) << 20);
  store16(ip + 4, static_cast<std::uint16_t>(v6_headers(from) - v6_header_bytes + payload));
  ip[6] = next;
  ip[7] = headers.hop_limit;
  std::memcpy(ip + 8, ends.source.data(), 16);
  std::memcpy(ip + 24, ends.destination.data(), 16);
  if (!headers.is_fragment) return;
  auto* fragment = ip + v6_header_bytes;
  ip[6] = protocol_fragment;
  fragment[0] = next;
  fragment[1] = 0;
  store16(fragment + 2, static_cast<std::uint16_t>(headers.fragment_offset | (headers.has_more ? 1 : 0)));
  store32(fragment + 4, headers.fragment_id);
}

// --- the transport ---

/// What a pseudo header loses and gains; only IPv6's ICMP has one.
struct Change {
  ChecksumDelta before;
  ChecksumDelta after;
  std::optional<std::uint16_t> source_port;
  std::optional<std::uint16_t> destination_port;
};

/// `addresses`: both, as they stand in the old header.
template <class Address>
Change change_of(Bytes addresses, const NewEnds<Address>& ends) noexcept {
  Change change;
  change.before.remove(addresses);
  change.after.add(ends.source);
  change.after.add(ends.destination);
  change.source_port = ends.source_port;
  change.destination_port = ends.destination_port;
  return change;
}

Bytes addresses_of(const std::uint8_t* ip, const Headers& headers) noexcept {
  return headers.is_v6 ? Bytes{ip + 8, 32} : Bytes{ip + 12, 8};
}

void set_port(std::uint8_t* at, std::optional<std::uint16_t> port, ChecksumDelta& delta) noexcept {
  if (!port) return;
  delta.replace16(load16(at), *port);
  store16(at, *port);
}

void change_echo(std::span<std::uint8_t> message, const Datagram& from, const Change& change) noexcept {
  auto* const icmp = message.data();
  const bool is_v6 = from.headers.is_v6;
  const bool is_request = from.headers.icmp_type == (is_v6 ? 128 : 8);
  auto delta = is_v6 ? change.before : change.after;
  const auto before = load16(icmp);
  icmp[0] = is_v6 ? (is_request ? 8 : 0) : (is_request ? 128 : 129);
  delta.replace16(before, load16(icmp));
  const auto length = static_cast<std::uint32_t>(from.transport_bytes());
  if (is_v6) {
    delta.replace32(length, 0);
    delta.replace16(protocol_icmpv6, 0);
  } else {
    delta.replace32(0, length);
    delta.replace16(0, protocol_icmpv6);
  }
  set_port(icmp + 4, change.source_port ? change.source_port : change.destination_port, delta);
  store16(icmp + 2, delta.apply(load16(icmp + 2)));
  // Only zeros sum up to zero: a reply of nothing else is where its two forms in one's complement are not the same.
  if (std::ranges::all_of(message, [](std::uint8_t byte) { return byte == 0; })) store16(icmp + 2, 0xffff);
}

/// A checksum that a quote has lost, or that is over more than this piece, stays.
void change_sctp(std::span<std::uint8_t> sctp, const Datagram& from, const Change& change) noexcept {
  constexpr std::size_t header_bytes = 12;
  auto* const at = sctp.data();
  const auto source = change.source_port.value_or(load16(at));
  const auto destination = change.destination_port.value_or(load16(at + 2));
  if (sctp.size() >= header_bytes && !from.headers.is_fragment) {
    change_sctp_ports(at, from.transport_bytes(), source, destination);
  } else {
    store16(at, source);
    store16(at + 2, destination);
  }
}

/// The checksum is over the whole, so ports of pieces cannot be changed.
template <class Address>
bool is_piece_of_sctp(const Datagram& from, const NewEnds<Address>& ends) noexcept {
  const bool has_ports = ends.source_port || ends.destination_port;
  return from.headers.protocol == protocol_sctp && from.headers.is_fragment && has_ports;
}

/// `transport` is what is at hand of it: of a quoted packet at least eight bytes, else all.
void change_transport(std::span<std::uint8_t> transport, const Datagram& from, const Change& change) noexcept {
  if (!from.headers.has_transport) return;
  auto* const at = transport.data();
  const auto protocol = from.headers.protocol;
  if (is_icmp(from.headers)) return change_echo(transport, from, change);
  if (protocol == protocol_sctp) return change_sctp(transport, from, change);
  if (protocol != protocol_tcp && protocol != protocol_udp) return;
  auto delta = change.before;
  delta.join(change.after);
  const auto addresses = delta;
  set_port(at, change.source_port, delta);
  set_port(at + 2, change.destination_port, delta);
  const std::size_t within = protocol == protocol_tcp ? 16 : 6;
  if (transport.size() < within + 2) return;
  const auto before = load16(at + within);
  if (from.has_pseudo_sum_only) {
    store16(at + within, static_cast<std::uint16_t>(~addresses.apply(static_cast<std::uint16_t>(~before))));
    return;
  }
  store16(at + within, protocol == protocol_tcp ? delta.apply(before) : delta.apply_udp(before));
}

bool is_udp_without_checksum(const std::uint8_t* transport, const Headers& headers) noexcept {
  return headers.has_transport && headers.protocol == protocol_udp && load16(transport + 6) == 0;
}

void make_udp_checksum(std::uint8_t* udp, const NewEnds<V6Address>& ends) noexcept {
  ChecksumSum sum;
  sum.add(ends.source);
  sum.add(ends.destination);
  sum.add16(load16(udp + 4));
  sum.add16(protocol_udp);
  sum.add({udp, load16(udp + 4)});
  const auto made = sum.finish();
  store16(udp + 6, made == 0 ? 0xffff : made);
}

// --- ICMP errors ---

/// The first eight bytes of an error of the other family.
struct ErrorHeader {
  bool is_known = false;
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint32_t rest = 0;
  bool may_have_extension = false;
};

constexpr std::uint8_t no_pointer = 0xff;

/// RFC 7915 §4.2, figure 3.
std::uint8_t pointer_to_v6(std::uint8_t pointer) noexcept {
  constexpr std::uint8_t map[] = {0, 1, 4, 4, no_pointer, no_pointer, no_pointer, no_pointer, 7, 6};
  if (pointer < std::size(map)) return map[pointer];
  if (pointer >= 12 && pointer < 16) return 8;
  return pointer >= 16 && pointer < 20 ? 24 : no_pointer;
}

/// RFC 7915 §5.2, figure 6.
std::uint8_t pointer_to_v4(std::uint32_t pointer) noexcept {
  constexpr std::uint8_t map[] = {0, 1, no_pointer, no_pointer, 2, 2, 9, 8};
  if (pointer < std::size(map)) return map[pointer];
  if (pointer < 24) return 12;
  return pointer < 40 ? 16 : no_pointer;
}

/// The largest plateau of RFC 1191 §7.1 that is smaller, as far as IPv6 knows them.
std::uint32_t plateau_below(std::uint32_t length) noexcept {
  for (const std::uint32_t plateau : {32'000U, 17'914U, 8'166U, 4'352U, 2'002U, 1'492U})
    if (plateau < length) return plateau;
  return least_v6_mtu;
}

std::uint32_t mtu_to_v6(std::uint32_t mtu, std::uint32_t quoted_length, const ToV6& to) noexcept {
  // A router from before RFC 1191 does not tell it.
  if (mtu == 0) mtu = plateau_below(quoted_length);
  const auto v4 = std::min(mtu, std::min(to.v4_mtu, longest_v4));
  return std::max(least_v6_mtu, std::min(v4 + difference, to.v6_mtu));
}

std::uint32_t mtu_to_v4(std::uint32_t mtu, const ToV4& to) noexcept {
  const auto v6 = std::min(mtu, to.v6_mtu);
  const auto v4 = std::min({v6 > difference ? v6 - difference : 0, to.v4_mtu, longest_v4});
  return std::max(least_v4_mtu, v4);
}

/// RFC 7915 §4.2.
ErrorHeader error_to_v6(const std::uint8_t* icmp, std::uint32_t quoted_length, const ToV6& to) noexcept {
  const auto type = icmp[0];
  const auto code = icmp[1];
  if (type == 11) return {true, 3, code, 0, true};
  if (type == 12) {
    const auto pointer = pointer_to_v6(icmp[4]);
    if ((code != 0 && code != 2) || pointer == no_pointer) return {};
    return {true, 4, 0, pointer, false};
  }
  if (type != 3) return {};
  switch (code) {
    case 2:  // the protocol: IPv6 points at the next header
      return {true, 4, 1, 6, false};
    case 3:
      return {true, 1, 4, 0, true};
    case 4:
      return {true, 2, 0, mtu_to_v6(load16(icmp + 6), quoted_length, to), false};
    case 9:
    case 10:
    case 13:
    case 15:
      return {true, 1, 1, 0, true};
    case 0:
    case 1:
    case 5:
    case 6:
    case 7:
    case 8:
    case 11:
    case 12:
      return {true, 1, 0, 0, true};
    default:
      return {};
  }
}

/// RFC 7915 §5.2.
ErrorHeader error_to_v4(const std::uint8_t* icmp, const ToV4& to) noexcept {
  const auto code = icmp[1];
  switch (icmp[0]) {
    case 1:
      if (code == 0 || code == 2 || code == 3) return {true, 3, 1, 0, true};
      if (code == 1) return {true, 3, 10, 0, true};
      if (code == 4) return {true, 3, 3, 0, true};
      return {};
    case 2:
      return {true, 3, 4, mtu_to_v4(load32(icmp + 4), to), true};
    case 3:
      return {true, 11, code, 0, true};
    case 4: {
      if (code == 1) return {true, 3, 2, 0, true};
      const auto pointer = pointer_to_v4(load32(icmp + 4));
      if (code != 0 || pointer == no_pointer) return {};
      return {true, 12, 0, static_cast<std::uint32_t>(pointer) << 24, true};
    }
    default:
      return {};
  }
}

/// Where the parts of an error are, counted from its IP header.
struct ErrorParts {
  std::size_t quote = 0;
  std::size_t rest = 0;  ///< of the quote, behind its IP header
  std::size_t rest_bytes = 0;
  std::size_t padding = 0;    ///< to come behind the rest
  std::size_t extension = 0;  ///< of RFC 4884
  std::size_t extension_bytes = 0;
};

constexpr std::size_t least_before_extension = 128;  // RFC 4884 §4

/// The length attribute counts words of `unit` bytes. One that is wrong means nothing: older messages have anything in its place.
ErrorParts parts_of(const Headers& error, std::size_t attribute, std::size_t unit) noexcept {
  ErrorParts parts;
  parts.quote = error.transport + icmp_header_bytes;
  parts.extension = error.length;
  const auto before_extension = attribute * unit;
  if (before_extension < least_before_extension || before_extension >= error.length - parts.quote) return parts;
  parts.extension = parts.quote + before_extension;
  parts.extension_bytes = error.length - parts.extension;
  return parts;
}

/// Puts the parts one behind the other and begins `front` bytes before them. Padding is there only with an extension behind it, and only
/// where the headers become shorter by more than it takes.
bool has_room(const PacketBytes& packet, const ErrorParts& parts, std::size_t front) noexcept {
  return packet.headroom + parts.rest >= front + parts.padding;
}
void put_together(PacketBytes& packet, const ErrorParts& parts, std::size_t front) noexcept {
  auto* const rest = packet.begin + parts.rest - parts.padding;
  if (parts.padding != 0) {
    std::memmove(rest, packet.begin + parts.rest, parts.rest_bytes);
    std::memset(rest + parts.rest_bytes, 0, parts.padding);
  }
  auto* const behind = rest + parts.rest_bytes + parts.padding;
  std::memmove(behind, packet.begin + parts.extension, parts.extension_bytes);
  auto* const begin = rest - front;
  packet.headroom = static_cast<std::size_t>(begin - (packet.begin - packet.headroom));
  packet.length = static_cast<std::size_t>(behind + parts.extension_bytes - begin);
  packet.begin = begin;
}

void write_error_header(std::uint8_t* icmp, const ErrorHeader& header) noexcept {
  icmp[0] = header.type;
  icmp[1] = header.code;
  store16(icmp + 2, 0);
  store32(icmp + 4, header.rest);
}

Translated translate_error(PacketBytes& packet, const Datagram& error, const ToV6& to) noexcept {
  const Bytes bytes{packet.begin, error.headers.length};
  const auto* const icmp = bytes.data() + error.headers.transport;
  auto parts = parts_of(error.headers, icmp[5], 4);
  const auto quoted = read_v4(bytes.subspan(parts.quote, parts.extension - parts.quote), Extent::quoted);
  if (const auto wrong = check_quoted(quoted); wrong != Translation::done) return {wrong};
  const auto header = error_to_v6(icmp, quoted.headers.length, to);
  if (!header.is_known) return {Translation::unsupported};
  if (!is_icmp_checksum_right(bytes, error.headers)) return {Translation::checksum};

  const auto inner = v6_headers(quoted);
  const auto front = v6_header_bytes + icmp_header_bytes + inner;
  parts.rest = parts.quote + quoted.headers.transport;
  parts.rest_bytes = parts.extension - parts.rest;
  // The attribute counts eight bytes there; what is cut is less than the headers have grown by.
  const auto whole = (inner + parts.rest_bytes) & ~std::size_t{7};
  if (!header.may_have_extension || v6_header_bytes + icmp_header_bytes + whole + parts.extension_bytes > least_v6_mtu)
    parts.extension_bytes = 0;  // half of it would be worth nothing
  if (parts.extension_bytes != 0) parts.rest_bytes = whole - inner;
  parts.rest_bytes = std::min(parts.rest_bytes, least_v6_mtu - front);
  if (!has_room(packet, parts, front)) return {Translation::headroom};

  auto* const ip = packet.begin + parts.quote;
  change_transport({packet.begin + parts.rest, std::min(parts.rest_bytes, quoted.transport_bytes())}, quoted,
                   change_of(addresses_of(ip, quoted.headers), to.quoted));
  put_together(packet, parts, front);
  auto* const message = packet.begin + v6_header_bytes;
  const auto message_bytes = packet.length - v6_header_bytes;
  write_v6(packet.begin + front - inner, quoted, quoted.transport_bytes(), to.quoted);
  write_error_header(message, header);
  if (parts.extension_bytes != 0) message[4] = static_cast<std::uint8_t>(whole / 8);
  write_v6(packet.begin, error, message_bytes, to.packet);
  ChecksumSum sum;
  sum.add({packet.begin + 8, 32});
  sum.add32(static_cast<std::uint32_t>(message_bytes));
  sum.add16(protocol_icmpv6);
  sum.add({message, message_bytes});
  store16(message + 2, sum.finish());
  return {};
}

Translated translate_error(PacketBytes& packet, const Datagram& error, const ToV4& to) noexcept {
  const Bytes bytes{packet.begin, error.headers.length};
  const auto* const icmp = bytes.data() + error.headers.transport;
  const bool has_attribute = icmp[0] == 1 || icmp[0] == 3;
  auto parts = parts_of(error.headers, has_attribute ? icmp[4] : 0, 8);
  const auto quoted = read_v6(bytes.subspan(parts.quote, parts.extension - parts.quote), Extent::quoted);
  if (const auto wrong = check_quoted(quoted); wrong != Translation::done) return {wrong};
  const auto header = error_to_v4(icmp, to);
  if (!header.is_known) return {Translation::unsupported};
  if (!is_icmp_checksum_right(bytes, error.headers)) return {Translation::checksum};

  const auto inner = v4_header_bytes;
  const auto front = v4_header_bytes + icmp_header_bytes + inner;
  parts.rest = parts.quote + quoted.headers.transport;
  parts.rest_bytes = parts.extension - parts.rest;
  if (parts.extension_bytes != 0) {
    // Not less than RFC 4884 wants, nor more than the attribute can say.
    parts.rest_bytes = std::min(parts.rest_bytes, std::size_t{255 * 4} - inner);
    const auto quote = inner + parts.rest_bytes;
    parts.padding = quote < least_before_extension ? least_before_extension - quote : 0;
  }

  auto* const ip = packet.begin + parts.quote;
  change_transport({packet.begin + parts.rest, std::min(parts.rest_bytes, quoted.transport_bytes())}, quoted,
                   change_of(addresses_of(ip, quoted.headers), to.quoted));
  put_together(packet, parts, front);
  auto* const message = packet.begin + v4_header_bytes;
  const auto message_bytes = packet.length - v4_header_bytes;
  write_v4(packet.begin + front - inner, quoted, quoted.transport_bytes(), to.quoted, 0);
  write_error_header(message, header);
  if (parts.extension_bytes != 0)
    message[5] = static_cast<std::uint8_t>((inner + parts.rest_bytes + parts.padding) / 4);
  write_v4(packet.begin, error, message_bytes, to.packet, to.identification);
  ChecksumSum sum;
  sum.add({message, message_bytes});
  store16(message + 2, sum.finish());
  return {};
}

/// The new header, of `front` bytes, ends where the transport begins.
void replace_front(PacketBytes& packet, const Datagram& from, std::size_t front) noexcept {
  auto* const begin = packet.begin + from.headers.transport - front;
  packet.headroom = static_cast<std::size_t>(begin - (packet.begin - packet.headroom));
  packet.length = front + from.near_transport_bytes();
  packet.begin = begin;
}

/// Bytes before the address that do not belong to it: RFC 6052 §2.2 keeps the ninth one out.
constexpr std::size_t reserved_byte = 8;

bool is_prefix_length(unsigned length) noexcept {
  return length == 96 || (length >= 32 && length <= 64 && length % 8 == 0);
}

}  // namespace

std::optional<V6Address> embed(const V6Address& prefix, unsigned length, const V4Address& address) noexcept {
  if (!is_prefix_length(length) || (length == 96 && prefix[reserved_byte] != 0)) return std::nullopt;
  V6Address made{};
  std::size_t at = length / 8;
  std::copy_n(prefix.begin(), at, made.begin());
  for (const auto byte : address) {
    if (at == reserved_byte) ++at;
    made[at++] = byte;
  }
  return made;
}

std::optional<V4Address> extract(const V6Address& address, unsigned length) noexcept {
  if (!is_prefix_length(length)) return std::nullopt;
  V4Address found{};
  std::size_t at = length / 8;
  for (auto& byte : found) {
    if (at == reserved_byte) ++at;
    byte = address[at++];
  }
  return found;
}

Translated translate(PacketBytes& packet, const ToV4& to) noexcept {
  auto from = read_v6({packet.begin, packet.length}, Extent::whole, packet.beyond);
  from.has_pseudo_sum_only = packet.has_pseudo_sum_only;
  if (const auto wrong = check(from); wrong != Translation::done) return {wrong, from.wrong.pointer};
  if (is_icmp_error(from.headers)) return translate_error(packet, from, to);
  if (is_icmp(from.headers) && !is_echo(from.headers)) return {Translation::unsupported};
  if (is_piece_of_sctp(from, to.packet)) return {Translation::unsupported};

  change_transport({packet.begin + from.headers.transport, from.near_transport_bytes()}, from,
                   change_of(addresses_of(packet.begin, from.headers), to.packet));
  replace_front(packet, from, v4_header_bytes);
  write_v4(packet.begin, from, from.transport_bytes(), to.packet, to.identification);
  return {};
}

Translated translate(PacketBytes& packet, const ToV6& to) noexcept {
  auto from = read_v4({packet.begin, packet.length}, Extent::whole, packet.beyond);
  from.has_pseudo_sum_only = packet.has_pseudo_sum_only;
  if (const auto wrong = check(from); wrong != Translation::done) return {wrong};
  if (is_icmp_error(from.headers)) return translate_error(packet, from, to);
  if (is_icmp(from.headers) && !is_echo(from.headers)) return {Translation::unsupported};
  if (is_piece_of_sctp(from, to.packet)) return {Translation::unsupported};

  auto* const transport = packet.begin + from.headers.transport;
  const bool has_no_checksum = !from.has_pseudo_sum_only && is_udp_without_checksum(transport, from.headers);
  if (has_no_checksum && (to.udp == ZeroChecksum::refuse || from.headers.is_fragment || from.beyond != 0))
    return {Translation::udp_checksum};
  const auto front = v6_headers(from);
  if (packet.headroom + from.headers.transport < front) return {Translation::headroom};

  change_transport({transport, from.near_transport_bytes()}, from,
                   change_of(addresses_of(packet.begin, from.headers), to.packet));
  if (has_no_checksum) make_udp_checksum(transport, to.packet);
  replace_front(packet, from, front);
  write_v6(packet.begin, from, from.transport_bytes(), to.packet);
  return {};
}

}  // namespace ironcore::network::dataplane
