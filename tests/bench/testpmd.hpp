// SPDX-License-Identifier: Apache-2.0
// The peer of all rates: dpdk-testpmd, which reads the same capture file and throws away what it read.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "figures.hpp"

namespace ironcore::bench {

using Frame = std::vector<std::uint8_t>;

/// Gone when the program ends in order.
class CaptureFile {
 public:
  CaptureFile(std::uint32_t frames, const std::function<Frame(std::uint32_t number)>& frame_of) {
    char name[] = "/tmp/ironcore_bench.XXXXXX";
    const int fd = ::mkstemp(name);
    if (fd < 0) fail("cannot make a file in /tmp");
    ::close(fd);
    path_ = name;
    std::ofstream file(path_, std::ios::binary);
    const auto put = [&](const auto& value) { file.write(reinterpret_cast<const char*>(&value), sizeof value); };
    for (const std::uint32_t word : {0xa1b2c3d4U, 0x00040002U, 0U, 0U, 65535U, 1U}) put(word);
    for (std::uint32_t i = 0; i < frames; ++i) {
      const Frame frame = frame_of(i);
      const auto bytes = static_cast<std::uint32_t>(frame.size());
      for (const std::uint32_t word : {0U, 0U, bytes, bytes}) put(word);
      file.write(reinterpret_cast<const char*>(frame.data()), bytes);
    }
  }
  ~CaptureFile() { ::unlink(path_.c_str()); }
  CaptureFile(const CaptureFile&) = delete;
  CaptureFile& operator=(const CaptureFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Where testpmd throws away what it read: a null device that gives it packets in return, as it does unless it is told otherwise, so that testpmd moves
/// as many in the other direction; or one that gives it nothing.
enum class Sink : bool { both_ways, one_way };

/// The median of what testpmd says each second that it reads from the file, in packets a second; 0 if it is not there.
inline double testpmd(const std::string& file, int seconds, Sink sink, std::uint32_t buffers = 131'072,
                      int memory_mib = 1024) {
  const std::string prefix = "bench-testpmd-" + std::to_string(::getpid());
  // It begins after some time, with many buffers a long one.
  const int until = seconds + 6 + static_cast<int>(buffers / 50'000);
  const auto command = "timeout " + std::to_string(until) + " dpdk-testpmd --no-huge --no-shconf -m " +
                       std::to_string(memory_mib) + " --no-pci --no-telemetry --file-prefix=" + prefix +
                       " -l 0,1 --vdev=net_pcap0,rx_pcap=" + file + ",infinite_rx=1 --vdev=net_null0" +
                       (sink == Sink::one_way ? ",no-rx=1" : "") +
                       " -- --forward-mode=io --auto-start --total-num-mbufs=" + std::to_string(buffers) +
                       " --stats-period=1 --no-mlockall 2>/dev/null </dev/null";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return 0;
  std::vector<double> rates;
  std::array<char, 512> line;
  bool is_file = false;  // the first port
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) {
    if (std::strstr(line.data(), "NIC statistics for port") != nullptr)
      is_file = std::strstr(line.data(), "port 0") != nullptr;
    const char* at = std::strstr(line.data(), "Rx-pps:");
    if (at == nullptr || !is_file) continue;
    if (const double rate = std::strtod(at + 7, nullptr); rate > 0) rates.push_back(rate);
  }
  ::pclose(pipe);
  ::rmdir(("/var/run/dpdk/" + prefix).c_str());
  if (rates.empty()) return 0;
  std::nth_element(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace ironcore::bench
