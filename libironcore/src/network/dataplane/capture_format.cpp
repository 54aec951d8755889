// SPDX-License-Identifier: Apache-2.0
// Numbers in files are those of this machine: both formats say which order they have.
#include "capture_format.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint16_t ethernet = 1;  ///< LINKTYPE_ETHERNET
constexpr std::uint64_t second = 1'000'000'000;

template <class Number>
void put(std::string& out, Number number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof(number));
}
void pad(std::string& out, std::size_t bytes) {
  out.append((4 - bytes % 4) % 4, '\0');
}

// ---- pcapng ------------------------------------------------------------------------------------------------------------

enum Block : std::uint32_t { section_header = 0x0a0d0d0a, interface_description = 1, enhanced_packet = 6 };
enum Option : std::uint16_t { end_of_options = 0, epb_flags = 2, if_name = 2, shb_userappl = 4, if_tsresol = 9 };

void put_option(std::string& out, Option option, std::string_view value) {
  put<std::uint16_t>(out, option);
  put(out, static_cast<std::uint16_t>(value.size()));
  out += value;
  pad(out, value.size());
}

/// A block's length stands at both of its ends.
std::size_t begin_block(std::string& out, Block block) {
  const auto at = out.size();
  put<std::uint32_t>(out, block);
  put<std::uint32_t>(out, 0);
  return at;
}
void end_block(std::string& out, std::size_t at) {
  const auto bytes = static_cast<std::uint32_t>(out.size() - at + sizeof(std::uint32_t));
  put(out, bytes);
  out.replace(at + sizeof(std::uint32_t), sizeof(bytes), reinterpret_cast<const char*>(&bytes), sizeof(bytes));
}

}  // namespace

CaptureEncoder::CaptureEncoder(const CaptureSpec& spec, NameOf name_of)
    : snap_length_(spec.snap_length), name_of_(std::move(name_of)) {
  const auto form_of = [](CaptureFormat format) { return format == CaptureFormat::pcap ? Form::pcap : Form::pcapng; };
  if (const auto* file = std::get_if<CaptureFile>(&spec.sink)) form_ = form_of(file->format);
  if (const auto* stream = std::get_if<CaptureStream>(&spec.sink)) form_ = form_of(stream->format);
  if (const auto* udp = std::get_if<CaptureUdp>(&spec.sink)) {
    form_ = udp->encapsulation == CaptureUdp::Encapsulation::vxlan ? Form::vxlan : Form::plain;
    vni_ = udp->vni;
  }
}

std::string CaptureEncoder::beginning() {
  std::string out;
  if (form_ == Form::pcap) {
    put<std::uint32_t>(out, 0xa1b2'3c4d);  // with nanoseconds
    put<std::uint16_t>(out, 2);
    put<std::uint16_t>(out, 4);
    put<std::uint64_t>(out, 0);
    put(out, snap_length_);
    put<std::uint32_t>(out, ethernet);
  }
  if (form_ == Form::pcapng) {
    const auto block = begin_block(out, section_header);
    put<std::uint32_t>(out, 0x1a2b'3c4d);
    put<std::uint16_t>(out, 1);
    put<std::uint16_t>(out, 0);
    put<std::uint64_t>(out, UINT64_MAX);  // of unknown length
    put_option(out, shb_userappl, "libironcore");
    put_option(out, end_of_options, {});
    end_block(out, block);
    interface_of(out, 0);
  }
  return out;
}

void CaptureEncoder::add(std::string& out, const CaptureHead& head, std::span<const std::uint8_t> frame) {
  const std::string_view bytes(reinterpret_cast<const char*>(frame.data()), frame.size());
  switch (form_) {
    case Form::pcapng:
      add_pcapng(out, head, frame);
      return;
    case Form::pcap:
      put(out, static_cast<std::uint32_t>(head.time_ns / second));
      put(out, static_cast<std::uint32_t>(head.time_ns % second));
      put(out, head.bytes);
      put(out, head.frame_bytes);
      break;
    case Form::vxlan: {
      constexpr char has_vni = 0x08;
      const char header[] = {
          has_vni, 0, 0, 0, static_cast<char>(vni_ >> 16), static_cast<char>(vni_ >> 8), static_cast<char>(vni_), 0};
      out.append(header, sizeof(header));
      break;
    }
    case Form::plain:
      break;
  }
  out += bytes;
}

std::uint32_t CaptureEncoder::interface_of(std::string& out, std::uint32_t port) {
  constexpr std::uint32_t none = UINT32_MAX;
  if (interfaces_.size() <= port) interfaces_.resize(port + 1, none);
  if (interfaces_[port] != none) return interfaces_[port];
  interfaces_[port] = told_++;
  const auto block = begin_block(out, interface_description);
  put<std::uint16_t>(out, ethernet);
  put<std::uint16_t>(out, 0);
  put(out, snap_length_);
  put_option(out, if_name, name_of_(port));
  put_option(out, if_tsresol, "\x09");  // nanoseconds
  put_option(out, end_of_options, {});
  end_block(out, block);
  return interfaces_[port];
}

void CaptureEncoder::add_pcapng(std::string& out, const CaptureHead& head, std::span<const std::uint8_t> frame) {
  const auto interface = interface_of(out, head.port);
  const auto block = begin_block(out, enhanced_packet);
  put(out, interface);
  put(out, static_cast<std::uint32_t>(head.time_ns >> 32));
  put(out, static_cast<std::uint32_t>(head.time_ns));
  put(out, head.bytes);
  put(out, head.frame_bytes);
  out.append(reinterpret_cast<const char*>(frame.data()), frame.size());
  pad(out, frame.size());
  std::string flags;
  put<std::uint32_t>(flags, head.is_out != 0 ? 2 : 1);  // outbound, inbound
  put_option(out, epb_flags, flags);
  put_option(out, end_of_options, {});
  end_block(out, block);
}

}  // namespace ironcore::network::dataplane
