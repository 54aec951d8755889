// SPDX-License-Identifier: Apache-2.0
// Messages of a dataplane to bytes and back.
#include "wire.hpp"

#include "../../base/wire/records.hpp"

namespace ironcore::network::zmq {

// The order here is the order on the wire.
IRONCORE_WIRE(HelloRequest)
IRONCORE_WIRE(HelloReply, archive(record.program, record.instance, record.revision, record.workers))
IRONCORE_WIRE(ApplyRequest, archive(record.changes))
IRONCORE_WIRE(ApplyReply, archive(record.revision))
IRONCORE_WIRE(ListRequest, archive(record.kind, record.limit, record.after, record.is_exact))
IRONCORE_WIRE(ListReply, archive(record.revision, record.has_more, record.objects))
IRONCORE_WIRE(CountRecord, archive(record.what, record.count))
IRONCORE_WIRE(VnisRequest, archive(record.limit, record.is_first, record.after))
IRONCORE_WIRE(VniRecord, archive(record.vni, record.counts))
IRONCORE_WIRE(VnisReply, archive(record.revision, record.has_more, record.vnis))
IRONCORE_WIRE(WatchRequest, archive(record.after, record.limit))
IRONCORE_WIRE(BatchRecord, archive(record.revision, record.changes))
IRONCORE_WIRE(WatchReply, archive(record.batches))
IRONCORE_WIRE(CountersRequest)
IRONCORE_WIRE(StageRecord, archive(record.stage, record.reached, record.refused))
IRONCORE_WIRE(InterfaceRecord,
              archive(record.id, record.sent_packets, record.sent_bytes, record.received_packets, record.received_bytes,
                      record.dropped, record.icmp_errors, record.heard_mac, record.has_port))
IRONCORE_WIRE(CountersReply, archive(record.packets, record.fast_path, record.slow_path, record.stages,
                                     record.rechecks_kept, record.rechecks_ended, record.answers, record.services,
                                     record.icmp_errors, record.connections_opened, record.connections_expired,
                                     record.connections, record.connection_room, record.most_connections,
                                     record.least_burst_ns, record.bursts, record.bursts_ns, record.interfaces))
IRONCORE_WIRE(OffloadRequest)
IRONCORE_WIRE(OffloadReply, archive(record.is_there, record.counts, record.refused))
IRONCORE_WIRE(UsageRequest)
IRONCORE_WIRE(UsedRecord, archive(record.used, record.room))
IRONCORE_WIRE(ResourceRecord, archive(record.what, record.of, record.workers))
IRONCORE_WIRE(ColorRecord, archive(record.meter, record.color, record.packets, record.bytes))
IRONCORE_WIRE(MetersRecord, archive(record.id, record.meters))
IRONCORE_WIRE(UsageReply, archive(record.resources, record.interfaces, record.objects))
IRONCORE_WIRE(PortSpecRecord, archive(record.name, record.device, record.mtu, record.mac))
IRONCORE_WIRE(PortRecord, archive(record.spec, record.number, record.mac, record.is_up, record.received_packets,
                                  record.received_bytes, record.sent_packets, record.sent_bytes, record.missed,
                                  record.unsent, record.errors))
IRONCORE_WIRE(OpenPortRequest, archive(record.spec))
IRONCORE_WIRE(OpenPortReply, archive(record.port))
IRONCORE_WIRE(ClosePortRequest, archive(record.name))
IRONCORE_WIRE(ClosePortReply)
IRONCORE_WIRE(PortsRequest)
IRONCORE_WIRE(PortsReply, archive(record.ports))
IRONCORE_WIRE(ExplainRequest, archive(record.port, record.worker, record.frame))
IRONCORE_WIRE(StepRecord, archive(record.stage, record.text))
IRONCORE_WIRE(ExplainReply, archive(record.steps, record.drop, record.port, record.frame))
IRONCORE_WIRE(CaptureSpecRecord, archive(record.id, record.ports, record.direction, record.filter, record.snap_length,
                                         record.sink, record.format, record.target, record.replaces, record.port,
                                         record.vni, record.most_packets, record.most_bytes))
IRONCORE_WIRE(CaptureRecord,
              archive(record.spec, record.phase, record.reason, record.seen, record.written, record.lost, record.bytes))
IRONCORE_WIRE(StartCaptureRequest, archive(record.spec))
IRONCORE_WIRE(StartCaptureReply, archive(record.capture))
IRONCORE_WIRE(StopCaptureRequest, archive(record.id))
IRONCORE_WIRE(StopCaptureReply, archive(record.capture))
IRONCORE_WIRE(CapturesRequest)
IRONCORE_WIRE(CapturesReply, archive(record.captures))
IRONCORE_WIRE(ReadCaptureRequest, archive(record.id, record.offset))
IRONCORE_WIRE(ReadCaptureReply, archive(record.bytes, record.is_last))

}  // namespace ironcore::network::zmq

namespace ironcore::wire {
IRONCORE_WIRE_RECORD(network::zmq::HelloRequest)
IRONCORE_WIRE_RECORD(network::zmq::HelloReply)
IRONCORE_WIRE_RECORD(network::zmq::ApplyRequest)
IRONCORE_WIRE_RECORD(network::zmq::ApplyReply)
IRONCORE_WIRE_RECORD(network::zmq::ListRequest)
IRONCORE_WIRE_RECORD(network::zmq::ListReply)
IRONCORE_WIRE_RECORD(network::zmq::VnisRequest)
IRONCORE_WIRE_RECORD(network::zmq::VnisReply)
IRONCORE_WIRE_RECORD(network::zmq::WatchRequest)
IRONCORE_WIRE_RECORD(network::zmq::WatchReply)
IRONCORE_WIRE_RECORD(network::zmq::CountersRequest)
IRONCORE_WIRE_RECORD(network::zmq::CountersReply)
IRONCORE_WIRE_RECORD(network::zmq::OffloadRequest)
IRONCORE_WIRE_RECORD(network::zmq::OffloadReply)
IRONCORE_WIRE_RECORD(network::zmq::UsageRequest)
IRONCORE_WIRE_RECORD(network::zmq::UsageReply)
IRONCORE_WIRE_RECORD(network::zmq::OpenPortRequest)
IRONCORE_WIRE_RECORD(network::zmq::OpenPortReply)
IRONCORE_WIRE_RECORD(network::zmq::ClosePortRequest)
IRONCORE_WIRE_RECORD(network::zmq::ClosePortReply)
IRONCORE_WIRE_RECORD(network::zmq::PortsRequest)
IRONCORE_WIRE_RECORD(network::zmq::PortsReply)
IRONCORE_WIRE_RECORD(network::zmq::ExplainRequest)
IRONCORE_WIRE_RECORD(network::zmq::ExplainReply)
IRONCORE_WIRE_RECORD(network::zmq::StartCaptureRequest)
IRONCORE_WIRE_RECORD(network::zmq::StartCaptureReply)
IRONCORE_WIRE_RECORD(network::zmq::StopCaptureRequest)
IRONCORE_WIRE_RECORD(network::zmq::StopCaptureReply)
IRONCORE_WIRE_RECORD(network::zmq::CapturesRequest)
IRONCORE_WIRE_RECORD(network::zmq::CapturesReply)
IRONCORE_WIRE_RECORD(network::zmq::ReadCaptureRequest)
IRONCORE_WIRE_RECORD(network::zmq::ReadCaptureReply)
}  // namespace ironcore::wire
