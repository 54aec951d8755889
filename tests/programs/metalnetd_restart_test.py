# SPDX-License-Identifier: Apache-2.0
"""metalnetd ends, by SIGTERM and by kill -9, while two machines talk over TCP through its NAT; then it is started again.

The machines are network namespaces at the ends of veths, with the kernel's own TCP.
"""
import collections
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import cloud
from cloud import Daemon, TempDirectory, program, run, wait_until

NEW_NETWORK_NAMESPACE = 0x40000000
UNDERLAY = "2001:db8:0:1::/64"
GATEWAY = "169.254.0.1"
NAT, PUBLIC = "192.0.2.1", "198.51.100.1"

NETWORK = f"""
kind: List
items:
  - {{kind: Interface, id: a, port: port-a, vni: 100, ipv4: 10.0.0.1}}
  - {{kind: Interface, id: b, port: port-b, vni: 100, ipv4: 10.0.0.2}}
  - {{kind: Nat, interface: a, address: {NAT}, firstPort: 1024, lastPort: 2047}}
  - {{kind: VirtualIp, interface: b, address: {PUBLIC}}}
  - {{kind: FirewallRule, interface: b, id: web, source: 0.0.0.0/0, destination: 0.0.0.0/0, protocol: TCP, destinationPorts: {{first: 7000, last: 7000}}}}
  - {{kind: Route, vni: 100, prefix: 0.0.0.0/0, nextHops: [{{underlay: "2001:db8:ffff::1"}}]}}
"""

# Each tells on its standard output what happened: one JSON object a line.
SERVER = """
import json, socket
listener = socket.create_server(("10.0.0.2", 7000))
# Whoever has sent nothing yet cannot be sent to: its MAC is not known.
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("169.254.0.1", 9))
print(json.dumps({"listens": True}), flush=True)
while True:
    connection, peer = listener.accept()
    print(json.dumps({"peer": peer}), flush=True)
    for line in connection.makefile("rb"):
        connection.sendall(line)
"""
CLIENT = """
import json, socket, time
connection = socket.create_connection(("198.51.100.1", 7000), timeout=30)
answers, last, number = connection.makefile("rb"), time.monotonic(), 0
while True:
    number += 1
    connection.sendall(b"%d\\n" % number)
    answer = answers.readline()
    now = time.monotonic()
    print(json.dumps({"number": number, "answer": int(answer), "pause": now - last}), flush=True)
    last = now
    time.sleep(0.005)
"""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Machine:
    """A network namespace that ends with the process in it."""

    def __init__(self, name, address, test):
        self.name, self.said, self.process = name, [], None
        test.addCleanup(self.close)
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=die_with_parent)
        ours = os.readlink("/proc/self/ns/net")
        wait_until(f"{name} has a network of its own", lambda: self.network() not in (None, ours))
        ip = lambda *words: subprocess.run(["ip", *words], check=True)  # noqa: E731
        ip("link", "add", f"veth-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        ip("link", "set", f"veth-{name}", "up")
        for words in ("link set lo up", "link set eth0 up", f"address add {address}/32 dev eth0",
                      "link set eth0 addrgenmode none", f"route add {GATEWAY} dev eth0 scope link", f"route add default via {GATEWAY} src {address}"):
            subprocess.run([*self.inside(), "ip", *words.split()], check=True)

    def network(self):
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{self.holder.pid}/ns/net")

    def inside(self):
        return ["nsenter", "--net", "--target", str(self.holder.pid)]

    def start(self, code):
        self.process = subprocess.Popen([*self.inside(), sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                                        preexec_fn=die_with_parent)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def close(self):
        subprocess.run(["ip", "link", "del", f"veth-{self.name}"], check=False)
        for process in (self.process, self.holder):
            if process:
                process.kill()
                process.wait()
        if self.process:
            self.process.stdout.close()


class Restart(TempDirectory):
    def setUp(self):
        super().setUp()
        self.daemon = None
        self.machines = {}
        self.addCleanup(lambda: self.daemon and self.daemon.kill())
        self.endpoint = f"ipc://{self.directory}/dataplane.sock"
        self.flows = pathlib.Path("/dev/shm" if os.path.ismount("/dev/shm") else self.directory) / f"ic-{os.getpid()}"
        self.addCleanup(subprocess.run, ["rm", "-rf", str(self.flows)], check=False)

    def start(self, *more):
        arguments = ["--underlay", UNDERLAY, "--port", "port-a=af_packet:veth-a", "--listen", self.endpoint,
                     "--connections", 10000, "--dpdk-prefix", f"test-{os.getpid()}",
                     "--state-directory", self.directory / "state", "--flow-directory", self.flows, *more]
        self.daemon = Daemon("metalnetd", [program("metalnetd"), *arguments], self.directory)
        return self.daemon.wait_ready()

    def ok(self, *arguments, stdin=""):
        result = run("ironcorectl", "dataplane", *arguments, stdin=stdin, environment={"IRONCORE_DATAPLANE": self.endpoint})
        self.assertEqual(result.code, 0, f"{arguments}: {result}\n{self.daemon.tail()}")
        return result.out

    def configuration(self):
        return [self.ok("get", kind, "-o", "json") for kind in ("interfaces", "nats", "virtual-ips", "rules", "routes")]

    def exchange(self, since=None, count=20):
        """The connection goes on: so many more answers come, each to what was asked. The longest silence since then, in seconds."""
        said = self.machines["a"].said
        begin = len(said)
        wait_until("the connection goes on", lambda: self.machines["a"].process.poll() is not None or len(said) >= begin + count, 40)
        self.assertIsNone(self.machines["a"].process.poll(), f"the connection ended; {said[-1:]}\n{self.daemon.tail()}")
        for i, one in enumerate(said):
            self.assertEqual((one["number"], one["answer"]), (i + 1, i + 1))
        return max(one["pause"] for one in said[since or 0:])

    def test_a_connection_through_nat_goes_on_however_metalnetd_ends(self):
        self.machines = {name: Machine(name, address, self) for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2"))}
        self.start()
        self.ok("open-port", "port-b", "af_packet:veth-b")
        self.ok("apply", "-f", "-", stdin=NETWORK)
        before = self.configuration()
        server, client = self.machines["b"], self.machines["a"]
        server.start(SERVER)
        wait_until("the server listens", lambda: server.said)
        client.start(CLIENT)
        self.exchange()
        self.assertEqual(server.said[1]["peer"][0], NAT)
        self.assertIn(server.said[1]["peer"][1], range(1024, 2048))

        for name, end in (("SIGTERM", lambda: self.assertEqual(self.daemon.stop(), 0)), ("kill -9", self.daemon_kill)) * 3:
            with self.subTest(name):
                began, since = time.monotonic(), len(client.said)
                end()
                self.start()
                away = time.monotonic() - began
                self.assertEqual(self.configuration(), before)
                pause = self.exchange(since)
                print(f"{name}: metalnetd was away for {away * 1000:.0f} ms, the connection was silent for {pause * 1000:.0f} ms")
                self.assertLess(pause, 30)
        self.assertEqual(sorted(port["name"] for port in json.loads(self.ok("ports", "-o", "json"))), ["port-a", "port-b"])
        # One connection, all the time, from the same port.
        self.assertEqual(len(server.said), 2, server.said)
        self.assertNotIn("begin anew", self.daemon.log.read_text())

        # What was closed stays closed, what was deleted stays deleted.
        self.ok("delete", "rule", "b", "web")
        self.ok("close-port", "port-b")
        after = self.configuration()
        self.daemon.kill()
        self.start()
        self.assertEqual(self.configuration(), after)
        self.assertEqual([port["name"] for port in json.loads(self.ok("ports", "-o", "json"))], ["port-a"])

    def daemon_kill(self):
        self.daemon.kill()

    def routes(self):
        """The next hops of the many routes, and how many there are of each."""
        routes = json.loads(self.ok("get", "routes", "-o", "json"))["items"]
        return dict(collections.Counter(route["nextHops"][0]["underlay"] for route in routes if route["prefix"] != "0.0.0.0/0"))

    def test_a_batch_is_there_as_a_whole_or_not_at_all_whenever_it_is_killed(self):
        Machine("a", "10.0.0.1", self)
        self.start()
        self.ok("apply", "-f", "-", stdin=NETWORK)
        count = 10_000
        hop = lambda number: f"2001:db8:fff0::{number:x}"  # noqa: E731

        def begin(number):
            """Another batch, by a process of its own."""
            routes = [{"kind": "Route", "vni": 100, "prefix": f"10.{64 + i // 256}.{i % 256}.0/24", "nextHops": [{"underlay": hop(number)}]}
                      for i in range(count)]
            file = self.directory / f"routes-{number}"
            file.write_text(json.dumps({"kind": "List", "items": routes}))
            client = subprocess.Popen([program("ironcorectl"), "dataplane", "apply", "-f", file], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, preexec_fn=die_with_parent, env={**os.environ, "IRONCORE_DATAPLANE": self.endpoint})
            self.addCleanup(client.wait)
            self.addCleanup(client.kill)
            return client

        began = time.monotonic()
        self.assertEqual(begin(1).wait(60), 0)
        took = time.monotonic() - began
        self.assertEqual(self.routes(), {hop(1): count})
        was, results = hop(1), collections.Counter()
        # Ever nearer to the moment at which it is decided.
        delay, step = took * 0.7, took * 0.2
        for number in range(2, 18):
            client = begin(number)
            time.sleep(delay)
            self.daemon.kill()
            # Else it would ask the next one.
            client.kill()
            is_answered = client.wait() == 0
            self.start()
            now = self.routes()
            with self.subTest(number):
                self.assertIn(now, ({hop(number): count},) if is_answered else ({was: count}, {hop(number): count}))
            was = next(iter(now))
            delay = max(0, delay - step if is_answered else delay + step)
            step *= 0.75
            results["answered" if is_answered else "there" if was == hop(number) else "not there"] += 1
        print(f"killed in the middle of {count} routes: {dict(results)}")
        # And it goes on as if nothing had been.
        self.assertEqual(begin(99).wait(60), 0)
        self.assertEqual(self.routes(), {hop(99): count})

    def test_two_at_once_are_refused_and_nothing_is_kept_if_not_wanted(self):
        Machine("a", "10.0.0.1", self)
        self.start()
        other = run("metalnetd", "--underlay", UNDERLAY, "--listen", f"ipc://{self.directory}/other", "--state-directory",
                    self.directory / "state", "--flow-directory", self.flows, "--dpdk-prefix", f"other-{os.getpid()}")
        self.assertEqual(other.code, 1, other)
        self.assertIn("in use by another process", other.err)
        self.ok("apply", "-f", "-", stdin=NETWORK)
        self.assertEqual((self.directory / "state").stat().st_mode & 0o777, 0o700)
        self.assertEqual(self.daemon.stop(), 0)
        self.start("--keep", "nothing")
        self.assertEqual(json.loads(self.ok("get", "interfaces", "-o", "json"))["items"], [])
        self.daemon.kill()
        # It was only left alone.
        self.start("--keep", "configuration")
        self.assertEqual(len(json.loads(self.ok("get", "interfaces", "-o", "json"))["items"]), 2)
        self.daemon.kill()
        with open(self.directory / "state/configuration", "r+b") as file:
            file.write(b"x")
        broken = run("metalnetd", "--underlay", UNDERLAY, "--listen", self.endpoint, "--state-directory", self.directory / "state",
                     "--flow-directory", self.flows, "--dpdk-prefix", f"other-{os.getpid()}")
        self.assertEqual(broken.code, 1, broken)
        self.assertIn("configuration, line 1", broken.err)
        self.assertIn("move it away", broken.err)


if __name__ == "__main__":
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE) != 0:
        print("skipped: no network namespace of its own; run the tests as root")
        sys.exit(cloud.SKIPPED)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for where in ("all", "default"):
        with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv6/conf/{where}/disable_ipv6", "w") as file:
            file.write("1")
    cloud.main("metalnetd", "ironcorectl")
