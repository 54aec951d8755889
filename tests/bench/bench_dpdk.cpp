// SPDX-License-Identifier: Apache-2.0
// What ports on DPDK cost: packets from a repeated capture file to nowhere, beside dpdk-testpmd on the same devices, and a worker that has nothing to do.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "figures.hpp"
#include "ironcore/network/dpdk.hpp"
#include "testpmd.hpp"

using namespace ironcore;
using namespace ironcore::network;
using bench::must;
using Clock_ = std::chrono::steady_clock;

namespace {

double seconds_since(Clock_::time_point start) {
  return std::chrono::duration<double>(Clock_::now() - start).count();
}

/// So many UDP packets of 64 bytes, each of a flow of its own.
bench::Frame frame_of(std::uint32_t number) {
  bench::Frame frame{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17};
  frame.resize(60);
  std::memcpy(&frame[26], &number, 4);
  return frame;
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
    const bench::CaptureFile file(flows, frame_of);
    auto ports = must(dpdk::create_ports(*eal, {.buffers = 131'072}, log));
    const auto from =
        must(ports->open({.name = "in", .device = "pcap:rx=" + file.path() + ",infinite_rx=1", .mac = {}})).number;
    const auto to = must(ports->open({.name = "out", .device = "null", .mac = {}})).number;
    const double ours = forward(*ports, from, to, seconds);
    const double bound = bench::testpmd(file.path(), seconds, bench::Sink::one_way);
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
