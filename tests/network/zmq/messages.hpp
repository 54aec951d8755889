// SPDX-License-Identifier: Apache-2.0
// One example of every message of a dataplane, with something in every field; for the golden files and as the first corpus of the fuzzer.
#pragma once

#include <string>
#include <string_view>

#include "../../wire_messages.hpp"
#include "wire.hpp"

namespace ironcore::test {

template <class Each>
void for_each_dataplane_message(Each each) {
  using namespace network::zmq;
  const auto one = [&](const std::string& name, const auto& record) { one_message(each, name, record); };
  constexpr std::string_view key = R"({"delete":"Interface","id":"web-1"})";
  constexpr std::string_view list = R"([{"kind":"Interface","id":"web-1","port":"web-1","vni":100,"ipv4":"10.0.0.1"}])";
  const PortSpecRecord spec{"web-1", "tap:web1", 1500, "02:00:00:00:00:0a"};
  const PortRecord port{spec, 3, "02:00:00:00:00:0b", true, 11, 1100, 22, 2200, 33, 44, 55};
  const CaptureSpecRecord capture_spec{.id = "dns",
                                       .ports = {"web-1", "up0"},
                                       .direction = "both",
                                       .filter = "udp port 53",
                                       .snap_length = 128,
                                       .sink = "udp",
                                       .format = "vxlan",
                                       .target = "192.0.2.7",
                                       .replaces = true,
                                       .port = 4789,
                                       .vni = 7,
                                       .most_packets = 1000,
                                       .most_bytes = 1'000'000};
  const CaptureRecord capture{capture_spec, "ended", "1000 packets are there", 1002, 1000, 2, 99'000};

  one("hello", HelloRequest{});
  one("hello_reply", HelloReply{"metalnetd 0.1.0", 0x0102030405060708, 1234, 2});
  one("apply", ApplyRequest{list});
  one("apply_reply", ApplyReply{1235});
  one("list", ListRequest{"Interface", 500, key, true});
  one("list_reply", ListReply{1235, true, list});
  one("vnis", VnisRequest{500, false, 99});
  one("vnis_reply", VnisReply{1235, true, {{100, {{"interfaces", 2}, {"routes_v4", 1000}}}, {0xff'ffff, {}}}});
  one("watch", WatchRequest{1234, 1000});
  one("watch_reply", WatchReply{{{1235, list}, {1236, list}}});
  one("counters", CountersRequest{});
  one("counters_reply", CountersReply{.packets = {{"none", 100}, {"ingress_rule", 2}},
                                      .fast_path = 90,
                                      .slow_path = 12,
                                      .stages = {{"sender", 11, 1}, {"ingress_rules", 10, 2}},
                                      .rechecks_kept = 4,
                                      .rechecks_ended = 1,
                                      .answers = 7,
                                      .services = {{"arp", 5}, {"dhcpv4", 2}},
                                      .icmp_errors = 3,
                                      .connections_opened = 8,
                                      .connections_expired = 2,
                                      .connections = 5,
                                      .connection_room = 1'000'000,
                                      .most_connections = 4,
                                      .least_burst_ns = 256,
                                      .bursts = {1, 20, 3},
                                      .bursts_ns = 9000,
                                      .interfaces = {{"web-1", 1, 100, 2, 200, 3, 4, "02:00:00:00:00:0a", true}}});
  one("offload", OffloadRequest{});
  one("offload_reply", OffloadReply{true, {{"connections", 5}, {"packets", 1'000'000}}, {{"full", 2}, {"failed", 1}}});
  one("usage", UsageRequest{});
  one("usage_reply",
      UsageReply{.resources = {{"fragments", "", {{1, 16'384}}}, {"nat_tcp", "web-1", {{3, 512}, {4, 511}}}},
                 .interfaces = {{"web-1", {{"egress", "green", 5, 600}, {"egress", "red", 7, 800}}}},
                 .objects = {{"Interface", 2}, {"FirewallRule", 900}}});
  one("open_port", OpenPortRequest{spec});
  one("open_port_reply", OpenPortReply{port});
  one("close_port", ClosePortRequest{"web-1"});
  one("close_port_reply", ClosePortReply{});
  one("ports", PortsRequest{});
  one("ports_reply", PortsReply{{port, port}});
  one("explain", ExplainRequest{"web-1", 1, std::string_view("\x02\x00\x00\x00\x00\x0a", 6)});
  one("explain_reply",
      ExplainReply{
          {{"route", "no route"}, {"dropped", "route"}}, "route", 3, std::string_view("\x02\x00\x00\x00\x00\x0b", 6)});
  one("start_capture", StartCaptureRequest{capture_spec});
  one("start_capture_reply", StartCaptureReply{capture});
  one("stop_capture", StopCaptureRequest{"dns"});
  one("stop_capture_reply", StopCaptureReply{capture});
  one("captures", CapturesRequest{});
  one("captures_reply", CapturesReply{{capture, capture}});
  one("read_capture", ReadCaptureRequest{"dns", 0x0102030405060708});
  one("read_capture_reply", ReadCaptureReply{std::string_view("\x0a\x0d\x0d\x0a", 4), true});
}

}  // namespace ironcore::test
