// SPDX-License-Identifier: Apache-2.0
// One example of every message, with something in every field; for the golden files and as the first corpus of the fuzzer.
#pragma once

#include <string>
#include <string_view>

#include "../../wire_messages.hpp"
#include "wire.hpp"

namespace ironcore::test {

/// Calls `each(name, bytes, decode_and_encode)`; the last one turns bytes into a record of that message and back into bytes.
template <class Each>
void for_each_message(Each each) {
  using namespace store::zmq;
  const auto one = [&](const std::string& name, const auto& record) { one_message(each, name, record); };
  constexpr std::string_view machines = "machines.compute.ironcore.dev";
  constexpr std::string_view epoch = "0f8fad5b-d9cb-469f-a165-70867728950e";
  constexpr std::string_view json = R"({"apiVersion":"v1","kind":"Secret"})";
  const KeyRecord key{machines, "default", "web-1"};
  const QueryRecord query{machines, "default", "app=web", "spec.machinePoolRef.name=host-1"};
  const ErrorReply error{3, "machine default/web-1 already exists", {{"metadata.name", 4, "is taken"}}};
  const LeaseRecord lease{"scheduler", "host-1/4711", 42, 15'000'000'000, 7, true};

  one("hello", HelloRequest{"ironcorectl 0.1.0"});
  one("hello_reply", HelloReply{"ironcored 0.1.0", epoch, 0x0102030405060708, 1234, 1000, 7001, 7002});
  one("get", GetRequest{key});
  one("get_reply", GetReply{json});
  one("list", ListRequest{query, 500, "default/web-0"});
  one("list_reply", ListReply{epoch, 1234, "default/web-1", {json, json}});
  one("commit",
      CommitRequest{
          1,
          2,
          3,
          {{OperationType::create, {machines, "", ""}, json, PartType::object, 0, "", PropagationType::cascade},
           {OperationType::patch, key, R"({"status":{}})", PartType::status, 0, "", PropagationType::cascade},
           {OperationType::remove, key, "", PartType::object, 99, "uid-1", PropagationType::orphan}},
          {{PreconditionType::unchanged, key, 98}, {PreconditionType::holds_lease, {"", "", "scheduler"}, 42}}});
  one("commit_reply", CommitReply{1235, {{machines, json}}});
  one("changes", ChangesRequest{query, epoch, 1000, 100});
  one("changes_reply",
      ChangesReply{epoch, 1235, true, true, {{ChangeType::added, 1001, json}, {ChangeType::deleted, 1235, json}}});
  one("revision", RevisionRequest{});
  one("revision_reply", RevisionReply{1235});
  one("acquire_lease", AcquireLeaseRequest{"scheduler", "host-1/4711", 15'000'000'000});
  one("acquire_lease_reply", AcquireLeaseReply{lease});
  one("release_lease", ReleaseLeaseRequest{"scheduler", 42});
  one("release_lease_reply", ReleaseLeaseReply{});
  one("leases", LeasesRequest{"machinepool/"});
  one("leases_reply", LeasesReply{{lease, lease}});
  one("error", error);
  one("restarted", RestartedReply{0x0102030405060708});
  one("change", ChangeMessage{epoch, 1236, 1235, 1234, ChangeType::entered, true, "default", "web-1", json});
  one("bookmark", BookmarkMessage{epoch, 1236, 1235, 1236});
  one("heartbeat", HeartbeatMessage{epoch, 0x0102030405060708, 1236});
  one("grant_stream", GrantStreamRequest{key, "console"});
  one("grant_stream_reply", GrantStreamReply{0x1111111111111111, 0x2222222222222222});
  one("serve_streams", ServeStreams{machines, "host-1"});
  one("serve_streams_reply", ServeStreamsReply{0x0102030405060708});
  one("open_stream", OpenStream{0x1111111111111111, 0x2222222222222222, 65'536});
  one("offer_stream", OfferStream{key, "uid-1", "console", "alice", 65'536});
  one("accept_stream", AcceptStream{65'536});
  one("stream_data", StreamData{"login: "});
  one("stream_credit", StreamCredit{16'384});
  one("close_stream", CloseStream{error});
  one("ping", Ping{});
}

}  // namespace ironcore::test
