// SPDX-License-Identifier: Apache-2.0
// Where captured frames go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/network/capture.hpp"

namespace ironcore::network::dataplane {

/// Encoded frames.
struct CaptureBatch {
  std::string bytes;
  std::vector<std::size_t> ends;  ///< of each frame in `bytes`
  void clear() noexcept {
    bytes.clear();
    ends.clear();
  }
};
/// A batch gets no frame more when it has so many bytes; a frame may be as long as that.
inline constexpr std::size_t capture_batch_bytes = 64 * 1024;
inline constexpr std::size_t longest_capture_batch = capture_batch_bytes + 512 * 1024;

/// Thread: one, but for `read`.
class CaptureSink {
 public:
  struct Taken {
    std::size_t frames = 0;
    std::size_t bytes = 0;
  };
  virtual ~CaptureSink() = default;
  /// Whether it takes a batch now.
  virtual bool is_ready() const noexcept { return true; }
  /// What it did not take is lost. After an error it is not used any more.
  virtual Result<Taken> put(const CaptureBatch& batch) = 0;
};

/// Makes a file of mode 0600, with its beginning; nothing is there after an error.
Result<std::unique_ptr<CaptureSink>> create_file_sink(const std::string& directory, const CaptureFile& file,
                                                      std::string_view beginning);

/// Never waits. `unavailable` if this host has no way there.
Result<std::unique_ptr<CaptureSink>> create_udp_sink(const CaptureUdp& udp);

class CaptureStreamSink : public CaptureSink {
 public:
  static constexpr std::size_t room = 4 * 1024 * 1024;
  static constexpr std::size_t chunk = 1024 * 1024;
  /// What follows on `offset`, up to `chunk`; what is before it is forgotten. `gone` if it was so already; `invalid` if it is still to come. Thread: any.
  virtual Result<std::string> read(std::uint64_t offset) = 0;
};
std::unique_ptr<CaptureStreamSink> create_stream_sink(std::string_view beginning);

}  // namespace ironcore::network::dataplane
