// SPDX-License-Identifier: Apache-2.0
// Words are looked at before libpcap sees them: it would ask the DNS for any that it does not know.
#include <pcap/pcap.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/network/pcap.hpp"

namespace ironcore::network::pcap {

namespace {

constexpr std::size_t longest_text = 1536;
constexpr unsigned most_instructions = 1000;
constexpr int snap_length = 262'144;

/// Of pcap-filter(7) in libpcap 1.10, sorted; without those of other links, of interfaces, and `protochain`.
constexpr auto keywords = std::to_array<std::string_view>({
    "ah",
    "and",
    "arp",
    "broadcast",
    "carp",
    "dst",
    "esp",
    "ether",
    "geneve",
    "greater",
    "host",
    "icmp",
    "icmp-echo",
    "icmp-echoreply",
    "icmp-ireq",
    "icmp-ireqreply",
    "icmp-maskreply",
    "icmp-maskreq",
    "icmp-paramprob",
    "icmp-redirect",
    "icmp-routeradvert",
    "icmp-routersolicit",
    "icmp-sourcequench",
    "icmp-timxceed",
    "icmp-tstamp",
    "icmp-tstampreply",
    "icmp-unreach",
    "icmp6",
    "icmp6-destinationunreach",
    "icmp6-echo",
    "icmp6-echoreply",
    "icmp6-multicastlistenerdone",
    "icmp6-multicastlistenerquery",
    "icmp6-multicastlistenerreportv1",
    "icmp6-multicastlistenerreportv2",
    "icmp6-neighboradvert",
    "icmp6-neighborsolicit",
    "icmp6-packettoobig",
    "icmp6-parameterproblem",
    "icmp6-redirect",
    "icmp6-routeradvert",
    "icmp6-routersolicit",
    "icmp6-timeexceeded",
    "icmp6code",
    "icmp6type",
    "icmpcode",
    "icmptype",
    "igmp",
    "igrp",
    "ip",
    "ip6",
    "len",
    "length",
    "less",
    "link",
    "llc",
    "mask",
    "mpls",
    "multicast",
    "net",
    "not",
    "or",
    "pim",
    "port",
    "portrange",
    "pppoed",
    "pppoes",
    "proto",
    "rarp",
    "sctp",
    "src",
    "stp",
    "tcp",
    "tcp-ack",
    "tcp-cwr",
    "tcp-ece",
    "tcp-fin",
    "tcp-push",
    "tcp-rst",
    "tcp-syn",
    "tcp-urg",
    "tcpflags",
    "udp",
    "vlan",
    "vrrp",
});
static_assert(std::is_sorted(keywords.begin(), keywords.end()));

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool is_of_word(char c) {
  return is_digit(c) || is_letter(c) || c == '_' || c == '.' || c == ':' || c == '-';
}

bool is_decimal(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}
bool is_number(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
      return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    });
  }
  return is_decimal(text);
}
/// All parts between the separators, of which there are `most` at most.
template <class Is>
bool are_all(std::string_view text, char separator, std::size_t most, Is is) {
  for (std::size_t parts = 1;; ++parts) {
    const auto at = text.find(separator);
    if (parts > most || !is(text.substr(0, at))) return false;
    if (at == std::string_view::npos) return true;
    text.remove_prefix(at + 1);
  }
}

/// `10`, `10.0.0.1`, `fe80::1`, `02:00:00:00:00:01`, `0:4` in brackets; whatever else starts with a digit may be a host's name.
bool is_value(std::string_view word) {
  if (word.find(':') != std::string_view::npos)
    return IpAddress::parse(word).has_value() || MacAddress::parse(word).has_value() ||
           are_all(word, ':', 2, is_number);
  if (word.find('.') != std::string_view::npos) return are_all(word, '.', 4, is_decimal);
  return is_number(word);
}

Result<void> check_words(std::string_view text) {
  std::string_view before;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '\\') {
      // The name of a protocol that is a keyword as well; after anything but `proto` it would be looked up.
      if (before != "proto")
        return Error(ErrorCode::invalid, "\\ is for names of protocols behind `proto`: `ip proto \\tcp`");
    } else if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > '~') {
      if (c != ' ' && c != '\t' && c != '\n') return Error(ErrorCode::invalid, "a filter is made of ASCII text");
    }
    if (!is_of_word(c) || c == '-') {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && is_of_word(text[end])) ++end;
    const auto word = text.substr(at, end - at);
    const bool is_escaped = at > 0 && text[at - 1] == '\\';
    const bool is_service =
        before == "port" && is_letter(word.front()) &&
        std::all_of(word.begin(), word.end(), [](char one) { return is_letter(one) || is_digit(one) || one == '-'; });
    const bool is_range = before == "portrange" && are_all(word, '-', 2, is_decimal);
    if (!std::binary_search(keywords.begin(), keywords.end(), word) && !is_service && !is_range && !is_value(word))
      return Error(ErrorCode::invalid,
                   in_quotes(word) +
                       " is no word of a filter, no number and no address: names are not looked up, and - is "
                       "written with blanks around it");
    before = is_escaped || is_service ? std::string_view() : word;
    at = end;
  }
  return {};
}

struct Program {
  bpf_program code{};
  Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { ::pcap_freecode(&code); }
};

class BpfFilter final : public CaptureFilter {
 public:
  explicit BpfFilter(std::unique_ptr<const Program> program) : program_(std::move(program)) {}
  bool matches(std::span<const std::uint8_t> bytes, std::uint32_t frame_bytes) const noexcept override {
    return ::bpf_filter(program_->code.bf_insns, bytes.data(), frame_bytes, static_cast<unsigned>(bytes.size())) != 0;
  }

 private:
  std::unique_ptr<const Program> program_;
};

}  // namespace

Result<std::unique_ptr<const CaptureFilter>> compile_filter(const std::string& text) {
  if (text.size() > longest_text) return Error(ErrorCode::exhausted, "a filter has at most 1536 bytes");
  if (text.find('\0') != std::string::npos) return Error(ErrorCode::invalid, "a filter is made of ASCII text");
  IRONCORE_CHECK(check_words(text));
  const std::unique_ptr<::pcap_t, decltype(&::pcap_close)> handle(::pcap_open_dead(DLT_EN10MB, snap_length),
                                                                  &::pcap_close);
  if (!handle) return Error(ErrorCode::exhausted, "there is no memory for a filter");
  auto program = std::make_unique<Program>();
  if (::pcap_compile(handle.get(), &program->code, text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0)
    return Error(ErrorCode::invalid, std::string(::pcap_geterr(handle.get())) + ": see pcap-filter(7)");
  if (program->code.bf_len > most_instructions)
    return Error(ErrorCode::exhausted, "the filter has " + std::to_string(program->code.bf_len) +
                                           " instructions, at most " + std::to_string(most_instructions) +
                                           " are run for each frame: make it simpler");
  return std::unique_ptr<const CaptureFilter>(std::make_unique<BpfFilter>(std::move(program)));
}

}  // namespace ironcore::network::pcap
