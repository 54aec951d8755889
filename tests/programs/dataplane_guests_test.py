# SPDX-License-Identifier: Apache-2.0
"""Guests in QEMU on two hosts, each with its metalnetd, and a router between them that is also the way to the public.

    host a: guest a ── vhost-user ── metalnetd ── up0 ═ veth ═ a0 ┐
                                                                 ├ this process: routes IPv6; out0 is the public (198.51.100.1)
    host b: guest b ── vhost-user ── metalnetd ── up0 ═ veth ═ b0 ┘

Each host is a network namespace; so is the one of this process. All of them go with their last process.
"""
import contextlib
import ctypes
import fcntl
import http.server
import json
import os
import pathlib
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

import cloud
from cloud import Daemon, program, run, wait_until
from guests import PROMPT, Guest, Image, end_with_parent

IMAGE = cloud.BUILD / "guest/image"
NEW_NETWORK_NAMESPACE = 0x40000000
ECHO_PORT = 7000
PUBLIC_UNDERLAY, PUBLIC = "2001:db8:ffff::1", "198.51.100.1"
NAT, BALANCER = "192.0.2.1", "203.0.113.80"
UNDERLAYS = {"a": "2001:db8:0:1", "b": "2001:db8:0:2"}
UP_MACS = {"a": "02:00:00:00:04:0a", "b": "02:00:00:00:04:0b"}
ROUTER_MACS = {"a": "02:00:00:00:03:0a", "b": "02:00:00:00:03:0b"}
ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2"}
MACS = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b"}
# Addresses of objects on a host, in its prefix.
INTERFACE, TARGET, NAT_HERE, BALANCER_HERE = ":d000:8000::1", ":d000:8000::2", ":d000:8000::3", ":d000:8000::4"


def configuration(host):
    other = {"a": "b", "b": "a"}[host]
    objects = [
        {"kind": "Interface", "id": host, "port": host, "vni": 100, "ipv4": ADDRESSES[host], "mac": MACS[host], "hostname": f"guest-{host}",
         "underlay": UNDERLAYS[host] + INTERFACE},
        {"kind": "FirewallRule", "interface": host, "id": "ping", "source": "10.0.0.0/8", "destination": "0.0.0.0/0", "protocol": "ICMP"},
        {"kind": "FirewallRule", "interface": host, "id": "web", "source": "0.0.0.0/0", "destination": "0.0.0.0/0", "protocol": "TCP",
         "destinationPorts": {"first": 80, "last": 80}},
        {"kind": "InterfacePrefix", "interface": host, "prefix": f"{BALANCER}/32", "use": "LoadBalancer", "underlay": UNDERLAYS[host] + TARGET},
        {"kind": "Route", "vni": 100, "prefix": f"{ADDRESSES[other]}/32", "nextHops": [{"underlay": UNDERLAYS[other] + INTERFACE}]},
        {"kind": "Route", "vni": 100, "prefix": "0.0.0.0/0", "nextHops": [{"underlay": PUBLIC_UNDERLAY}]},
    ]
    if host == "a":
        objects += [
            {"kind": "Nat", "interface": "a", "address": NAT, "firstPort": 1024, "lastPort": 2047, "underlay": UNDERLAYS["a"] + NAT_HERE},
            {"kind": "LoadBalancer", "id": "web", "vni": 100, "address": BALANCER, "underlay": UNDERLAYS["a"] + BALANCER_HERE,
             "services": [{"protocol": "TCP", "firstPort": 80, "lastPort": 80}]},
            *({"kind": "LoadBalancerTarget", "loadBalancer": "web", "underlay": UNDERLAYS[one] + TARGET} for one in "ab"),
        ]
    return json.dumps({"kind": "List", "items": objects})


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Public:
    """What is behind the router: an interface out0 of this kernel, whose packets travel to the hosts as theirs do, and a web server."""

    def __init__(self):
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        tun_without_header, set_interface = 0x1001, 0x400454CA
        fcntl.ioctl(self.tun, set_interface, struct.pack("16sH22x", b"out0", tun_without_header))
        ip("address", "add", f"{PUBLIC}/32", "dev", "out0")
        ip("link", "set", "out0", "mtu", "1500", "up")
        for there in (NAT, BALANCER):
            ip("route", "add", there, "dev", "out0", "src", PUBLIC)
        ip("-6", "address", "add", f"{PUBLIC_UNDERLAY}/128", "dev", "lo", "nodad")
        # Hands over what is in an IPv6 packet for us, and puts one around what it sends.
        self.wire = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_IPIP)
        self.wire.bind((PUBLIC_UNDERLAY, 0))
        self.stop_reader, self.stop_writer = os.pipe()
        self.relay = threading.Thread(target=self.run)
        self.relay.start()
        self.seen = []
        seen = self.seen

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(self.client_address)
                body = self.client_address[0].encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((PUBLIC, 80), Page)
        self.serving = threading.Thread(target=self.server.serve_forever)
        self.serving.start()

    def run(self):
        ways = {socket.inet_aton(NAT): UNDERLAYS["a"] + NAT_HERE, socket.inet_aton(BALANCER): UNDERLAYS["a"] + BALANCER_HERE}
        while True:
            ready, _, _ = select.select([self.tun, self.wire, self.stop_reader], [], [])
            if self.stop_reader in ready:
                return
            if self.wire in ready:
                os.write(self.tun, self.wire.recv(65536))
            if self.tun in ready:
                packet = os.read(self.tun, 65536)
                if way := ways.get(packet[16:20]):
                    self.wire.sendto(packet, (way, 0))

    def close(self):
        self.server.shutdown()
        self.serving.join()
        self.server.server_close()
        os.write(self.stop_writer, b"x")
        self.relay.join()
        self.wire.close()
        for one in (self.tun, self.stop_reader, self.stop_writer):
            os.close(one)


class Echo:
    """One connection: a line is sent, and the next one when it has come back."""

    def __init__(self):
        self.peer, self.count, self.failed = None, 0, None
        self.listener = socket.create_server((PUBLIC, ECHO_PORT))
        self.listener.settimeout(60)
        self.connection = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.connection, self.peer = self.listener.accept()
            self.connection.settimeout(60)
            with self.connection.makefile("rb") as lines:
                while True:
                    line = b"%d\n" % (self.count + 1)
                    self.connection.sendall(line)
                    if (back := lines.readline()) != line:
                        raise ValueError(f"{line} came back as {back}")
                    self.count += 1
                    time.sleep(0.005)
        except (OSError, ValueError) as failed:
            self.failed = failed

    def wait_for_more(self, lines):
        wanted = self.count + lines
        wait_until("lines come back", lambda: self.failed or self.count >= wanted, 90)
        if self.failed:
            raise AssertionError(f"the connection ended after {self.count} lines: {self.failed}")

    def close(self):
        for one in filter(None, (self.connection, self.listener)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        for one in filter(None, (self.connection, self.listener)):
            one.close()


class Host:
    """A network namespace with a metalnetd in it, a wire to the router, and a guest."""

    def __init__(self, name, directory):
        self.name, self.directory = name, directory
        self.endpoint = f"ipc://{directory}/{name}.sock"
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"], preexec_fn=end_with_parent)
        self.daemon = None
        self.guest = None
        # unshare becomes sleep once it is in its namespace.
        wait_until(f"host {name} is there", lambda: pathlib.Path(f"/proc/{self.holder.pid}/comm").read_text() == "sleep\n")
        ip("link", "add", f"{name}0", "address", ROUTER_MACS[name], "mtu", "1600", "type", "veth",
           "peer", "name", "up0", "address", UP_MACS[name], "mtu", "1600", "netns", str(self.holder.pid))
        self.inside("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/up0/disable_ipv6; ip link set up0 up")
        ip("link", "set", f"{name}0", "up")
        ip("-6", "route", "add", f"{UNDERLAYS[name]}::/64", "via", "fe80::1", "dev", f"{name}0")
        ip("-6", "neighbour", "add", "fe80::1", "lladdr", UP_MACS[name], "dev", f"{name}0", "nud", "permanent")

    def enter(self):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def inside(self, *words):
        subprocess.run([*self.enter(), *words], check=True)

    def start(self):
        words = ["--underlay", f"{UNDERLAYS[self.name]}::/64", "--uplink", f"up,router={ROUTER_MACS[self.name]},device=af_packet:up0",
                 "--port", f"{self.name}=vhost:{self.directory}/{self.name}.vhost", "--listen", self.endpoint, "--connections", 10000,
                 "--dpdk-prefix", f"test-{os.getpid()}-{self.name}", "--state-directory", self.directory / f"state-{self.name}",
                 "--flow-directory", self.directory / f"flows-{self.name}"]
        self.daemon = Daemon(f"metalnetd-{self.name}", [*self.enter(), program("metalnetd"), *words], self.directory).wait_ready()

    def ctl(self, *words, stdin=""):
        result = run("ironcorectl", "dataplane", *words, stdin=stdin, environment={"IRONCORE_DATAPLANE": self.endpoint})
        if result.code != 0:
            raise AssertionError(f"{self.name}: {words}: {result}\n{self.daemon.tail()}")
        return result.out

    def apply(self):
        return self.ctl("apply", "-f", "-", stdin=configuration(self.name))

    def is_up(self):
        return all(port["isUp"] for port in json.loads(self.ctl("ports", "-o", "json")))

    def boot(self, image):
        folder = self.directory / f"guest-{self.name}"
        folder.mkdir()
        self.guest = Guest(image, folder, vhost_user=f"{self.directory}/{self.name}.vhost", mac=MACS[self.name])

    def close(self):
        if self.guest:
            self.guest.close()
        if self.daemon:
            self.daemon.kill()
        self.holder.kill()
        self.holder.wait()


class Guests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-"))
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        cls.public = Public()
        cls.addClassCleanup(cls.public.close)
        cls.hosts = {}
        image = Image(IMAGE)
        for name in "ab":
            host = cls.hosts[name] = Host(name, directory)
            cls.addClassCleanup(host.close)
            host.start()
            host.apply()
            host.boot(image)
        for name, host in cls.hosts.items():
            host.guest.wait_for(PROMPT)
            host.guest.wait_for(f"ironcore guest: address eth0 {ADDRESSES[name]}/32")
            cls.prepare(name)

    @classmethod
    def prepare(cls, name):
        """After each boot."""
        guest = cls.hosts[name].guest
        guest.run("stty columns 500")  # what is typed comes back in one line
        guest.run(f"mkdir /srv && cd /srv && echo {name} >name && dd if=/dev/urandom of=large bs=64k count=64 2>/dev/null; httpd -h /srv")
        # A target has the address of the load balancer beside its own.
        guest.run(f"ip link set lo up && ip address add {BALANCER}/32 dev lo")

    def console(self, name, command):
        return self.hosts[name].guest.run(command)

    def assertPings(self, name, address):
        self.assertIn("3 packets transmitted, 3 packets received", self.console(name, f"ping -c 3 -W 5 {address}"))

    def test_a_guest_has_what_dhcp_told(self):
        routes = self.console("a", "ip route")
        self.assertIn("default via 169.254.0.1 dev eth0", routes)
        self.assertIn("169.254.0.1 dev eth0", routes)
        self.assertPings("a", "169.254.0.1")

    def test_guests_reach_each_other(self):
        self.assertPings("a", ADDRESSES["b"])
        self.assertPings("b", ADDRESSES["a"])
        for one, other in ("ab", "ba"):
            wanted = self.console(other, "sha256sum /srv/large").split()[0]
            got = self.console(one, f"wget -q -O - http://{ADDRESSES[other]}/large | sha256sum").split()[0]
            self.assertEqual(got, wanted)
        # Nothing but the web may come in.
        self.console("b", "nc -l -p 81 </dev/null >/dev/null 2>&1 & true")
        self.assertNotIn("connected", self.console("a", f"nc -w 2 {ADDRESSES['b']} 81 </dev/null && echo connected"))
        dropped = json.loads(self.hosts["b"].ctl("counters", "-o", "json"))["dropped"]
        self.assertGreater(dropped["ingress_rule"], 0)

    def test_a_guest_reaches_the_public_by_nat(self):
        self.assertEqual(self.console("a", f"wget -q -O - http://{PUBLIC}/; echo").strip(), NAT)
        self.assertIn(self.public.seen[-1][1], range(1024, 2048))
        # Without one it has no way there.
        self.assertNotIn(ADDRESSES["b"], self.console("b", f"nc -w 3 {PUBLIC} 80 </dev/null && echo {ADDRESSES['b']}"))

    def test_a_load_balancer_spreads_connections_over_guests(self):
        names = []
        for _ in range(40):
            with urllib.request.urlopen(f"http://{BALANCER}/name", timeout=30) as answer:
                names.append(answer.read().decode().strip())
        self.assertEqual(set(names), {"a", "b"}, names)

    def test_guests_survive_the_end_of_a_dataplane(self):
        host = self.hosts["a"]
        self.assertPings("a", ADDRESSES["b"])
        host.daemon.kill()
        self.assertIn("0 packets received", self.console("a", f"ping -c 1 -W 1 {ADDRESSES['b']}"))
        host.start()
        wait_until("the guest's port is up again", host.is_up)
        self.assertPings("a", ADDRESSES["b"])
        self.assertPings("b", ADDRESSES["a"])
        self.assertEqual(self.console("a", f"wget -q -O - http://{PUBLIC}/; echo").strip(), NAT)

    def received_bytes(self, name):
        counters = json.loads(self.hosts[name].ctl("counters", "-o", "json"))
        return next(one["receivedBytes"] for one in counters["interfaces"] if one["id"] == name)

    def test_tcp_of_guests_outlives_an_orderly_end(self):
        # Through NAT to the public: the guest gives back each line, and the next one is sent.
        echo = Echo()
        self.addCleanup(echo.close)
        self.console("a", f"mkfifo /tmp/echo; nc {PUBLIC} {ECHO_PORT} 0<>/tmp/echo 1>&0 2>/dev/null & true")
        echo.wait_for_more(20)
        self.assertEqual(echo.peer[0], NAT)
        # Between guests: a file, large enough to be still on its way.
        self.console("b", "for i in $(seq 16); do cat /srv/large; done >/srv/huge")
        wanted = self.console("b", "sha256sum /srv/huge").split()[0]
        for name in "ab":
            with self.subTest(f"metalnetd of host {name} is told to end"):
                host = self.hosts[name]
                before = self.received_bytes("a")
                self.console("a", f"rm -f /tmp/sum; (wget -q -O - http://{ADDRESSES['b']}/huge | sha256sum >/tmp/sum.new; mv /tmp/sum.new /tmp/sum) & true")
                wait_until("some of it is there", lambda: self.received_bytes("a") > before + 2_000_000)
                self.assertEqual(host.daemon.stop(), 0, host.daemon.tail())
                self.assertIn("No such file", self.console("a", "cat /tmp/sum"), "it was over already")
                host.start()
                wait_until("the guest's port is up again", host.is_up)
                echo.wait_for_more(20)
                wait_until("all of it is there", lambda: "No such file" not in self.console("a", "cat /tmp/sum"), 100)
                self.assertEqual(self.console("a", "cat /tmp/sum").split()[0], wanted)
        echo.wait_for_more(20)
        self.console("b", "rm /srv/huge")

    def test_guests_start_anew(self):
        guest = self.hosts["b"].guest
        before = len(guest.seen)
        guest.type("reboot")
        guest.wait_for(f"ironcore guest: address eth0 {ADDRESSES['b']}/32", after=before)
        guest.wait_for(PROMPT, after=before)
        self.prepare("b")
        self.assertPings("b", ADDRESSES["a"])


if __name__ == "__main__":
    if not (IMAGE / "index.json").exists():
        print(f"skipped: {IMAGE} was not built; run ./dev setup")
        sys.exit(cloud.SKIPPED)
    for tool in ("qemu-system-x86_64", "nsenter", "unshare"):
        if not shutil.which(tool):
            print(f"skipped: {tool} is not installed; run ./dev setup")
            sys.exit(cloud.SKIPPED)
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE) != 0:
        print("skipped: no network namespace of its own; run the tests as root")
        sys.exit(cloud.SKIPPED)
    ip("link", "set", "lo", "up")
    for name, value in (("all/disable_ipv6", "0"), ("default/disable_ipv6", "0"), ("all/forwarding", "1"), ("default/accept_dad", "0")):
        pathlib.Path(f"/proc/sys/net/ipv6/conf/{name}").write_text(value)
    cloud.main("metalnetd", "ironcorectl")
