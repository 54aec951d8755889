# SPDX-License-Identifier: Apache-2.0
"""metalnetd on taps and a veth in a network namespace of its own, driven by scapy and told by ironcorectl."""
import contextlib
import ctypes
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import cloud
from cloud import Daemon, TempDirectory, program, run, wait_until

try:
    from scapy.config import conf
    conf.ipv6_enabled = False  # no look at the interfaces of this machine
    from scapy.all import (ARP, BOOTP, DHCP, ICMP, IP, TCP, UDP, VXLAN, Ether, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr,
                           ICMPv6NDOptMTU, ICMPv6NDOptSrcLLAddr, ICMPv6TimeExceeded, IPOption_RR, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, Raw,
                           defragment, fragment, rdpcap)
except ImportError:
    print("skipped: python3-scapy is not installed")
    sys.exit(cloud.SKIPPED)

NEW_NETWORK_NAMESPACE = 0x40000000
GATEWAY = "169.254.0.1"
ROUTER = "02:00:00:00:03:01"
UNDERLAY = "2001:db8:0:1::/64"
OTHER_HOST, PUBLIC = "2001:db8:0:2::5", "2001:db8:ffff::1"
MACS = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b"}
ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2"}
ALL = "ff:ff:ff:ff:ff:ff"

NETWORK = f"""
kind: Interface
id: a
port: port-a
vni: 100
ipv4: 10.0.0.1
mac: {MACS['a']}
hostname: machine-a
---
kind: Interface
id: b
port: port-b
vni: 100
ipv4: 10.0.0.2
---
kind: FirewallRule
interface: b
id: web
source: 0.0.0.0/0
destination: 0.0.0.0/0
protocol: UDP
destinationPorts: {{first: 80, last: 80}}
---
kind: List
items:
  - {{kind: Route, vni: 100, prefix: 10.2.0.0/16, nextHops: [{{underlay: "{OTHER_HOST}"}}]}}
  - {{kind: Route, vni: 100, prefix: 0.0.0.0/0, nextHops: [{{underlay: "{PUBLIC}"}}]}}
  - {{kind: Nat, interface: a, address: 192.0.2.1, firstPort: 1024, lastPort: 2047}}
"""


def limited(**total):
    """Interface a of the network, with rates."""
    return json.dumps({"kind": "Interface", "id": "a", "port": "port-a", "vni": 100, "ipv4": "10.0.0.1", "mac": MACS["a"],
                       "hostname": "machine-a", "total": total})


def crc32c(data):
    """RFC 9260 appendix A, a bit at a time."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


class Wire:
    """Our end of an interface: frames that come out of it, and frames to put in."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((name, 0))

    def send(self, packet):
        self.socket.send(bytes(packet))

    def wait_for(self, what, wanted, seconds=5):
        """The first frame that is wanted."""
        seen, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data, address = self.socket.recvfrom(65536)
            except TimeoutError:
                break
            if address[2] == socket.PACKET_OUTGOING:
                continue
            frame = Ether(data)
            if wanted(frame):
                return frame
            seen.append(frame.summary())
        raise AssertionError(f"{what} did not come; these did: {seen[-5:]}")

    def is_silent(self, unwanted, seconds=0.3):
        with contextlib.suppress(AssertionError):
            self.wait_for("it", unwanted, seconds)
            return False
        return True

    def close(self):
        self.socket.close()


class Host(TempDirectory):
    """A metalnetd with two machines and an uplink."""
    router = ROUTER

    def setUp(self):
        super().setUp()
        self.endpoint = f"ipc://{self.directory}/dataplane.sock"
        subprocess.run(["ip", "link", "add", "up0", "address", "02:00:00:00:04:01", "type", "veth", "peer", "name", "up1"], check=True)
        self.addCleanup(subprocess.run, ["ip", "link", "del", "up0"], check=False)
        for name in ("up0", "up1"):
            subprocess.run(["ip", "link", "set", name, "mtu", "1600", "up"], check=True)
        self.wires = {}
        self.addCleanup(lambda: [wire.close() for wire in self.wires.values()])
        self.captures = self.directory / "captures"
        self.captures.mkdir()
        self.daemon = None
        self.addCleanup(lambda: self.daemon and self.daemon.kill())
        self.start()

    def start(self):
        arguments = ["--underlay", UNDERLAY, "--uplink", f"up,router={self.router},device=af_packet:up0", "--port", "port-a=tap:tap-a",
                     "--listen", self.endpoint, "--connections", 10000, "--metrics", "127.0.0.1:9464", "--dns", "192.0.2.53",
                     "--dpdk-prefix", f"test-{os.getpid()}", "--capture-directory", self.captures, "--state-directory", self.directory / "state",
                     "--flow-directory", self.directory / "flows"]
        self.daemon = Daemon("metalnetd", [program("metalnetd"), *arguments], self.directory).wait_ready()
        self.ok("open-port", "port-b", "tap:tap-b")
        for wire in self.wires.values():
            wire.close()
        for name in ("tap-a", "tap-b"):
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
        self.wires = {"a": Wire("tap-a"), "b": Wire("tap-b"), "up": Wire("up1")}
        wait_until("all links are up", lambda: all(port["isUp"] for port in json.loads(self.ok("ports", "-o", "json"))))

    def ctl(self, *arguments, stdin=""):
        return run("ironcorectl", "dataplane", *arguments, stdin=stdin, environment={"IRONCORE_DATAPLANE": self.endpoint})

    @contextlib.contextmanager
    def watch(self, *arguments):
        """A `dataplane watch` that has begun; it is gone afterwards."""
        process = subprocess.Popen([program("ironcorectl"), "dataplane", "watch", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, "IRONCORE_DATAPLANE": self.endpoint})
        try:
            self.assertIn("watching from revision", process.stderr.readline())
            yield process
        finally:
            process.kill()
            process.communicate()

    def metrics(self):
        with urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=10) as answer:
            return answer.read().decode()

    def ok(self, *arguments, stdin=""):
        result = self.ctl(*arguments, stdin=stdin)
        self.assertEqual(result.code, 0, f"{arguments}: {result}\n{self.daemon.tail()}")
        return result.out

    def gateway_mac(self, name):
        """Asks by ARP, as a machine does."""
        self.wires[name].send(Ether(src=MACS[name], dst=ALL) / ARP(hwsrc=MACS[name], psrc=ADDRESSES[name], pdst=GATEWAY))
        answer = self.wires[name].wait_for("the gateway's ARP", lambda frame: ARP in frame and frame[ARP].op == 2)
        self.assertEqual(answer[ARP].psrc, GATEWAY)
        return answer[ARP].hwsrc

    def from_machine(self, name, packet):
        return Ether(src=MACS[name], dst=self.gateway_mac(name)) / packet

    def deliver(self, sender, packet, receiver):
        """Sends until it comes: the receiver's MAC is learned from its own frames, a moment later."""
        def attempt():
            self.wires[sender].send(self.from_machine(sender, packet))
            with contextlib.suppress(AssertionError):
                return self.wires[receiver].wait_for("it", lambda frame: UDP in frame, 0.2)
        return wait_until(f"a datagram from {sender} comes to {receiver}", attempt)

    def underlay_of(self, *key):
        return json.loads(self.ok("get", *key, "-o", "json"))["underlay"]

    def lease(self, name):
        """The address that DHCP tells."""
        mac = bytes.fromhex(MACS[name].replace(":", ""))
        ask = Ether(src=MACS[name], dst=ALL) / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / BOOTP(
            chaddr=mac, xid=7, flags=0x8000) / DHCP(options=[("message-type", "discover"), ("param_req_list", [1, 3, 6, 12, 26]), "end"])
        self.wires[name].send(ask)
        offer = self.wires[name].wait_for("an offer", lambda frame: DHCP in frame and frame[BOOTP].op == 2)
        options = dict(option[:2] for option in offer[DHCP].options if isinstance(option, tuple))
        self.assertEqual(options["message-type"], 2)
        self.assertEqual(options["name_server"], "192.0.2.53")
        return offer[BOOTP].yiaddr


class Dataplane(Host):
    def test_machines_are_served_and_reach_each_other(self):
        self.assertIn("6 changes applied", self.ok("apply", "-f", "-", stdin=NETWORK))
        self.assertIn("6 changes said nothing new", self.ok("apply", "-f", "-", stdin=NETWORK))
        self.assertEqual(self.lease("a"), "10.0.0.1")

        self.wires["a"].send(self.from_machine("a", IP(src="10.0.0.1", dst=GATEWAY) / ICMP(id=5, seq=6) / b"hello"))
        pong = self.wires["a"].wait_for("the gateway's pong", lambda frame: ICMP in frame)
        self.assertEqual((pong[ICMP].type, pong[ICMP].id, pong[IP].src, pong[Raw].load), (0, 5, GATEWAY, b"hello"))

        # The firewall of b lets port 80 in; its answer comes back.
        self.gateway_mac("b")
        to_b = IP(src="10.0.0.1", dst="10.0.0.2")
        self.wires["a"].send(self.from_machine("a", to_b / UDP(sport=4000, dport=81) / b"closed"))
        self.assertTrue(self.wires["b"].is_silent(lambda frame: UDP in frame))
        came = self.deliver("a", to_b / UDP(sport=4000, dport=80) / b"open", "b")
        self.assertEqual((came[IP].src, came[IP].dst, came[UDP].dport, came[Raw].load), ("10.0.0.1", "10.0.0.2", 80, b"open"))
        self.assertEqual(came.dst, MACS["b"])
        answer = self.deliver("b", IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=80, dport=4000) / b"answer", "a")
        self.assertEqual(answer[Raw].load, b"answer")

        frame = bytes(self.from_machine("a", to_b / UDP(sport=4000, dport=81))).hex()
        explained = self.ok("explain", "port-a", frame)
        self.assertRegex(explained.splitlines()[-1], "^dropped +ingress_rule$")
        self.assertEqual(explained.count("ingress_rule"), 1)
        frame = bytes(self.from_machine("a", to_b / UDP(sport=4000, dport=80))).hex()
        self.assertRegex(self.ok("explain", "port-a", frame), "leaves by +port port-b of machine b\n$")
        self.assertRegex(self.ok("explain", "port-a", "udp", "10.0.0.1:4001", "10.0.0.2:81"), "dropped +ingress_rule")
        self.assertRegex(self.ok("explain", "port-a", "udp", "10.0.0.1:4001", "10.0.0.2:80"), "leaves by +port port-b")
        self.assertIn("gateway", self.ok("explain", "port-a", "icmp", "10.0.0.1", "169.254.0.1"))
        self.assertIn("steps", json.loads(self.ok("explain", "port-a", frame, "-o", "json")))

        counters = json.loads(self.ok("counters", "-o", "json"))
        self.assertEqual(counters["dropped"]["ingress_rule"], 1)
        self.assertEqual([one["id"] for one in counters["interfaces"]], ["a", "b"])
        self.assertEqual(counters["stages"]["ingress_rules"]["refused"], 1)
        self.assertGreater(counters["answers"]["arp"], 0)
        self.assertGreater(sum(one["count"] for one in counters["bursts"]["times"]), 0)
        self.assertEqual([one.get("heardMac") for one in counters["interfaces"]], [None, MACS["b"]])
        self.assertRegex(self.ok("get", "interfaces"), rf"b +port-b .* {MACS['b']} \(heard\)")
        shown = self.ok("counters")
        for line in ("dropped: ingress_rule", "answers: arp", "fast path", "looked at again: kept", "ingress_rules", "less than"):
            self.assertIn(line, shown)
        status = self.ok("status")
        for line in ("metalnetd", "3, all up", "of 10000 (0 %; fullest worker 0 %)", "most of them: ingress_rule", "99 % below"):
            self.assertIn(line, status)
        self.assertRegex(status, r"flows in hardware +none")
        self.assertEqual(json.loads(self.ok("status", "-o", "json"))["portsUp"], 3)
        self.assertEqual(json.loads(self.ok("status", "-o", "json"))["offload"], {"isThere": False})
        with urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        self.assertIn('ironcore_dataplane_dropped_packets_total{reason="ingress_rule"} 1', metrics)
        self.assertRegex(metrics, r'ironcore_dataplane_interface_sent_packets_total{interface="a"} [1-9]')
        self.assertIn('ironcore_dataplane_port_up{port="up"} 1', metrics)
        self.assertIn("ironcore_dataplane_offload_there 0", metrics)
        self.assertRegex(metrics, r'ironcore_dataplane_gateway_answers_total{service="dhcpv4"} 1')
        self.assertRegex(metrics, r'ironcore_dataplane_stage_refused_total{stage="ingress_rules"} 1')
        self.assertRegex(metrics, r'ironcore_dataplane_rechecks_total{result="kept"} [0-9]')
        self.assertRegex(metrics, r'ironcore_dataplane_fast_path_packets_total [1-9]')
        self.assertRegex(metrics, r'ironcore_dataplane_burst_seconds_bucket{le="\+Inf"} [1-9]')
        self.assertRegex(metrics, r'ironcore_dataplane_burst_seconds_bucket{le="2.56e-07"} [0-9]')

    def test_other_hosts_are_reached_through_the_uplink(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.gateway_mac("a")
        out = IP(src="10.0.0.1", dst="10.2.0.7") / UDP(sport=4000, dport=7000) / b"question"
        self.wires["a"].send(self.from_machine("a", out))
        sent = self.wires["up"].wait_for("the encapsulated datagram", lambda frame: IPv6 in frame and frame[IPv6].dst == OTHER_HOST)
        self.assertEqual((sent.dst, sent[IPv6].nh), (ROUTER, 4))
        inner = IP(bytes(sent[IPv6].payload))
        self.assertEqual((inner.src, inner.dst, inner[UDP].sport, inner[Raw].load), ("10.0.0.1", "10.2.0.7", 4000, b"question"))
        self.assertEqual(sent[IPv6].src, self.underlay_of("interface", "a"))

        back = IP(src="10.2.0.7", dst="10.0.0.1") / UDP(sport=7000, dport=4000) / b"answer"
        self.wires["up"].send(Ether(src=ROUTER, dst=sent.src) / IPv6(src=OTHER_HOST, dst=sent[IPv6].src, nh=4) / back)
        self.assertEqual(self.wires["a"].wait_for("the answer", lambda frame: UDP in frame)[Raw].load, b"answer")

    def test_the_public_is_reached_by_nat(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.gateway_mac("a")
        self.wires["a"].send(self.from_machine("a", IP(src="10.0.0.1", dst="198.51.100.1") / UDP(sport=4000, dport=7000) / b"question"))
        sent = self.wires["up"].wait_for("the translated datagram", lambda frame: IPv6 in frame and frame[IPv6].dst == PUBLIC)
        inner = IP(bytes(sent[IPv6].payload))
        self.assertEqual(inner.src, "192.0.2.1")
        self.assertIn(inner[UDP].sport, range(1024, 2048))
        back = IP(src="198.51.100.1", dst="192.0.2.1") / UDP(sport=7000, dport=inner[UDP].sport) / b"answer"
        underlay = self.underlay_of("nat", "a")
        self.wires["up"].send(Ether(src=ROUTER, dst=sent.src) / IPv6(src=PUBLIC, dst=underlay, nh=4) / back)
        answer = self.wires["a"].wait_for("the answer", lambda frame: UDP in frame)
        self.assertEqual((answer[IP].dst, answer[UDP].dport, answer[Raw].load), ("10.0.0.1", 4000, b"answer"))

    def test_rates_mark_packets_and_how_full_it_is_is_told(self):
        self.machines()
        # One flow through the NAT, one datagram of which only the first piece comes.
        out = IP(src="10.0.0.1", dst="198.51.100.1") / UDP(sport=4000, dport=7000) / b"question"
        self.wires["a"].send(self.from_machine("a", out))
        piece = IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / UDP(sport=4000, dport=80, len=100) / bytes(24)
        self.wires["a"].send(self.from_machine("a", piece))
        wait_until("both are noted", lambda: "1 of 16384" in self.ok("status"))
        status = self.ok("status")
        self.assertRegex(status, r"datagrams in pieces +1 of 16384 \(0 %; fullest worker 0 %\)")
        self.assertRegex(status, r"fullest NAT, UDP ports +a: 1 of 1024 \(0 %; fullest worker 0 %\)")
        self.assertRegex(status, "objects +2 Interface, 1 Nat, 2 Route, 1 FirewallRule")
        told = json.loads(self.ok("counters", "-o", "json"))
        uses = {(one["resource"], one.get("of")): one["workers"] for one in told["resources"]}
        self.assertEqual(uses["nat_udp", "a"], [{"used": 1, "room": 1024}])
        self.assertEqual(uses["nat_tcp", "a"], [{"used": 0, "room": 1024}])
        self.assertEqual(uses["fragments", None][0]["used"], 1)
        self.assertEqual(told["objects"]["FirewallRule"], 1)
        self.assertEqual(told["meters"], [])

        wrong = limited(egress=8000, excess={"ingress": 8000})
        self.assertSays(self.ctl("apply", "-f", "-", stdin=wrong), 2, "total.excess.ingress", "total.ingress")
        # A kilobyte a second each, and 64 KiB at once.
        self.ok("apply", "-f", "-", stdin=limited(egress=8000, burst={"egress": 65536}, excess={"egress": 8000}, excessBurst={"egress": 65536}))
        self.assertIn('"excess":{"egress":8000', self.ok("get", "interface", "a", "-o", "json").replace(" ", "").replace("\n", ""))
        datagram = self.from_machine("a", IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=4001, dport=80) / bytes(1372))
        received = lambda: json.loads(self.ok("counters", "-o", "json"))["interfaces"][1]["receivedPackets"]  # noqa: E731
        before = received()
        for _ in range(150):
            self.wires["a"].send(datagram)

        def said():
            colors = json.loads(self.ok("counters", "-o", "json"))["meters"][0]["egress"]
            return colors if sum(one["packets"] for one in colors.values()) == 150 else None
        colors = wait_until("all are marked", said)
        # 46 packets of 1,400 bytes are in each bucket; some more while this machine is slow.
        for color in ("green", "yellow"):
            self.assertIn(colors[color]["packets"], range(46, 56))
            self.assertEqual(colors[color]["bytes"], 1400 * colors[color]["packets"])
        self.assertEqual(received() - before, colors["green"]["packets"] + colors["yellow"]["packets"])
        metrics = self.metrics()
        red = colors["red"]["packets"]
        self.assertIn(f'ironcore_dataplane_meter_packets_total{{interface="a",direction="egress",traffic="total",color="red"}} {red}', metrics)
        self.assertIn('ironcore_dataplane_resource_used{resource="nat_udp",of="a",worker="0"} 1', metrics)
        self.assertIn('ironcore_dataplane_resource_room{resource="nat_udp",of="a",worker="0"} 1024', metrics)
        self.assertIn('ironcore_dataplane_objects{kind="FirewallRule"} 1', metrics)
        self.assertRegex(self.ok("counters"), r"a +egress +\d+ +\d+ +\d+")
        explained = self.ok("explain", "port-a", bytes(datagram).hex())
        self.assertRegex(explained, "rates +egress of the sender is (red|yellow|green)")

    def machines(self):
        """Both are known, so that the next datagrams come at once."""
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.gateway_mac("a")
        self.gateway_mac("b")
        self.deliver("a", IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=4000, dport=80) / b"first", "b")

    def send_datagrams(self, *payloads, port=80):
        for payload in payloads:
            self.wires["a"].send(self.from_machine("a", IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=4001, dport=port) / payload))

    def listed(self):
        return {one["id"]: one for one in json.loads(self.ok("capture", "list", "-o", "json"))}

    def test_frames_are_captured_into_a_file(self):
        self.machines()
        self.assertIn("capture web runs", self.ok("capture", "start", "web", "-w", "web.pcapng", "udp", "port", "80", "and", "src host 10.0.0.1"))
        self.ok("capture", "start", "in", "-w", "in.pcap", "--format", "pcap", "--port", "port-a", "--direction", "in", "-c", "1", "udp")
        self.send_datagrams(b"one", b"two")
        self.send_datagrams(b"closed", port=81)
        wait_until("both ways of both datagrams are written", lambda: self.listed()["web"]["written"] == 4)
        wait_until("the other one has ended", lambda: self.listed()["in"]["phase"] == "ended")
        self.assertRegex(self.ok("capture", "list"), r"web +running +all +both +udp port 80 and src host 10\.0\.0\.1 +web\.pcapng +4 +4 +0")
        with urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        self.assertIn('ironcore_dataplane_capture_written_packets_total{capture="web"} 4', metrics)
        self.assertIn('ironcore_dataplane_capture_running{capture="in"} 0', metrics)
        self.assertIn("capture web: 4 seen, 4 written, 0 lost", self.ok("capture", "stop", "web"))
        self.ok("capture", "stop", "in")
        file = self.captures / "web.pcapng"
        self.assertEqual(file.stat().st_mode & 0o7777, 0o600)
        frames = rdpcap(str(file))
        self.assertEqual([frame[Raw].load for frame in frames], [b"one", b"one", b"two", b"two"])
        self.assertEqual((frames[0].src, frames[1].dst), (MACS["a"], MACS["b"]))
        self.assertEqual([frame[Raw].load for frame in rdpcap(str(self.captures / "in.pcap"))], [b"one"])
        # Nobody's file is lost by a name that was used before.
        self.assertSays(self.ctl("capture", "start", "web", "-w", "web.pcapng"), 1, "there already")
        self.ok("capture", "start", "web", "-w", "web.pcapng", "--replace")
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(len(rdpcap(str(file))), 0)

    def test_a_capture_is_printed_for_other_tools(self):
        self.machines()
        live = [str(program("ironcorectl")), "dataplane", "capture", "start", "live", "-w", "-", "--dataplane", self.endpoint]
        with subprocess.Popen([*live, "-c", "4", "udp", "port", "80"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
            wait_until("it runs", lambda: "live" in self.listed())
            self.send_datagrams(b"one", b"two")
            out, err = reader.communicate(timeout=20)
        self.assertEqual(reader.returncode, 0, err)
        self.assertIn(b"4 seen, 4 written, 0 lost", err)
        self.assertEqual([frame[Raw].load for frame in rdpcap(io.BytesIO(out))], [b"one", b"one", b"two", b"two"])
        self.assertEqual(self.listed(), {})
        # Whoever is interrupted, or stops reading, leaves nothing behind.
        for end in (lambda process: process.terminate(), lambda process: process.stdout.close()):
            with subprocess.Popen(live, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
                wait_until("it runs", lambda: "live" in self.listed())
                end(reader)
                wait_until("it has gone", lambda: self.listed() == {})
                reader.wait(timeout=10)

    def test_frames_are_sent_on(self):
        self.machines()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
            sink.bind(("127.0.0.1", 0))
            sink.settimeout(10)
            self.ok("capture", "start", "mirror", "--udp", f"127.0.0.1:{sink.getsockname()[1]}", "--vni", "7", "--direction", "out", "udp port 80")
            self.send_datagrams(b"one")
            mirrored = VXLAN(sink.recv(2000))
        self.assertEqual((mirrored.vni, mirrored[Ether].dst, mirrored[Raw].load), (7, MACS["b"], b"one"))

    def test_captures_that_cannot_be_are_told(self):
        for words, text in ((("start", "c"), "say where to"),
                            (("start", "-w", "x"), "takes an id"),
                            (("start", "c", "-w", "../x"), "directory of captures"),
                            (("start", "c", "-w", "/etc/x"), "directory of captures"),
                            (("start", "c", "-w", "x", "--udp", "::1"), "say where to"),
                            (("start", "c", "-w", "x", "host", "example.com"), "names are not looked up"),
                            (("start", "c", "-w", "x", "tcp prt 80"), "prt"),
                            (("start", "c", "--udp", "127.0.0.1:x"), "1 to 65535"),
                            (("start", "c", "--udp", "host"), "udp"),
                            (("start", "c", "-w", "x", "--snap-length", "1"), "--snap-length: expected 64 to 262144, not 1"),
                            (("start", "c", "-w", "x", "--vni", "16777216"), "--vni: expected 0 to 16777215"),
                            (("stop",), "takes an id"),
                            ((), "capture takes start, stop or list\n"),
                            (("strat",), "start")):
            with self.subTest(text):
                self.assertSays(self.ctl("capture", *words), 2, text)
        self.assertSays(self.ctl("capture", "start", "c", "-w", "x", "--port", "nobody"), 1, "nobody")
        self.assertSays(self.ctl("capture", "stop", "nobody"), 1, 'no capture "nobody"')
        self.assertEqual(list(self.captures.iterdir()), [])

    def test_wrong_configuration_is_told_and_changes_nothing(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        before = self.ok("get", "interfaces", "-o", "json")
        wrong = self.write("wrong.yaml", "kind: Interface\nid: c\nport: port-c\nvni: 100\nipv4: 10.0.0.1\nhostnme: x\n")
        self.assertSays(self.ctl("apply", "-f", wrong), 2, f"{wrong}:6:1", "hostnme", "hostname")
        # Whole, but it contradicts what is there: the first document is not applied either.
        wrong.write_text("kind: Interface\nid: d\nport: port-d\nvni: 100\nipv4: 10.0.0.4\n---\n"
                         "kind: Interface\nid: c\nport: port-c\nvni: 100\nipv4: 10.0.0.1\n")
        self.assertSays(self.ctl("apply", "-f", wrong), 2, f"{wrong}:11:1", "ipv4")
        self.assertSays(self.ctl("get", "interfces"), 2, "interfaces")
        self.assertSays(self.ctl("get", "interface", "nobody"), 1, "nobody")
        self.assertSays(self.ctl("delete", "route", "100"), 2, "expected route vni prefix", "prefix")
        self.assertSays(self.ctl("open-port", "port-c", "tapp:x"), 2, "tapp")
        self.assertSays(self.ctl("explain", "port-a", "0g"), 2, "hexadecimal")
        for words in (("udp", "10.0.0.1", "10.0.0.2:1"), ("udp", "10.0.0.1:1", "[fd00::1]:1"), ("gre", "10.0.0.1", "10.0.0.2"),
                      ("icmp", "10.0.0.1:1", "10.0.0.2"), ("tcp", "10.0.0.1:99999", "10.0.0.2:1"), ("tcp", "fd00::1:80", "fd00::2:80")):
            self.assertEqual(self.ctl("explain", "port-a", *words).code, 2, words)
        self.assertSays(self.ctl("explain", "nobody", "00" * 60), 1, "nobody")
        self.assertSays(self.ctl("coutners"), 2, "counters")
        self.assertSays(self.ctl("ports", "--dataplane", f"ipc://{self.directory}/nobody"), 1, "no server answers")
        self.assertEqual(self.ok("get", "interfaces", "-o", "json"), before)

    def test_the_example_applies(self):
        self.assertIn("5 changes applied", self.ok("apply", "-f", cloud.ROOT / "examples/dataplane.yaml"))
        self.assertIn("web-2", self.ok("get", "interfaces"))

    def test_objects_are_shown_deleted_and_applied_again(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.assertRegex(self.ok("get", "interfaces"), r"a +port-a +100 +10\.0\.0\.1")
        self.assertIn("10.2.0.0/16", self.ok("get", "routes"))
        for kind in ("interfaces", "routes", "nats", "rules"):
            with self.subTest(kind):
                self.assertIn("said nothing new", self.ok("apply", "-f", "-", stdin=self.ok("get", kind, "-o", "yaml")))
                self.assertIn("said nothing new", self.ok("apply", "-f", "-", stdin=self.ok("get", kind, "-o", "json")))
        self.assertIn("1 change applied", self.ok("delete", "route", "100", "10.2.0.0/16"))
        self.assertIn("1 change: it was not there", self.ok("delete", "route", "100", "10.2.0.0/16"))
        self.assertNotIn("10.2.0.0/16", self.ok("get", "routes"))
        self.ok("delete", "-f", "-", stdin=NETWORK)
        self.assertEqual(json.loads(self.ok("get", "interfaces", "-o", "json"))["items"], [])
        self.ok("close-port", "port-b")
        self.assertNotIn("port-b", self.ok("ports"))

    def test_a_port_that_is_not_there_is_told(self):
        text = "kind: Interface\nid: c\nport: port-c\nvni: 100\nipv4: 10.0.0.3\n"
        file = self.write("c.yaml", text)
        said = self.ctl("apply", "-f", file)
        self.assertSays(said, 0, f"warning: {file}:3:1: port: port-c is not there yet; `ironcorectl dataplane open-port port-c DEVICE` opens it")
        self.assertRegex(self.ok("get", "interfaces"), r"c +port-c \(port not there\) +100")
        self.assertRegex(self.ok("status"), r"interfaces +1, port not there: c")
        self.assertEqual(json.loads(self.ok("status", "-o", "json"))["interfacesWithoutPort"], 1)
        self.assertIn('ironcore_dataplane_interface_has_port{interface="c"} 0', self.metrics())
        self.ok("open-port", "port-c", "null")
        self.assertNotIn("not there", self.ok("get", "interfaces"))
        self.assertIn('ironcore_dataplane_interface_has_port{interface="c"} 1', self.metrics())
        self.assertEqual(self.ctl("apply", "-f", "-", stdin=NETWORK).err, "")
        many = "".join(f"kind: Interface\nid: m{i}\nport: port-m{i}\nvni: 200\nipv4: 10.0.1.{i}\n---\n" for i in range(1, 26))
        said = self.ctl("apply", "-f", "-", stdin=many)
        self.assertSays(said, 0, "warning: … and 15 more")
        self.assertEqual(len(said.err.splitlines()), 11)

    def test_what_is_not_there_cannot_be_closed_or_stopped(self):
        self.assertSays(self.ctl("close-port", "prt-a"), 1, 'there is no port "prt-a" (did you mean "port-a"?)')
        self.assertSays(self.ctl("capture", "stop", "web"), 1, 'there is no capture "web"')
        self.ok("capture", "start", "webs", "-w", "w.pcapng")
        self.assertSays(self.ctl("capture", "stop", "web"), 1, 'there is no capture "web" (did you mean "webs"?)')
        self.ok("capture", "stop", "webs")
        self.assertIn("port port-a is closed", self.ok("close-port", "port-a"))

    def test_lists_are_cut_and_told_by_interface(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.assertRegex(self.ok("get", "rules", "--interface", "b"), r"\nb +web ")
        self.assertSays(self.ctl("get", "rules", "--interface", "a"), 0, "there are no rules of interface a")
        self.assertEqual(json.loads(self.ok("get", "interfaces", "--interface", "a", "-o", "json"))["items"][0]["id"], "a")
        self.assertSays(self.ctl("get", "routes", "--interface", "a"), 2, "routes belong to no interface; these do: interfaces, prefixes, virtual-ips, nats, rules")
        self.assertSays(self.ctl("get", "route", "100", "10.2.0.0/16", "--limit", "1"), 2, "are for lists")
        for words, text in ((("delete", "rule", "b", "web", "--interface", "b"), "--interface is for get and watch"),
                            (("watch", "--limit", "1"), "--limit is for get; watch has --count"),
                            (("get", "routes", "--count", "1"), "are for watch"),
                            (("get", "routes", "-f", "x"), "-f is for apply and delete")):
            self.assertSays(self.ctl(*words), 2, text)
        self.assertEqual(self.ok("get", "rules", "-o", "name"), "rule b web\n")
        self.assertEqual(self.ok("get", "routes", "-o", "name").splitlines(), ["route 100 0.0.0.0/0", "route 100 10.2.0.0/16"])
        self.assertIn("port port-a\n", self.ok("ports", "-o", "name"))
        cut = self.ctl("get", "routes", "--limit", "1")
        self.assertSays(cut, 0, "… and more: --limit 0 shows all")
        self.assertEqual(len(cut.out.splitlines()), 2)
        self.assertEqual(self.ctl("get", "routes", "--limit", "2").err, "")

    def test_networks_are_shown_while_something_names_them(self):
        self.assertSays(self.ctl("get", "vnis"), 0, "there are no vnis")
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.assertRegex(self.ok("get", "vnis"), r"VNI +INTERFACES +IPV4 ROUTES +IPV6 ROUTES +LOAD BALANCERS +NATS +NEIGHBOUR NATS\n100 +2 +2 +0 +0 +1 +0\n$")
        self.assertEqual(json.loads(self.ok("get", "vni", "100", "-o", "json")),
                         {"kind": "Vni", "vni": 100, "interfaces": 2, "routesV4": 2, "routesV6": 0, "loadBalancers": 0, "nats": 1, "neighbourNats": 0})
        with self.watch("vnis", "-o", "json", "--count", "4", "--timeout", "60s") as watch:
            def told():
                return json.loads(watch.stdout.readline())["change"]

            self.ok("apply", "-f", "-", stdin="kind: Interface\nid: c\nport: port-b2\nvni: 7\nipv4: 10.0.0.3\n")
            nothing = {"loadBalancers": 0, "nats": 0, "neighbourNats": 0, "routesV4": 0}
            self.assertEqual(told(), {"kind": "Vni", "vni": 7, "interfaces": 1, "routesV6": 0, **nothing})
            self.ok("delete", "rule", "b", "web")  # no network is another one by that
            self.ok("apply", "-f", "-", stdin='{"kind": "Route", "vni": 7, "prefix": "fd00:9::/32", "nextHops": [{"underlay": "2001:db8:0:9::1"}]}')
            self.assertEqual(told(), {"kind": "Vni", "vni": 7, "interfaces": 1, "routesV6": 1, **nothing})
            self.assertEqual(self.ok("get", "vnis", "-o", "name"), "vni 7\nvni 100\n")
            cut = self.ctl("get", "vnis", "--limit", "1")
            self.assertSays(cut, 0, "… and more: --limit 0 shows all")
            self.assertEqual(len(cut.out.splitlines()), 2)
            self.assertEqual([each["vni"] for each in json.loads(self.ok("get", "vnis", "-o", "json"))["items"]], [7, 100])
            self.assertIn("routesV6: 1\n", self.ok("get", "vni", "7", "-o", "yaml"))
            self.ok("delete", "interface", "c")
            self.assertEqual(told(), {"kind": "Vni", "vni": 7, "interfaces": 0, "routesV6": 1, **nothing})
            self.ok("delete", "route", "7", "fd00:9::/32")
            self.assertEqual(told(), {"delete": "Vni", "vni": 7})
            self.assertEqual(watch.wait(timeout=30), 0)
        with self.watch("vnis", "--count", "1", "--timeout", "30s") as watch:
            self.ok("delete", "interface", "b")
            out, err = watch.communicate(timeout=30)
        self.assertEqual(watch.returncode, 0, err)
        self.assertRegex(out, r"^[0-9]+  set      vni: VNI 100, Interfaces 1, IPv4 routes 2, NATs 1\n$")
        self.assertSays(self.ctl("get", "vni", "7"), 1, "vni 7: no interface, route, load balancer or neighbour's NAT names it")
        self.assertSays(self.ctl("get", "vni", "x"), 2, "expected vni NUMBER")
        self.assertSays(self.ctl("get", "vni", "7", "8"), 2, '"8" is one word too many')
        self.assertSays(self.ctl("get", "vnsi"), 2, 'did you mean "vnis"?')
        self.assertSays(self.ctl("get", "vnis", "--interface", "a"), 2, "vnis belong to no interface")
        self.assertSays(self.ctl("delete", "vni", "100"), 2, "delete those")

    def test_other_protocols_are_explained(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.assertIn("SCTP 10.0.0.1:1000 to 10.0.0.2:3868", self.ok("explain", "port-a", "sctp", "10.0.0.1:1000", "10.0.0.2:3868"))
        self.assertIn("protocol 47 10.0.0.1 to 10.0.0.2", self.ok("explain", "port-a", "47", "10.0.0.1", "10.0.0.2"))
        self.assertIn("TCP 10.0.0.1:1000 to 10.0.0.2:80", self.ok("explain", "port-a", "6", "10.0.0.1:1000", "10.0.0.2:80"))
        self.assertSays(self.ctl("explain", "port-a", "00", "7"), 1, "there is no worker 7: they are counted from 0 to 0")
        self.assertSays(self.ctl("explain", "port-a", "gre", "10.0.0.1", "10.0.0.2"), 2, "expected tcp, udp, sctp, icmp or the number of a protocol")
        self.assertSays(self.ctl("explain", "port-a", "47", "10.0.0.1:1", "10.0.0.2"), 2, "an address without a port")
        # The NAT changes ports and checksum of the SCTP packet: both must have been right before.
        out = json.loads(self.ok("explain", "port-a", "sctp", "10.0.0.1:1000", "198.51.100.1:3868", "-o", "json"))
        inner = bytes.fromhex(out["frame"])[14 + 40:]
        self.assertEqual(IP(inner).src, "192.0.2.1")
        self.assertEqual(int.from_bytes(inner[28:32], "little"), crc32c(inner[20:28] + bytes(4) + inner[32:]))

    def test_changes_are_watched(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        with self.watch("routes", "-o", "json", "--count", "2", "--timeout", "30s") as watch:
            self.ok("apply", "-f", "-", stdin="kind: Interface\nid: c\nport: port-b2\nvni: 100\nipv4: 10.0.0.3\n")
            self.ok("apply", "-f", "-", stdin='{"kind": "Route", "vni": 100, "prefix": "10.9.0.0/16", "nextHops": [{"underlay": "2001:db8:0:9::1"}]}')
            self.ok("delete", "route", "100", "10.9.0.0/16")
            out, err = watch.communicate(timeout=30)
        self.assertEqual(watch.returncode, 0, err)
        one, two = map(json.loads, out.splitlines())
        self.assertEqual((one["change"]["kind"], one["change"]["prefix"]), ("Route", "10.9.0.0/16"))
        self.assertEqual(two["change"], {"delete": "Route", "vni": 100, "prefix": "10.9.0.0/16"})
        self.assertEqual(two["revision"], one["revision"] + 1)

        with self.watch("--interface", "a", "--counters", "--every", "100ms", "--timeout", "30s", "--count", "3") as watch:
            self.ok("delete", "rule", "b", "web")
            self.ok("delete", "nat", "a")
            self.gateway_mac("a")
            self.ok("apply", "-f", "-", stdin=NETWORK)
            out, err = watch.communicate(timeout=30)
        self.assertEqual(watch.returncode, 0, err)
        self.assertIn("  deleted  nat a\n", out)
        self.assertRegex(out, r"  set      nat: Interface a, Address 192\.0\.2\.1, Ports 1024-2047")
        self.assertRegex(out, r"counters  .*interfaces\.a\.sentPackets \+1")
        self.assertNotIn("rule", out)

    def test_a_watch_ends(self):
        self.assertIn("watching from revision", self.ctl("watch", "--timeout", "200ms").err)
        late = self.ctl("watch", "--timeout", "200ms", "--count", "1")
        self.assertEqual(late.code, 1)
        self.assertIn("error: 0 of 1 lines came in 200ms", late.err)
        self.assertSays(self.ctl("watch", "rotes"), 2, 'did you mean "routes"?')
        self.assertSays(self.ctl("watch", "-o", "yaml"), 2, "-o table or -o json")
        self.assertSays(self.ctl("watch", "--every", "1ms"), 2, "--every: at least 100ms")
        with self.watch() as watch:
            watch.send_signal(signal.SIGINT)
            out, err = watch.communicate(timeout=30)
        self.assertEqual((watch.returncode, out), (0, ""), err)

    def test_a_watch_that_misses_something_says_so(self):
        with self.watch("--timeout", "60s", "--count", "1") as watch:
            routes = [{"kind": "Route", "vni": 100, "prefix": f"10.{i // 256}.{i % 256}.0/24", "nextHops": [{"underlay": OTHER_HOST}]} for i in range(20_000)]
            self.ok("apply", "-f", "-", stdin=json.dumps({"kind": "List", "items": routes}))
            wait_until("it is told", lambda: "changes were missed" in watch.stderr.readline())
            self.ok("delete", "route", "100", "10.0.0.0/24")
            out, err = watch.communicate(timeout=30)
        self.assertEqual(watch.returncode, 0, err)
        self.assertIn("deleted  route 100 10.0.0.0/24", out)

    def test_a_file_of_100000_routes_is_one_batch(self):
        route = '{{kind: Route, vni: 100, prefix: 10.{}.{}.{}/32, nextHops: [{{underlay: "2001:db8:0:2::{:x}"}}]}}'
        lines = [route.format(i >> 16, i >> 8 & 255, i & 255, i % 1000 + 1) for i in range(100_000)]
        file = self.write("routes.yaml", "kind: List\nitems:\n" + "".join(f"  - {line}\n" for line in lines))
        before = json.loads(self.ok("status", "-o", "json"))["revision"]
        self.assertIn(f"100000 changes applied, revision {before + 1}", self.ok("apply", "-f", file))
        self.assertIn("100000 changes said nothing new", self.ok("apply", "-f", file))
        wrong = self.write("wrong.yaml", file.read_text().replace("10.0.1.", "10.0.x.").replace("items:\n", "items:\n  - {kind: Route, vni: 7, prefix: 10.0.0.0/8}\n"))
        said = self.ctl("apply", "-f", wrong)
        self.assertSays(said, 2, f"error: {wrong}:3:5: ", f"error: {wrong}:260:29: items[257].prefix:", "error: … and 193 more")
        self.assertEqual(len(said.err.splitlines()), 65)
        several = self.write("several.yaml", "".join(f"{line}\n---\n" for line in lines))
        self.assertIn("100000 changes said nothing new", self.ok("apply", "-f", several))
        self.assertIn("100000 changes applied", self.ok("delete", "-f", file))

    def test_files_without_an_object_are_told(self):
        for name, text in (("empty.yaml", ""), ("comment.yaml", "# nothing\n---\n"), ("list.yaml", "kind: List\nitems: []\n")):
            with self.subTest(name):
                file = self.write(name, text)
                self.assertSays(self.ctl("apply", "-f", file), 2, f"there is no object in {file}")
        file = self.write("word.yaml", "word\n")
        self.assertSays(self.ctl("apply", "-f", file), 2, f"error: {file}:1:1: must be an object with a kind")
        file = self.write("list.yaml", "- {kind: Route, vni: 1, prefix: 10.0.0.0/8}\n- 3\n")
        self.assertSays(self.ctl("apply", "-f", file), 2, f"error: {file}:1:3: [0].nextHops: is required", f"error: {file}:2:3: [1]: must be an object")

    def test_a_crash_leaves_nothing_in_the_way(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.assertEqual(self.lease("a"), "10.0.0.1")
        self.daemon.kill()
        self.start()
        self.assertIn("6 changes said nothing new", self.ok("apply", "-f", "-", stdin=NETWORK))
        self.assertEqual(self.lease("a"), "10.0.0.1")
        self.assertEqual(self.daemon.stop(), 0)
        self.assertFalse((self.directory / "dataplane.sock").exists())


class Functions(Host):
    """What else the engine does, seen from outside: machines of both families, a server of the public at 198.51.100.1."""
    NETWORK = f"""
kind: List
items:
  - {{kind: Interface, id: a, port: port-a, vni: 100, ipv4: 10.0.0.1, ipv6: "2001:db8:100::1", mac: "{MACS['a']}"}}
  - {{kind: Interface, id: b, port: port-b, vni: 100, ipv4: 10.0.0.2, ipv6: "2001:db8:100::2", mac: "{MACS['b']}"}}
  - {{kind: FirewallRule, interface: b, id: v4, source: 0.0.0.0/0, destination: 0.0.0.0/0}}
  - {{kind: FirewallRule, interface: b, id: v6, source: "::/0", destination: "::/0"}}
  - {{kind: Route, vni: 100, prefix: 10.2.0.0/16, nextHops: [{{underlay: "{OTHER_HOST}"}}]}}
  - {{kind: Route, vni: 100, prefix: 0.0.0.0/0, nextHops: [{{underlay: "{PUBLIC}"}}]}}
  - {{kind: Route, vni: 100, prefix: "::/0", nextHops: [{{underlay: "{PUBLIC}"}}]}}
  - {{kind: Nat, interface: a, address: 192.0.2.1, firstPort: 1024, lastPort: 2047}}
  - {{kind: VirtualIp, interface: b, address: 192.0.2.77}}
  - {{kind: LoadBalancer, id: lb, vni: 100, address: 10.9.9.9, services: [{{protocol: UDP, firstPort: 53, lastPort: 60}}]}}
  - {{kind: InterfacePrefix, interface: b, prefix: 10.9.9.9/32, use: LoadBalancer}}
  - {{kind: VirtualService, id: dns, protocol: UDP, address: 169.254.77.1, port: 53, serviceAddress: "2001:db8:0:9::53", servicePort: 5353}}
"""
    SERVER = "198.51.100.1"

    def setUp(self):
        super().setUp()
        self.ok("apply", "-f", "-", stdin=self.NETWORK)
        self.macs = {name: self.gateway_mac(name) for name in "ab"}

    def send(self, name, packet):
        self.wires[name].send(Ether(src=MACS[name], dst=self.macs[name]) / packet)

    def send_wire(self, underlay, packet, source=PUBLIC):
        self.wires["up"].send(Ether(src=ROUTER, dst="02:00:00:00:04:01") / IPv6(src=source, dst=underlay, nh=41 if IPv6 in packet else 4) / packet)

    def comes(self, name, payload):
        """The frame with this in it."""
        return self.wires[name].wait_for(str(payload), lambda frame: payload in bytes(frame))

    def comes_by_wire(self, payload):
        """The packet inside, whose checksums are right."""
        packet = IP(bytes(self.comes("up", payload)[IPv6].payload))
        self.check_sums(packet)
        return packet

    def check_sums(self, packet):
        anew = packet.__class__(bytes(packet))
        for layer in (IP, UDP, TCP, ICMP):
            if layer in anew:
                del anew[layer].chksum
        self.assertEqual(bytes(anew).hex(), bytes(packet).hex())

    def test_machines_speak_ipv6(self):
        self.wires["a"].send(Ether(src=MACS["a"], dst="33:33:00:00:00:02") / IPv6(src="fe80::a", dst="ff02::2", hlim=255) / ICMPv6ND_RS())
        told = self.wires["a"].wait_for("a router advertisement", lambda frame: ICMPv6ND_RA in frame)
        self.assertEqual(told[ICMPv6NDOptMTU].mtu, 1500)
        to_b = IPv6(src="2001:db8:100::1", dst="2001:db8:100::2")
        self.send("a", to_b / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP(sport=7000, dport=8000) / b"behind headers")
        came = self.comes("b", b"behind headers")
        self.assertEqual((came[IPv6].hlim, came[UDP].dport), (63, 8000))
        to_b.hlim = 1
        self.send("a", to_b / UDP(sport=7000, dport=8000) / b"too far")
        heard = self.wires["a"].wait_for("time exceeded", lambda frame: ICMPv6TimeExceeded in frame)
        self.assertEqual(heard[IPv6].src, "fe80::1")
        self.send("a", IP(src="10.0.0.1", dst="10.0.0.2", ttl=1) / UDP(sport=7000, dport=8000) / b"too far")
        heard = self.wires["a"].wait_for("time exceeded", lambda frame: ICMP in frame)
        self.assertEqual((heard[ICMP].type, heard[IP].src), (11, GATEWAY))

    def test_pieces_options_and_errors_pass_nat(self):
        content = bytes(range(256)) * 10
        pieces = fragment(IP(src="10.0.0.1", dst=self.SERVER, id=99) / UDP(sport=4500, dport=7000) / content, 1400)
        for piece in pieces:
            self.send("a", piece)
        came = [IP(bytes(self.wires["up"].wait_for("a piece", lambda frame: IPv6 in frame and frame[IPv6].nh == 4)[IPv6].payload)) for _ in pieces]
        whole = IP(bytes(defragment(came)[0]))
        self.check_sums(whole)
        self.assertEqual((whole.src, bytes(whole[UDP].payload)), ("192.0.2.1", content))

        self.send("a", IP(src="10.0.0.1", dst=self.SERVER, options=[IPOption_RR(length=7, routers=["0.0.0.0"])]) / UDP(sport=4501, dport=7000) / b"options")
        self.assertEqual(len(self.comes_by_wire(b"options").options), 2)

        self.send("a", IP(src="10.0.0.1", dst=self.SERVER) / UDP(sport=4600, dport=7000) / b"question")
        error = IP(src="198.51.100.77", dst="192.0.2.1") / ICMP(type=3, code=4, nexthopmtu=1300) / self.comes_by_wire(b"question")
        self.send_wire(self.underlay_of("nat", "a"), error)
        heard = self.wires["a"].wait_for("the error", lambda frame: ICMP in frame)
        self.check_sums(IP(bytes(heard[IP])))
        quoted = IP(bytes(heard[ICMP].payload))
        self.check_sums(quoted)
        self.assertEqual((heard[IP].src, heard[ICMP].nexthopmtu, quoted.src, quoted[UDP].sport), ("198.51.100.77", 1300, "10.0.0.1", 4600))

    def test_nat64_leads_to_ipv4(self):
        # Embedded by hand: scapy's sums of addresses with dots in them are wrong.
        self.send("a", IPv6(src="2001:db8:100::1", dst="64:ff9b::c633:6401") / UDP(sport=4800, dport=53) / b"from six")
        asked = self.comes_by_wire(b"from six")
        self.assertEqual((asked.src, asked.dst), ("192.0.2.1", self.SERVER))
        self.send_wire(self.underlay_of("nat", "a"), IP(src=self.SERVER, dst="192.0.2.1") / UDP(sport=53, dport=asked[UDP].sport) / b"from four")
        answer = self.comes("a", b"from four")[IPv6]
        self.check_sums(answer)
        self.assertEqual((answer.src, answer[UDP].dport), ("64:ff9b::c633:6401", 4800))

    def test_public_addresses_balancers_and_services(self):
        underlay = self.underlay_of("virtual-ip", "b", "IPv4")
        self.send_wire(underlay, IP(src=self.SERVER, dst="192.0.2.77") / UDP(sport=7000, dport=80) / b"to the public address")
        came = self.comes("b", b"to the public address")
        self.check_sums(came[IP])
        self.assertEqual(came[IP].dst, "10.0.0.2")
        self.send("b", IP(src="10.0.0.2", dst=self.SERVER) / UDP(sport=80, dport=7000) / b"and back")
        self.assertEqual(self.comes_by_wire(b"and back").src, "192.0.2.77")

        target = json.loads(self.ok("get", "prefixes", "-o", "json"))["items"][0]["underlay"]
        self.ok("apply", "-f", "-", stdin=json.dumps({"kind": "LoadBalancerTarget", "loadBalancer": "lb", "underlay": target}))
        self.send("a", IP(src="10.0.0.1", dst="10.9.9.9") / UDP(sport=3000, dport=55) / b"balanced")
        self.assertEqual(self.comes("b", b"balanced")[IP].dst, "10.9.9.9")
        self.send("b", IP(src="10.9.9.9", dst="10.0.0.1") / UDP(sport=55, dport=3000) / b"returned")
        self.assertEqual(self.comes("a", b"returned")[IP].src, "10.9.9.9")

        self.send("a", IP(src="10.0.0.1", dst="169.254.77.1") / UDP(sport=6000, dport=53) / b"virtual")
        asked = self.comes("up", b"virtual")[IPv6]
        self.check_sums(asked)
        self.assertEqual((asked.nh, asked.dst, asked[UDP].dport), (17, "2001:db8:0:9::53", 5353))
        self.wires["up"].send(Ether(src=ROUTER, dst="02:00:00:00:04:01") / IPv6(src=asked.dst, dst=asked.src) / UDP(sport=5353, dport=asked[UDP].sport) / b"real")
        answer = self.comes("a", b"real")
        self.check_sums(answer[IP])
        self.assertEqual((answer[IP].src, answer[UDP].sport, answer[UDP].dport), ("169.254.77.1", 53, 6000))

    def test_what_the_wire_brings_too_long_is_told_to_its_sender(self):
        self.send("b", IP(src="10.0.0.2", dst="10.2.0.7") / UDP(sport=4000, dport=7000) / b"question")
        self.comes_by_wire(b"question")
        self.send_wire(self.underlay_of("interface", "b"), IP(src="10.2.0.7", dst="10.0.0.2", flags="DF") / UDP(sport=7000, dport=4000) / bytes(1480), OTHER_HOST)
        told = self.wires["up"].wait_for("the error", lambda frame: IPv6 in frame and frame[IPv6].nh == 4 and IP(bytes(frame[IPv6].payload)).proto == 1)
        self.assertEqual(told[IPv6].dst, OTHER_HOST)
        error = IP(bytes(told[IPv6].payload))
        self.check_sums(error)
        self.assertEqual((error.dst, error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu), ("10.2.0.7", 3, 4, 1500))


class RouterToBeFound(Host):
    """Only the address of the router is told: its MAC is asked for."""
    router = "fe80::aa"

    def test_the_uplink_is_used_when_the_router_has_answered(self):
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.gateway_mac("a")
        out = self.from_machine("a", IP(src="10.0.0.1", dst="10.2.0.7") / UDP(sport=4000, dport=7000) / b"question")
        self.wires["a"].send(out)
        question = self.wires["up"].wait_for("the question", lambda frame: ICMPv6ND_NS in frame)
        self.assertEqual((question.dst, question[IPv6].dst, question[IPv6].hlim), ("33:33:ff:00:00:aa", "ff02::1:ff00:aa", 255))
        self.assertEqual(question[ICMPv6NDOptSrcLLAddr].lladdr, question.src)
        self.assertEqual(json.loads(self.ok("counters", "-o", "json"))["dropped"]["uplink"], 1)
        answer = Ether(src=ROUTER, dst=question.src) / IPv6(src=self.router, dst=question[IPv6].src, hlim=255) / ICMPv6ND_NA(
            tgt=self.router, R=1, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=ROUTER)
        self.wires["up"].send(answer)

        def attempt():
            self.wires["a"].send(out)
            with contextlib.suppress(AssertionError):
                return self.wires["up"].wait_for("it", lambda frame: IPv6 in frame and frame[IPv6].dst == OTHER_HOST, 0.2)
        self.assertEqual(wait_until("the uplink is used", attempt).dst, ROUTER)

        ask = Ether(src=ROUTER, dst=question.src) / IPv6(src=self.router, dst=question[IPv6].src, hlim=255) / ICMPv6ND_NS(
            tgt=question[IPv6].src) / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER)
        self.wires["up"].send(ask)
        told = self.wires["up"].wait_for("our answer", lambda frame: ICMPv6ND_NA in frame)
        self.assertEqual((told.dst, told[ICMPv6NDOptDstLLAddr].lladdr, told[ICMPv6ND_NA].S), (ROUTER, question.src, 1))


class FromOtherHosts(TempDirectory):
    """As docs/several-hosts.md says it: over TCP, each with a key and no more rights than it needs."""
    endpoint = "tcp://127.0.0.1:7410"  # in a network namespace of our own

    def setUp(self):
        super().setUp()
        self.keys = {name: self.key(name) for name in ("server", "me", "monitoring", "stranger")}
        identities = (cloud.ROOT / "examples/dataplane-identities.json").read_text()
        for place, name in (("@MY_PUBLIC_KEY@", "me"), ("@MONITORING_PUBLIC_KEY@", "monitoring")):
            self.assertIn(place, identities)
            identities = identities.replace(place, json.dumps(self.keys[name][1])[1:-1])
        self.identities = self.write("identities.json", identities)
        local = f"ipc://{self.directory}/dataplane.sock"
        self.daemon = Daemon("metalnetd", [program("metalnetd"), "--underlay", UNDERLAY, "--listen", local, "--listen", self.endpoint,
                                           "--key-file", self.keys["server"][0], "--identities-file", self.identities,
                                           "--connections", 1000, "--keep", "nothing", "--dpdk-prefix", f"test-{os.getpid()}"], self.directory)
        self.addCleanup(self.daemon.kill)
        self.daemon.wait_ready()
        self.local = {"IRONCORE_DATAPLANE": local}

    def key(self, name):
        """The file, and the public key in it."""
        made = run("ironcored", "keygen", self.directory / f"{name}.key")
        self.assertEqual(made.code, 0, made)
        return self.directory / f"{name}.key", made.out.strip()

    def ctl(self, who, *arguments, server="server", stdin=""):
        environment = {"IRONCORE_DATAPLANE": self.endpoint, "IRONCORE_DATAPLANE_KEY": self.keys[server][1], "IRONCORE_KEY_FILE": str(self.keys[who][0])}
        return run("ironcorectl", "dataplane", *arguments, stdin=stdin, environment=environment)

    def test_each_key_may_do_what_the_file_says(self):
        self.assertSays(self.ctl("me", "apply", "-f", "-", stdin=NETWORK), 0, "6 changes applied", stream="out")
        self.assertSays(self.ctl("monitoring", "get", "interfaces"), 0, "10.0.0.1", stream="out")
        self.assertSays(self.ctl("monitoring", "counters"), 0, stream="out")
        self.assertSays(self.ctl("monitoring", "delete", "interface", "a"), 1, "monitoring may not update Interface")
        self.assertSays(self.ctl("monitoring", "open-port", "x", "tap:x"), 1, "monitoring may not update ports")
        self.assertSays(self.ctl("stranger", "get", "interfaces"), 1, "does not know the key " + self.keys["stranger"][1])
        self.assertSays(self.ctl("me", "get", "interfaces", server="stranger"), 1, "check that the server's public key is right")
        without = run("ironcorectl", "dataplane", "get", "interfaces", "--dataplane", self.endpoint)
        self.assertSays(without, 2, "needs keys")
        # On this host the socket's mode is all that is asked, also by who has a key for elsewhere.
        here = run("ironcorectl", "dataplane", "get", "interfaces", environment={**self.local, "IRONCORE_KEY_FILE": str(self.keys["me"][0])})
        self.assertSays(here, 0, "10.0.0.1", stream="out")

    def test_identities_are_read_again(self):
        self.assertEqual(self.ctl("me", "get", "interfaces").code, 0)
        right = self.identities.read_text()
        self.identities.write_text("{")
        self.daemon.process.send_signal(signal.SIGHUP)
        wait_until("the wrong file is refused", lambda: "identities not reloaded" in self.daemon.tail())
        self.assertEqual(self.ctl("me", "get", "interfaces").code, 0)
        self.identities.write_text(right.replace('"roles": ["everything"]', '"roles": ["viewer"]'))
        self.daemon.process.send_signal(signal.SIGHUP)
        wait_until("what may be done changes", lambda: self.ctl("me", "delete", "interface", "a").code == 1)
        self.assertEqual(self.ctl("me", "get", "interfaces").code, 0)


class Settings(TempDirectory):
    def test_wrong_settings_are_named(self):
        right = ["--underlay", UNDERLAY]
        self.assertSays(run("metalnetd"), 2, "underlay is missing")
        for words, text in ((["--underlay", "10.0.0.0/8"], "expected an IPv6 prefix of length 64"),
                            ([*right, "--uplink", "up,device=af_packet:x"], "router=MAC"),
                            ([*right, "--uplink", "up,router=02,device=af_packet:x"], "router"),
                            ([*right, "--uplink", "up,router=ff02::2,device=af_packet:x"], "no router can have ff02::2"),
                            ([*right, "--port", "x"], "NAME=DEVICE"),
                            ([*right, "--port", "a b=tap:x"], "port"),
                            ([*right, "--workers", "0"], "workers: expected 1 to 64"),
                            ([*right, "--mtu", "9000"], "mtu: expected 576 to 8960"),
                            ([*right, "--dns", "x"], "dns"),
                            ([*right, "--lease", "1s"], "lease: at least 60s"),
                            ([*right, "--listen", "tcp://127.0.0.1:5"], "key-file: tcp is offered only with keys"),
                            ([*right, "--listen", "tcp://127.0.0.1:5", "--key-file", "x"], "identities-file: tcp is offered only to known keys"),
                            ([*right, "--identities-file", "x"], "add --listen tcp://address:port"),
                            ([*right, "--listen", "ipc:///a", "--listen", "ipc:///b"], "one too many"),
                            ([*right, "--uplink", "up,router=10.0.0.1,device=tap:x"], 'router: expected a MAC address such as 02:00:00:00:00:01, or an IPv6 address such as fe80::1'),
                            ([*right, "--maglev-size", "65536"], "maglev-size: must be a prime from 101 to 16777213, and is 65536; the nearest is 65537"),
                            ([*right, "--maglev-size", "5000000000"], "maglev-size: expected a prime"),
                            ([*right, "--port", "a=tap:x", "--port", "b=tap:x"], "port b: device: tap:x cannot be of a and b"),
                            ([*right, "--port", "a=tap:x", "--port", "a=tap:y"], "port a: name: a is named twice"),
                            ([*right, "--port", "a=tpa:x"], 'did you mean "tap"?'),
                            ([*right, "--card", "0000:01:00.0", "--card", "0000:01:00.0"], "cards[1]: 0000:01:00.0 is named twice"),
                            ([*right, "--port", "a=pci:0000:01:00.0"], "none of the cards that may be opened"),
                            ([*right, "--workers", "64", "--connections", "1000000000"], "connections: 1000000000 for each of 64 workers take"),
                            ([*right, "--connections", "2000000000"], "connections: must be 1 to 1073741824"),
                            ([*right, "--buffers", "200000"], "buffers: 200000 do not fit into 256 MiB"),
                            ([*right, "--memory", "1024Ti"], "memory:"),
                            ([*right, "--pages", "huge", "--memory", "512Gi"], "memory: this host has"),
                            ([*right, "--metrics", "9464"], "metrics: expected address:port"),
                            ([*right, "--state-directory", "/dev/null/x"], "state-directory: /dev/null is no directory"),
                            ([*right, "--ready-file", "/nowhere/ready"], "ready-file: /nowhere is no directory"),
                            ([*right, "--dpdk-prefix", "a/b"], "dpdk-prefix: must be 1 to 32 letters")):
            with self.subTest(text):
                self.assertSays(run("metalnetd", *words, "--check-config"), 2, text)

    def test_a_config_file_is_checked_and_printed(self):
        config = self.write("metalnetd.yaml", f"underlay: {UNDERLAY}\nuplink:\n  - up,router={ROUTER},weight=2,device=af_packet:eth1\n"
                                              "firewall: \"off\"\nmaglev-size: 251\ndns: [192.0.2.53]\nlease: 1h\n")
        self.assertEqual(run("metalnetd", "--config", config, "--check-config").code, 0)
        printed = run("metalnetd", "--config", config, "--print-config").out
        self.assertIn("weight=2", printed)
        again = self.write("again.yaml", printed)
        self.assertEqual(run("metalnetd", "--config", again, "--print-config").out, printed)

    def test_a_capture_directory_that_is_not_there_is_an_error(self):
        result = run("metalnetd", "--underlay", UNDERLAY, "--check-config", "--capture-directory", self.directory / "nowhere")
        self.assertSays(result, 2, "nowhere is no directory")

    def test_a_device_that_is_not_there_is_an_error(self):
        result = run("metalnetd", "--underlay", UNDERLAY, "--port", "a=af_packet:nowhere", "--listen", f"ipc://{self.directory}/s", "--keep", "nothing")
        self.assertEqual(result.code, 1, result)
        self.assertIn("open port a", result.err)
        self.assertIn("nowhere", result.err)


if __name__ == "__main__":
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE) != 0:
        print("skipped: no network namespace of its own; run the tests as root")
        sys.exit(cloud.SKIPPED)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for where in ("all", "default"):
        with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv6/conf/{where}/disable_ipv6", "w") as file:
            file.write("1")
    cloud.main("metalnetd", "ironcorectl", "ironcored")
