// SPDX-License-Identifier: Apache-2.0
// Captures: copies of frames as they come to ports and leave them, in a file, as datagrams, or read by somebody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/vni.hpp"

namespace ironcore::network {

/// Seen from the dataplane: `in` = came from a port, before anything was done to it; `out` = is about to leave by it.
enum class CaptureDirection : std::uint8_t { both, in, out };
std::string_view name(CaptureDirection direction) noexcept;

/// What tools read. pcapng says the port and the direction of each frame, pcap neither.
enum class CaptureFormat : std::uint8_t { pcapng, pcap };
std::string_view name(CaptureFormat format) noexcept;

/// A file of mode 0600 in the directory of captures. It never grows beyond `CaptureSettings::most_file_bytes`.
struct CaptureFile {
  enum class Existing : std::uint8_t { refuse, replace };
  std::string name;  ///< 1 to 128 letters, digits, `.`, `-`, `_`; not with `.` at the front
  CaptureFormat format = CaptureFormat::pcapng;
  Existing existing = Existing::refuse;
  friend bool operator==(const CaptureFile&, const CaptureFile&) = default;
};

/// One datagram of the kernel for each frame. Those that cannot be sent at once are lost; datagrams to this place are never captured themselves,
/// if there is a filter compiler.
struct CaptureUdp {
  enum class Encapsulation : std::uint8_t {
    vxlan,  ///< RFC 7348: tcpdump and Wireshark read it on port 4789, and a vxlan device of the kernel takes it off
    plain,  ///< the frame and nothing else, as dpservice does
  };
  IpAddress address;
  std::uint16_t port = 4789;
  Encapsulation encapsulation = Encapsulation::vxlan;
  std::uint32_t vni = 0;  ///< of vxlan: tells captures apart
  friend bool operator==(const CaptureUdp&, const CaptureUdp&) = default;
};
std::string_view name(CaptureUdp::Encapsulation encapsulation) noexcept;

/// Kept in memory, 4 MiB at most, for `Dataplane::read_capture`. It ends when nobody has read for 10 seconds.
struct CaptureStream {
  CaptureFormat format = CaptureFormat::pcapng;
  friend bool operator==(const CaptureStream&, const CaptureStream&) = default;
};

inline constexpr std::uint32_t least_snap_length = 64;
inline constexpr std::uint32_t most_snap_length = 262'144;
inline constexpr std::uint32_t most_capture_vni = 0xff'ffff;

struct CaptureSpec {
  std::string id;                  ///< 1 to 63 letters, digits, `-` and `_`
  std::vector<std::string> ports;  ///< that are there, at most 256; empty = all, also those that come later
  CaptureDirection direction = CaptureDirection::both;
  std::string
      filter;  ///< pcap-filter(7), at most 1,024 bytes; empty = every frame. Names are not looked up, but those of services
  std::uint32_t snap_length = most_snap_length;  ///< bytes of a frame that are kept
  std::variant<CaptureFile, CaptureUdp, CaptureStream> sink;
  std::uint64_t most_packets = 0;  ///< then it ends; 0 = no limit
  std::uint64_t most_bytes = 0;    ///< of what is written, headers of the format included; 0 = no limit
  friend bool operator==(const CaptureSpec&, const CaptureSpec&) = default;
};

/// What is wrong with it, as far as it can be told without a dataplane; `invalid` names the fields.
Result<void> check(const CaptureSpec& spec);

struct CaptureState {
  enum class Phase : std::uint8_t { running, ended, failed };
  CaptureSpec spec;
  Phase phase = Phase::running;
  std::string reason;         ///< why it does not run any more
  std::uint64_t seen = 0;     ///< frames that match
  std::uint64_t written = 0;  ///< of these
  std::uint64_t lost =
      0;  ///< of these: there was no room, or the sink did not take them; not those on their way when it ended
  std::uint64_t bytes = 0;  ///< written, headers of the format included
  friend bool operator==(const CaptureState&, const CaptureState&) = default;
};
std::string_view name(CaptureState::Phase phase) noexcept;

/// What follows in a `CaptureStream`.
struct CaptureChunk {
  std::string bytes;
  bool is_last = false;  ///< nothing will follow
};

/// Thread: any.
class CaptureFilter {
 public:
  virtual ~CaptureFilter() = default;
  /// `bytes` are the front of a frame of `frame_bytes`. In bounded time.
  virtual bool matches(std::span<const std::uint8_t> bytes, std::uint32_t frame_bytes) const noexcept = 0;
};
/// `invalid` says what is wrong with the text, which may be hostile.
using CompileFilter = std::function<Result<std::unique_ptr<const CaptureFilter>>(const std::string& text)>;

struct CaptureSettings {
  std::string directory;  ///< of files, on a local disk; empty = none can be written
  CompileFilter compile;  ///< empty = captures have no filter; `pcap::compile_filter`
  std::size_t ring_bytes =
      1024 * 1024;  ///< for each worker in each capture, between it and who writes; a power of two from 64 KiB to 1 GiB
  std::uint64_t most_file_bytes = 1024ULL * 1024 * 1024;  ///< of one file
};

/// That there can be at a time; those that have ended count until they are stopped.
inline constexpr std::size_t most_captures = 16;

}  // namespace ironcore::network
