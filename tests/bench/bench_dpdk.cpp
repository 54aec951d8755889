// SPDX-License-Identifier: Apache-2.0
// What ports on DPDK cost: packets from a repeated capture file to nowhere, beside dpdk-testpmd on the same devices, and a worker that has nothing to do.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "figures.hpp"
#include "ironcore/network/dpdk.hpp"

using namespace ironcore;
using namespace ironcore::network;
using bench::must;
using Clock_ = std::chrono::steady_clock;

namespace {

double seconds_since(Clock_::time_point start) {
  return std::chrono::duration<double>(Clock_::now() - start).count();
}

/// Gone when the program ends in order.
class CaptureFile {
 public:
  /// So many UDP packets of 64 bytes, each of a flow of its own.
  explicit CaptureFile(std::uint32_t flows) {
    char name[] = "/tmp/bench_dpdk.XXXXXX";
    const int fd = ::mkstemp(name);
    if (fd < 0) bench::fail("cannot make a file in /tmp");
    ::close(fd);
    path_ = name;
    std::ofstream file(path_, std::ios::binary);
    const auto put = [&](const auto& value) { file.write(reinterpret_cast<const char*>(&value), sizeof value); };
    for (const std::uint32_t word : {0xa1b2c3d4U, 0x00040002U, 0U, 0U, 65535U, 1U}) put(word);
    for (std::uint32_t i = 0; i < flows; ++i) {
      for (const std::uint32_t word : {0U, 0U, 60U, 60U}) put(word);
      std::array<std::uint8_t, 60> frame{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17};
      std::memcpy(&frame[26], &i, 4);
      put(frame);
    }
  }
  ~CaptureFile() { ::unlink(path_.c_str()); }
  CaptureFile(const CaptureFile&) = delete;
  CaptureFile& operator=(const CaptureFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The median of what testpmd prints each second, in packets a second; 0 if it is not there.
double testpmd(const std::string& file, int seconds) {
  const auto command =
      "timeout " + std::to_string(seconds + 2) +
      " dpdk-testpmd --no-huge --no-shconf -m 1024 --no-pci --no-telemetry --file-prefix=bench-testpmd -l 0,1 "
      "--vdev=net_pcap0,rx_pcap=" +
      file +
      ",infinite_rx=1 --vdev=net_null0,no-rx=1 -- --forward-mode=io --auto-start --total-num-mbufs=131072 "
      "--burst=64 --stats-period=1 --no-mlockall 2>/dev/null </dev/null";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return 0;
  std::vector<double> rates;
  std::array<char, 512> line;
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) {
    const char* at = std::strstr(line.data(), "Rx-pps:");
    if (at == nullptr) continue;
    if (const double rate = std::strtod(at + 7, nullptr); rate > 0) rates.push_back(rate);
  }
  ::pclose(pipe);
  if (rates.empty()) return 0;
  std::nth_element(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2), rates.end());
  return rates[rates.size() / 2];
}

/// Packets a second of one worker.
double forward(Ports& ports, std::uint32_t from, std::uint32_t to, int seconds) {
  std::array<Packet, 64> packets;
  std::uint64_t count = 0;
  const auto start = Clock_::now();
  while (seconds_since(start) < seconds) {
    for (int burst = 0; burst < 256; ++burst) {
      ports.quiesce(0);
      const auto some = std::span(packets).first(ports.receive(from, 0, packets));
      for (auto& packet : some) packet.port = to;
      ports.send(0, some);
      count += some.size();
    }
  }
  ports.leave(0);
  return static_cast<double>(count) / seconds_since(start);
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Idle {
  const char* name;
  const char* inside;
  const char* outside;
  const char* beside;
};

/// What a worker costs that only waits at two ports, and how long after a pause a frame lies there before the worker has it.
void idle(dpdk::Eal& eal, Log& log, const Idle& kind) {
  auto ports = must(dpdk::create_ports(eal, {.buffers = 2048}, log));
  auto outside = must(dpdk::create_ports(eal, {.buffers = 2048}, log));
  must(ports->open({.name = "in", .device = kind.inside, .mac = {}}));
  const auto wire = must(outside->open({.name = "out", .device = kind.outside, .mac = {}})).number;
  must(ports->open({.name = "other", .device = kind.beside, .mac = {}}));
  std::atomic<Clock_::rep> came = 0;
  std::atomic<double> share = -1;
  std::atomic<bool> may_measure = false;
  std::jthread worker([&](std::stop_token stop) {
    std::array<Packet, 32> packets;
    Clock_::time_point start;
    double cpu = 0;
    bool is_measuring = false;
    while (!stop.stop_requested()) {
      ports->quiesce(0);
      std::size_t count = 0;
      for (const auto number : ports->polled(0)) {
        const auto some = std::span(packets).first(ports->receive(number, 0, packets));
        if (!some.empty()) came = Clock_::now().time_since_epoch().count();
        ports->release(some);
        count += some.size();
      }
      if (count == 0) ports->wait(0, 100'000'000);
      if (may_measure && !is_measuring) {
        is_measuring = true;
        start = Clock_::now();
        cpu = cpu_seconds();
      } else if (is_measuring && share < 0 && seconds_since(start) > 3) {
        share = (cpu_seconds() - cpu) / seconds_since(start);
      }
    }
    ports->leave(0);
  });
  while (!outside->list()[0].is_up || !ports->list()[0].is_up)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  outside->quiesce(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  may_measure = true;
  while (share < 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  std::vector<double> us;
  for (int i = 0; i < 300; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    came = 0;
    auto packet = *outside->allocate(0);
    packet.bytes = packet.frame_bytes = 64;
    packet.port = wire;
    const auto sent = Clock_::now().time_since_epoch().count();
    outside->send(0, {&packet, 1});
    while (came == 0) std::this_thread::yield();
    us.push_back(static_cast<double>(came - sent) / 1000);
  }
  outside->leave(0);
  std::sort(us.begin(), us.end());
  const auto params = std::string("\"ports\":\"") + kind.name + "\"";
  bench::print("dpdk.idle.cpu", share, "cores", params);
  bench::print("dpdk.idle.first_packet.p50", us[us.size() / 2], "us", params);
  bench::print("dpdk.idle.first_packet.p99", us[us.size() * 99 / 100], "us", params);
}

}  // namespace

int main(int argc, char** argv) {
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 5;
  if (seconds <= 0) bench::fail("usage: bench_dpdk [SECONDS]");
  NullLog log;
  const auto eal = must(dpdk::Eal::create({.memory_mib = 1024, .prefix = "bench"}, log), "DPDK");
  for (const std::uint32_t flows : {1U, 60'000U}) {
    const CaptureFile file(flows);
    auto ports = must(dpdk::create_ports(*eal, {.buffers = 131'072}, log));
    const auto from =
        must(ports->open({.name = "in", .device = "pcap:rx=" + file.path() + ",infinite_rx=1", .mac = {}})).number;
    const auto to = must(ports->open({.name = "out", .device = "null", .mac = {}})).number;
    const double ours = forward(*ports, from, to, seconds);
    const double bound = testpmd(file.path(), seconds);
    const auto params = "\"flows\":" + std::to_string(flows);
    bench::print("dpdk.forward", ours / 1e6, "Mpps", params);
    if (bound > 0) {
      bench::print("dpdk.forward.testpmd", bound / 1e6, "Mpps", params);
      bench::print("dpdk.forward.ratio", ours / bound, "", params);
    }
  }
  idle(*eal, log, {"ring and null", "ring:idle", "ring:idle", "null"});
  idle(*eal, log, {"two taps", "tap:bench-idle", "af_packet:bench-idle", "tap:bench-other"});
}
