# SPDX-License-Identifier: Apache-2.0
"""examples/speaker installs what it learns in tables of the kernel, in a network namespace of this test."""
import ctypes
import json
import os
import signal
import subprocess
import sys

import cloud
from cloud import Daemon, TempDirectory, program, run, wait_until
from metalbondd_test import SPEAKER, Speaker

NEW_NETWORK_NAMESPACE = 0x40000000


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def installed(table):
    """Prefix → its next hops, of the routes of ours in this table of the kernel."""
    found = {}
    for family in ("-4", "-6"):
        # Of a family that has never had a route here there is no table, and ip fails.
        listed = subprocess.run(["ip", "-json", family, "route", "show", "table", str(table), "proto", "254"], capture_output=True, text=True)
        for route in json.loads(listed.stdout) if listed.returncode == 0 else []:
            hops = set()
            for hop in route.get("nexthops", [route]):
                hops.add(hop["gateway"] if "gateway" in hop else hop["via"]["host"])
            found[route["dst"]] = hops
    return found


class Installs(TempDirectory):
    def setUp(self):
        super().setUp()
        ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
        self.addCleanup(ip, "link", "del", "up0")
        for name in ("up0", "up1"):
            ip("link", "set", name, "up")
        self.endpoint = f"ipc://{self.directory}/r.sock"
        self.daemon = self.reflector()

    def reflector(self):
        daemon = Daemon("metalbondd", [program("metalbondd"), "--name", "r1", "--listen", self.endpoint, "--deferral", "1s"], self.directory)
        self.addCleanup(daemon.kill)
        return daemon.wait_ready()

    def speaker(self, name, *arguments):
        return Speaker(self, name, "--reflector", self.endpoint, *arguments)

    def reader(self, *arguments):
        return self.speaker("reader", "--install", "100#1100", "--device", "up0", *arguments)

    def wait_installed(self, what, wanted, table=1100):
        try:
            wait_until(what, lambda: installed(table) == wanted, 20, 0.05)
        except TimeoutError:
            raise AssertionError(f"{what}: {installed(table)}, not {wanted}") from None

    def tearDown(self):
        for family in ("-4", "-6"):
            for table in ("1100", "1200"):
                subprocess.run(["ip", family, "route", "flush", "table", table], capture_output=True)

    def test_what_is_learned_is_in_its_table_of_the_kernel(self):
        a = self.speaker("host-a", "100#10.0.0.1/32#fd00::a", "100#10.0.0.9/32#fd00::a", "100#fd01::/64#fd00::a", "200#10.0.0.1/32#fd00::a",
                         "300#10.0.0.1/32#fd00::a")
        b = self.speaker("host-b", "100#10.0.0.9/32#fd00::b")
        reader = self.reader("--install", "200#1200", "--subscribe", "300", "100#10.0.0.7/32#fd00::7")
        all_of_100 = {"10.0.0.1": {"fd00::a"}, "10.0.0.9": {"fd00::a", "fd00::b"}, "fd01::/64": {"fd00::a"}}
        self.wait_installed("all next hops", all_of_100)
        self.wait_installed("each VNI has its table", {"10.0.0.1": {"fd00::a"}}, 1200)
        wait_until("what has no table waits", lambda: any(line.startswith("= installed 4 of 5 pending 0 parked 1 failing 0 ") for line in reader.status()))

        a.say("withdraw", "100#10.0.0.1/32#fd00::a", "100#fd01::/64#fd00::a")
        a.say("announce", "100#10.0.0.2/32#fd00::a")
        now = {"10.0.0.2": {"fd00::a"}, "10.0.0.9": {"fd00::a", "fd00::b"}}
        self.wait_installed("changes", now)
        b.kill()
        now["10.0.0.9"] = {"fd00::a"}
        self.wait_installed("the dead one's next hop is gone", now)

        ip("route", "del", "10.0.0.9/32", "table", "1100")
        reader.say("relist")
        self.wait_installed("what others took away is put back", now)
        reader.say("unsubscribe", "200")
        self.wait_installed("what is not subscribed leaves", {}, 1200)

    def test_routes_stay_while_nobody_knows_better(self):
        host = self.speaker("host-a", "100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a")
        both = {"10.0.0.1": {"fd00::a"}, "10.0.0.2": {"fd00::a"}}
        for end in (signal.SIGKILL, signal.SIGTERM):
            reader = self.reader()
            self.wait_installed("both", both)
            reader.signal(end)
            reader.process.wait(10)
            self.assertEqual(installed(1100), both)
        self.daemon.kill()
        reader = self.reader()
        wait_until("they were adopted", lambda: any(line.startswith("= installed 2 of 0 ") for line in reader.status()))
        self.assertEqual(installed(1100), both)
        host.kill()
        host = self.speaker("host-a", "100#10.0.0.2/32#fd00::a")
        self.reflector()
        del both["10.0.0.1"]
        self.wait_installed("what is not announced any more leaves", both)

    def test_packets_are_encapsulated(self):
        ip("link", "add", "overlay0", "type", "vxlan", "external", "dstport", "4789")
        self.addCleanup(ip, "link", "del", "overlay0")
        ip("link", "set", "overlay0", "up")
        self.speaker("host-a", "100#10.0.0.1/32#fd00::a")
        self.speaker("reader", "--install", "100#1100", "--device", "overlay0", "--encapsulation", "ip6")
        wait_until("it is there", lambda: "10.0.0.1  encap ip6 id 100 src :: dst fd00::a" in ip("route", "show", "table", "all"), 20, 0.05)

    def test_wrong_words_are_named(self):
        for words, code, text in ((["--install", "100"], 2, '"100" is not VNI#TABLE'), (["--install", "100#main"], 2, '"100#main" is not VNI#TABLE'),
                                  (["--install", "100#1100x"], 2, '"100#1100x" is not VNI#TABLE'), (["--install", "100#4294967296"], 2, "is not VNI#TABLE"),
                                  (["--install", "x#1100"], 2, '"x" is not a VNI'), (["--install", "100#255"], 1, "table 255 is the kernel's own"),
                                  (["--install", "100#1100", "--install", "100#1200"], 1, "VNI 100 is there twice"),
                                  (["--device", "up0"], 2, "add --install VNI#TABLE"), (["--install"], 2, "a word is missing"),
                                  (["--install", "100#1100", "--encapsulation", "ip4"], 2, '"ip4" is none of none, ip6'),
                                  (["--install", "100#1100", "--encapsulation", "ip6"], 1, "encapsulation needs a tunnel"),
                                  (["--install", "100#1100", "--device", "nowhere"], 1, "nowhere"),
                                  (["--install", "100#1100", "--device", "up0", "--encapsulation", "ip6"], 1, "up0")):
            with self.subTest(words=words):
                result = subprocess.run([SPEAKER, "host-a", "--reflector", self.endpoint, *words], capture_output=True, text=True, timeout=30,
                                        stdin=subprocess.DEVNULL)
                self.assertEqual(result.returncode, code, result)
                self.assertTrue(result.stderr.startswith("error: "), result)
                self.assertIn(text, result.stderr.splitlines()[0])


class FullPipe(TempDirectory):
    def test_who_does_not_read_what_it_prints_does_not_stop_it(self):
        endpoint = f"ipc://{self.directory}/r.sock"
        daemon = Daemon("metalbondd", [program("metalbondd"), "--name", "r1", "--listen", endpoint, "--deferral", "0s"], self.directory)
        self.addCleanup(daemon.kill)
        daemon.wait_ready()
        deaf = subprocess.Popen([SPEAKER, "deaf", "--reflector", endpoint, "--subscribe", "100", "100#10.9.0.1/32#fd00::9"], text=True, bufsize=1,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(deaf.communicate)
        self.addCleanup(deaf.kill)
        host = Speaker(self, "host-a", "--reflector", endpoint, "--subscribe", "100")
        count = 20_000  # about 1 MB of lines: more than a pipe and the speaker's memory of lines take
        routes = [f"100#10.{i // 65536}.{i // 256 % 256}.{i % 256}/32#fd00::a" for i in range(count)]
        for at in range(0, count, 1000):
            host.say("announce", *routes[at:at + 1000])

        def nodes():
            result = run("ironcorectl", "routes", "nodes", "-o", "json", "--reflector", endpoint)
            return {node["name"]: node for node in json.loads(result.out)}
        wait_until("all is announced", lambda: nodes().get("host-a", {}).get("routes") == count)
        wait_until("the deaf one has read it", lambda: nodes()["deaf"]["streams"] > 0 and nodes()["deaf"]["behind"] == 0)
        host.say("withdraw", *routes[count // 2:])
        deaf.stdin.write("announce 100#10.9.0.2/32#fd00::9\n")
        host.wait_for("it announces", ["100#10.9.0.1/32#fd00::9", "100#10.9.0.2/32#fd00::9"])
        wait_until("it is alive", lambda: nodes()["deaf"]["behind"] == 0 and nodes()["deaf"]["isConnected"])
        # What it prints when it is read is how things are: what came and went meanwhile is not told, or told away.
        table = set()
        while table != set(routes[:count // 2]):
            line = deaf.stdout.readline()
            self.assertTrue(line, f"{len(table)} routes at its end")
            words = line.split()
            if line.startswith("+ "):
                table.add(words[1])
            elif line.startswith("- "):
                table.discard(words[1])
        deaf.send_signal(signal.SIGTERM)
        self.assertEqual(deaf.wait(10), 0)


if __name__ == "__main__":
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE) != 0:
        print(f"skipped: no network namespace of its own: {os.strerror(ctypes.get_errno())}; run the tests as root")
        sys.exit(cloud.SKIPPED)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if not SPEAKER.exists():
        print(f"skipped: {SPEAKER} was not built")
        sys.exit(cloud.SKIPPED)
    cloud.main("metalbondd", "ironcorectl")
