# SPDX-License-Identifier: Apache-2.0
"""metalbondd with examples/speaker as its hosts and ironcorectl as its operator: on ipc, and at two sites on TCP with keys."""
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import time
import unittest
import urllib.request

import cloud
import daemons
from cloud import BUILD, Daemon, TempDirectory, program, run, wait_until

SPEAKER = BUILD / "examples/speaker"
LEASE = 5
TIMES = ["--heartbeat", "1s", "--lease", f"{LEASE}s", "--deferral", "4s"]


def free_port(count=3):
    """The first one of some that nobody uses now."""
    for _ in range(100):
        first = random.randrange(20000, 30000, count)
        sockets = [socket.socket() for _ in range(count)]
        try:
            for i, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + i))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


class Speaker:
    """examples/speaker: what it prints, folded into a table."""

    def __init__(self, test, name, *arguments):
        self.name = name
        self.seen = 0
        self.log = test.directory / f"{name}.speaker"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(SPEAKER), name, *map(str, arguments)], stdin=subprocess.PIPE, stdout=log, stderr=log,
                                            preexec_fn=daemons._die_with_parent, text=True, bufsize=1)
        test.addCleanup(self.kill)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def signal(self, number):
        self.process.send_signal(number)

    def say(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")

    def lines(self):
        text = self.log.read_text()
        return text[:text.rfind("\n") + 1].splitlines()

    def wait_for_line(self, text, seconds=30):
        """One with this text that was printed since the last such line; cheap when very much is printed."""
        def look():
            with open(self.log, "rb") as log:
                log.seek(self.seen)
                new = log.read()
            self.seen += new.rfind(b"\n") + 1
            return text.encode() in new
        wait_until(f"{self.name} prints {text}", look, seconds, 0.002)

    def table(self):
        """What it has learned: texts of routes, as often as they have an origin."""
        routes = []
        for line in self.lines():
            words = line.split()
            if line.startswith("+ "):
                routes.append((words[1], words[3]))
            elif line.startswith("- "):
                routes = [route for route in routes if route != (words[1], words[3])]
        return sorted({route for route, _ in routes})

    def lost(self, since=0):
        return [line for line in self.lines()[since:] if line.startswith("- ")]

    def status(self):
        count = len([line for line in self.lines() if line == "= status ends"])
        self.say("status")
        wait_until(f"{self.name} says its status", lambda: len([line for line in self.lines() if line == "= status ends"]) > count)
        lines = self.lines()
        ends = [i for i, line in enumerate(lines) if line == "= status ends"]
        first = ends[-2] + 1 if len(ends) > 1 else 0
        return [line for line in lines[first:ends[-1]] if line.startswith("= ")]

    def wait_for(self, what, routes, seconds=30):
        wanted = sorted(routes)
        try:
            wait_until(what, lambda: self.table() == wanted, seconds, 0.05)
        except TimeoutError:
            raise AssertionError(f"{self.name}: {what}: has {self.table()[:10]}, not {wanted[:10]}\n" + "\n".join(self.lines()[-20:])) from None


class WithKeys(TempDirectory):
    def setUp(self):
        super().setUp()
        self.keys = {}

    def key(self, name):
        """The file, and the public key in it."""
        if name not in self.keys:
            made = run("ironcored", "keygen", self.directory / f"{name}.key")
            self.assertEqual(made.code, 0, made)
            self.keys[name] = (self.directory / f"{name}.key", made.out.strip())
        return self.keys[name]

    def example_identities(self):
        """As examples/routing-identities.json has them, with keys of our own."""
        text = (cloud.ROOT / "examples/routing-identities.json").read_text()
        for place, name in (("@HOST_1_PUBLIC_KEY@", "host-1"), ("@HOST_2_PUBLIC_KEY@", "host-2"), ("@GATEWAY_PUBLIC_KEY@", "gateway-1"),
                            ("@SITE_B_PUBLIC_KEY@", "site-b"), ("@MY_PUBLIC_KEY@", "me")):
            self.assertIn(place, text)
            text = text.replace(place, json.dumps(self.key(name)[1])[1:-1])
        return text


class WithReflector(TempDirectory):
    """One reflector on ipc."""

    times = TIMES

    def setUp(self):
        super().setUp()
        self.endpoint = f"ipc://{self.directory}/r.sock"
        self.metrics_port = free_port(1)
        self.arguments = [program("metalbondd"), "--name", "r1", "--listen", self.endpoint, "--metrics", f"127.0.0.1:{self.metrics_port}",
                          *self.times]
        self.daemon = Daemon("metalbondd", [*self.arguments, "--deferral", "1s"], self.directory)
        self.addCleanup(lambda: self.daemon.kill())
        self.daemon.wait_ready()

    def speaker(self, name, *arguments):
        return Speaker(self, name, "--reflector", self.endpoint, *arguments)

    def ctl(self, *arguments):
        return run("ironcorectl", "routes", *arguments, environment={"IRONCORE_REFLECTOR": self.endpoint})

    def ok(self, *arguments):
        result = self.ctl(*arguments)
        self.assertEqual(result.code, 0, f"{arguments}: {result}\n{self.daemon.tail()}")
        return result.out

    def asked(self, *arguments):
        return json.loads(self.ok(*arguments, "-o", "json"))

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return text, {name: float(value) for name, value in re.findall(r"^(ironcore_routing_\S+) (\S+)$", text, re.M)}

class OnOneHost(WithReflector):
    def test_what_is_announced_is_learned_and_shown(self):
        a = self.speaker("host-a", "100#10.0.0.1/32#fd00::a", "100#10.0.0.0/24#fd00::a,weight=2", "200#10.0.0.1/32#fd00::a")
        b = self.speaker("host-b", "--subscribe", "100", "100#10.0.0.1/32#fd00::b,mobility=3", "100#192.0.2.1/32#fd00::b#nat#1024#2047")
        c = self.speaker("host-c", "--subscribe", "100", "--subscribe", "200")
        of_a = ["100#10.0.0.1/32#fd00::a", "100#10.0.0.0/24#fd00::a,weight=2"]
        of_b = ["100#10.0.0.1/32#fd00::b,mobility=3", "100#192.0.2.1/32#fd00::b#nat#1024#2047"]
        b.wait_for("learns a's routes of its VNI", of_a)
        c.wait_for("learns all", [*of_a, *of_b, "200#10.0.0.1/32#fd00::a"])

        status = self.ok("status")
        for words in ("r1", "metalbondd ", "5 of nodes in 2 VNIs, 0 of peers", "oldest lease", f"dead after {LEASE}.0 s", "ready"):
            self.assertIn(words, status)
        self.assertRegex(status, r"ready +yes")
        self.assertNotIn("publications", status)
        self.assertRegex(self.ok("status", "-o", "wide"), r"publications +\d+")
        told = self.asked("status")
        self.assertEqual((told["name"], told["isReady"], told["counts"]["routes"], told["leaseMs"], told["peers"]), ("r1", True, 5, LEASE * 1000, []))
        self.assertRegex(told["epoch"], "^0x[0-9a-f]{16}$")
        self.assertIn("isReady: true", self.ok("status", "-o", "yaml"))

        nodes = {node["name"]: node for node in self.asked("nodes")}
        self.assertEqual({name: node["routes"] for name, node in nodes.items()}, {"host-a": 3, "host-b": 2, "host-c": 0})
        self.assertTrue(all(node["isConnected"] for node in nodes.values()))
        self.assertRegex(self.ok("nodes"), r"host-a +connected +\d+\.\d s ago +3 ")
        self.assertEqual(self.ok("nodes", "-o", "name"), "host-a\nhost-b\nhost-c\n")
        self.assertEqual(self.ok("nodes", "-o", "name", "--limit", "2"), "host-a\nhost-b\n")
        self.assertEqual([(vni["vni"], vni["from"], vni["routes"], vni["isSubscribed"]) for vni in self.asked("vnis")],
                         [(100, "here", 4, True), (200, "here", 1, True)])
        self.assertEqual(self.ok("vnis", "-o", "name"), "100\n200\n")
        self.assertRegex(self.ok("vnis"), r"100 +here +4 +0 +\d+ +0x[0-9a-f]{16} +yes")

        self.assertEqual(self.ok("dump", "100", "-o", "name"), "100#10.0.0.0/24#fd00::a,weight=2\n100#10.0.0.1/32#fd00::a\n"
                         "100#10.0.0.1/32#fd00::b,mobility=3\n100#192.0.2.1/32#fd00::b#nat#1024#2047\n")
        self.assertRegex(self.ok("dump", "100"), r"192\.0\.2\.1/32 +fd00::b +nat +1024-2047 +- +1 +0 +host-b +here")
        self.assertEqual(len(self.ok("dump", "100", "--inside", "10.0.0.0/24", "-o", "name").splitlines()), 3)
        self.assertEqual(len(self.ok("dump", "100", "--node", "host-b", "-o", "name").splitlines()), 2)
        self.assertEqual(self.asked("dump", "100", "--from", "peers"), [])
        self.assertSays(self.ctl("dump", "100", "--limit", "1", "-o", "name"), 0, "… and 3 more: --limit 0 shows all")
        self.assertSays(self.ctl("dump", "300"), 0, "there are no such routes in VNI 300")

        trace = self.asked("trace", "100", "10.0.0.1")
        self.assertEqual([(route["prefix"], route["node"], route["isUsed"], route.get("reason")) for route in trace],
                         [("10.0.0.1/32", "host-b", True, None), ("10.0.0.1/32", "host-a", False, "host-b announces mobility 3"),
                          ("10.0.0.0/24", "host-a", False, "10.0.0.1/32 is longer")])
        self.assertRegex(self.ok("trace", "100", "10.0.0.0/24"), r"10\.0\.0\.0/24 +fd00::a .* host-a +here +yes")
        self.assertSays(self.ctl("trace", "100", "172.16.0.1"), 0, "no route of VNI 100 covers 172.16.0.1")

        # Readers say with their heartbeats how far they are.
        wait_until("it is known who reads", lambda: self.metrics()[1]["ironcore_routing_subscribers"] == 2)
        text, values = self.metrics()
        self.assertEqual((values["ironcore_routing_ready"], values["ironcore_routing_routes"], values["ironcore_routing_nodes"]), (1, 5, 3))
        self.assertEqual(values["ironcore_routing_vnis"], 2)
        self.assertGreater(values["ironcore_routing_publications_total"], 0)
        self.assertGreater(values["ironcore_routing_requests_total"], 10)
        self.assertEqual(values["ironcore_routing_malformed_requests_total"], 0)
        self.assertLess(values['ironcore_routing_node_lease_age_seconds{node="host-a"}'], LEASE)
        self.assertIn('ironcore_routing_node_behind_changes{node="host-c"}', values)
        self.assertIn("# HELP ironcore_routing_gaps_total", text)

        a.say("withdraw", "100#10.0.0.0/24#fd00::a")
        a.say("announce", "100#10.0.0.9/32#fd00::a")
        c.wait_for("sees both changes", ["100#10.0.0.1/32#fd00::a", "100#10.0.0.9/32#fd00::a", *of_b, "200#10.0.0.1/32#fd00::a"])
        b.signal(signal.SIGTERM)
        self.assertEqual(b.process.wait(10), 0)
        left = time.monotonic()
        c.wait_for("b took its routes along", ["100#10.0.0.1/32#fd00::a", "100#10.0.0.9/32#fd00::a", "200#10.0.0.1/32#fd00::a"])
        self.assertLess(time.monotonic() - left, LEASE - 1)
        self.assertEqual(self.daemon.stop(), 0)
        self.assertFalse((self.directory / "r.sock").exists())
        self.assertEqual([line for line in self.daemon.log.read_text().splitlines() if "10.0.0" in line], [])

    def test_watch_prints_what_changes(self):
        a = self.speaker("host-a", "100#10.0.0.1/32#fd00::a")
        wait_until("a is known", lambda: self.ok("dump", "100", "-o", "name") if a.process.poll() is None else None)
        watch = subprocess.Popen([program("ironcorectl"), "routes", "watch", "100", "--every", "100ms", "--count", "4", "--timeout", "60s"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "IRONCORE_REFLECTOR": self.endpoint})
        self.addCleanup(watch.communicate)
        self.addCleanup(watch.kill)
        self.assertEqual(watch.stderr.readline(), "watching VNI 100\n")
        a.say("announce", "100#10.0.0.2/32#fd00::a")
        self.assertEqual(watch.stdout.readline(), "announce  100#10.0.0.2/32#fd00::a  host-a\n")
        a.say("withdraw", "100#10.0.0.2/32#fd00::a")
        self.assertEqual(watch.stdout.readline(), "withdraw  100#10.0.0.2/32#fd00::a  host-a\n")
        # All of a node that leaves, although that is one change.
        a.say("announce", "100#10.0.0.3/32#fd00::a")
        self.assertEqual(watch.stdout.readline(), "announce  100#10.0.0.3/32#fd00::a  host-a\n")
        a.say("leave")
        self.assertRegex(watch.stdout.readline(), r"^withdraw  100#10\.0\.0\.[13]/32#fd00::a  ")
        self.assertEqual(watch.wait(10), 0)

        ended = self.ctl("watch", "100", "--count", "1", "--timeout", "300ms", "--every", "100ms")
        self.assertEqual(ended.code, 1, ended)
        self.assertIn("0 of 1 lines came", ended.err)
        self.assertEqual(self.ctl("watch", "100", "--timeout", "300ms").code, 0)

        watch = subprocess.Popen([program("ironcorectl"), "routes", "watch", "100", "--every", "100ms", "-o", "json"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "IRONCORE_REFLECTOR": self.endpoint})
        self.addCleanup(watch.communicate)
        self.addCleanup(watch.kill)
        self.assertEqual(watch.stderr.readline(), "watching VNI 100\n")
        self.daemon.kill()
        self.daemon = Daemon("metalbondd", [*self.arguments, "--deferral", "1s"], self.directory).wait_ready()
        self.assertIn("was started anew", watch.stderr.readline())
        self.speaker("host-b", "100#10.0.0.5/32#fd00::b")
        line = json.loads(watch.stdout.readline())
        self.assertEqual((line["what"], line["prefix"], line["node"]), ("announced", "10.0.0.5/32", "host-b"))
        watch.send_signal(signal.SIGINT)
        self.assertEqual(watch.wait(10), 0)

    def test_wrong_words_are_named(self):
        for words, text in ((["statsu"], 'did you mean "status"?'), (["dump"], "dump takes a VNI"), (["dump", "x"], "VNI"),
                            (["trace", "100"], "trace takes a VNI and an address"), (["trace", "100", "10.0.0"], "10.0.0"),
                            (["watch", "100", "-o", "yaml"], "-o table or -o json"), (["watch", "100", "--every", "1ms"], "--every"),
                            (["status", "x"], "one argument too many"), (["dump", "100", "--inside", "10.0.0.0"], "--inside"),
                            (["dump", "100", "--nod", "x"], "did you mean --node?"), (["dump", "16777216"], "VNI")):
            self.assertSays(self.ctl(*words), 2, text)
        self.assertIn("ironcorectl routes trace 100 10.0.0.1", run("ironcorectl", "routes", "--help").out)
        nobody = run("ironcorectl", "routes", "status", "--reflector", f"ipc://{self.directory}/nobody.sock")
        self.assertSays(nobody, 1, "nobody.sock")
        self.assertSays(run("ironcorectl", "routes", "status", "--reflector", "tcp://127.0.0.1:5"), 2, "--reflector-key", "IRONCORE_REFLECTOR_KEY")

    def test_vnis_are_completed(self):
        self.speaker("host-a", "100#10.0.0.1/32#fd00::a", "4711#10.0.0.1/32#fd00::a")
        wait_until("they are known", lambda: self.ok("vnis", "-o", "name") == "100\n4711\n")
        script = self.write("completion.bash", run("ironcorectl", "completion", "bash").out)

        def complete(*words):
            line = f"source {script}; COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _ironcorectl; echo \"${{COMPREPLY[@]}}\""
            environment = {**os.environ, "PATH": f"{program('ironcorectl').parent}:{os.environ['PATH']}"}
            return subprocess.run(["bash", "-c", line], check=True, text=True, capture_output=True, env=environment).stdout.split()
        self.assertEqual(complete("ironcorectl", "routes", "du"), ["dump"])
        self.assertEqual(complete("ironcorectl", "routes", "--reflector", self.endpoint, "trace", ""), ["100", "4711"])
        self.assertEqual(complete("ironcorectl", "routes", "status", ""), [])
        self.assertEqual(complete("ironcorectl", "routes", "dump", "100", "--fr"), ["--from"])


class Stopped(WithReflector):
    """Who stands still for longer than a lease, as by SIGSTOP, does no harm to others."""

    lease = 2
    times = ["--heartbeat", "500ms", "--lease", f"{lease}s"]
    seconds = 3 * lease

    def test_a_reflector_that_stands_still_withdraws_nobody(self):
        of_a = [f"100#10.0.0.{i}/32#fd00::a" for i in range(20)]
        of_b = [f"100#10.0.1.{i}/32#fd00::b" for i in range(20)]
        a, b = self.speaker("host-a", "--subscribe", "100", *of_a), self.speaker("host-b", "--subscribe", "100", *of_b)
        a.wait_for("knows b's", of_b)
        b.wait_for("knows a's", of_a)
        wait_until("both are complete", lambda: all("= vni 100 routes 20 complete" in host.status() for host in (a, b)))
        before, state = self.asked("status"), self.asked("vnis")

        stopped = time.monotonic()
        self.daemon.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.daemon.process.send_signal, signal.SIGCONT)
        for host in (a, b):
            wait_until(f"{host.name} has noticed", lambda host=host: "= vni 100 routes 20 stale" in host.status())
        b.say("withdraw", of_b[0])
        b.say("announce", "100#10.0.1.77/32#fd00::b")
        time.sleep(max(0, stopped + self.seconds - time.monotonic()))
        self.assertEqual((a.lost(), b.lost()), ([], []))
        self.daemon.process.send_signal(signal.SIGCONT)
        now_of_b = [*of_b[1:], "100#10.0.1.77/32#fd00::b"]
        a.wait_for("what changed meanwhile is told", now_of_b)
        time.sleep(2 * self.lease)

        status, after = self.asked("status"), self.asked("vnis")
        self.assertEqual(status["epoch"], before["epoch"])
        self.assertGreater(status["counts"]["stalls"], before["counts"]["stalls"])
        self.assertEqual((status["counts"]["deaths"], status["counts"]["restarts"]), (0, before["counts"]["restarts"]))
        self.assertEqual(status["counts"]["changes"], before["counts"]["changes"] + 2)
        self.assertEqual((after[0]["sequence"], after[0]["routes"]), (state[0]["sequence"] + 2, 40))
        self.assertEqual((len(a.lost()), b.lost()), (1, []))
        self.assertTrue(all("= vni 100 routes 20 complete" in host.status() for host in (a, b)))
        # Leases are as they were.
        b.kill()
        a.wait_for("the dead one's are gone", [])

    def test_a_reader_that_stands_still_under_churn_costs_others_nothing_and_reads_what_changed(self):
        turns = 1200  # of 500 changes, 32 KB: far more than may wait for one reader
        routes = [f"100#10.1.{i // 250}.{i % 250}/32#fd00::a" for i in range(10000)]
        writer = self.speaker("host-a")
        for i in range(0, len(routes), 500):
            writer.say("announce", *routes[i:i + 500])
        writer.say("announce", "100#192.0.2.1/32#fd00::a")
        reader, witness = (self.speaker(name, "--subscribe", "100") for name in ("host-b", "host-c"))
        whole = "= vni 100 routes 10001 complete"
        for one in (reader, witness):
            wait_until(f"{one.name} knows all", lambda one=one: whole in one.status())
        before = self.asked("status")["counts"]
        memory = most = daemons.resident_mb(self.daemon.pid)

        stopped = time.monotonic()
        reader.signal(signal.SIGSTOP)
        late = None
        for turn in range(1, turns + 1):
            writer.say("announce", *[f"{route},weight={turn % 200 + 1}" for route in routes[:500]], f"100#192.0.2.1/32#fd00::a,mobility={turn}")
            witness.wait_for_line(f"+ 100#192.0.2.1/32#fd00::a,mobility={turn} from")
            most = max(most, daemons.resident_mb(self.daemon.pid))
            if turn == turns // 2:
                late = self.speaker("host-d", "--subscribe", "100")
                wait_until("a new reader knows all", lambda: whole in late.status())
            time.sleep(max(0, stopped + turn * self.seconds / turns - time.monotonic()))
        counts = self.asked("status")["counts"]
        self.assertGreaterEqual(counts["publications"] - before["publications"], turns)
        self.assertEqual(counts["snapshots"], before["snapshots"] + 1)
        self.assertLess(most - memory, 28, "publications wait for a reader without bound")

        reader.signal(signal.SIGCONT)
        reader.wait_for_line(f"+ 100#192.0.2.1/32#fd00::a,mobility={turns} from", 60)
        wait_until("it is complete", lambda: whole in reader.status())
        after = self.asked("status")["counts"]
        for name in ("snapshots", "rereadings"):
            self.assertEqual(after[name], counts[name], name)
        self.assertGreater(after["pieces"], counts["pieces"])
        self.assertLess(after["pieces"] - counts["pieces"], 6, "the whole table has 11")
        self.assertEqual(reader.lost(), [])
        known = {}
        for line in reader.lines():
            if line.startswith("+ "):
                prefix, _, weight = line.split()[1].partition(",")
                known[prefix] = weight
        last = f"weight={turns % 200 + 1}" if turns % 200 else ""
        self.assertEqual(known, {**dict.fromkeys(routes, ""), **dict.fromkeys(routes[:500], last), "100#192.0.2.1/32#fd00::a": f"mobility={turns}"})


class StoppedFor30Seconds(Stopped):
    """The same with the settings that reflectors have by themselves. Runs when it is named."""

    lease = 3
    times = ["--heartbeat", "1s", "--lease", f"{lease}s"]
    seconds = 30


def load_tests(loader, tests, _):
    """All but the long ones."""
    return unittest.TestSuite(one for group in tests for one in group if not isinstance(one, StoppedFor30Seconds))


class TwoSites(WithKeys):
    """Site a with two reflectors of which both are told everything, site b with one; all on TCP with keys."""

    def setUp(self):
        super().setUp()
        self.ports = {name: free_port() for name in ("a1", "a2", "site-b")}
        self.identities = self.write("identities.json", self.example_identities_with_reflectors())
        self.daemons = {}
        self.addCleanup(lambda: [self.end(name) for name in list(self.daemons)])
        for name in self.ports:
            self.start(name)
        for daemon in self.daemons.values():
            daemon.wait_ready()

    def example_identities_with_reflectors(self):
        identities = json.loads(self.example_identities())
        for name in ("a1", "a2"):
            identities["identities"].append({"name": name, "publicKey": self.key(name)[1], "roles": ["reflector"]})
        return json.dumps(identities)

    def endpoint(self, name):
        return f"tcp://127.0.0.1:{self.ports[name]}"

    def start(self, name):
        peers = {"a1": ["site-b"], "a2": ["site-b"], "site-b": ["a1", "a2"]}[name]
        self.daemons[name] = Daemon(name, [program("metalbondd"), "--name", name, "--listen", self.endpoint(name), "--key-file", self.key(name)[0],
                                           "--identities-file", self.identities, *TIMES,
                                           *[word for peer in peers for word in ("--peer", f"{self.endpoint(peer)},key={self.key(peer)[1]}")]],
                                    self.directory)
        return self.daemons[name]

    def end(self, name):
        daemon = self.daemons[name]
        if daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGCONT)
        daemon.kill()

    def speaker(self, name, reflectors, *arguments):
        return Speaker(self, name, "--key-file", self.key(name)[0],
                       *[word for reflector in reflectors for word in ("--reflector", f"{self.endpoint(reflector)},key={self.key(reflector)[1]}")],
                       "--subscribe", "100", *arguments)

    def ctl(self, who, reflector, *arguments, server=None):
        environment = {"IRONCORE_REFLECTOR": self.endpoint(reflector), "IRONCORE_REFLECTOR_KEY": self.key(server or reflector)[1],
                       "IRONCORE_KEY_FILE": str(self.key(who)[0])}
        return run("ironcorectl", "routes", *arguments, environment=environment)

    def asked(self, reflector, *arguments):
        result = self.ctl("me", reflector, *arguments, "-o", "json")
        self.assertEqual(result.code, 0, result)
        return json.loads(result.out)

    def everybody(self):
        """Three hosts, each with a route, that know each other's."""
        self.routes = {"host-1": "100#10.0.0.1/32#fd00::1", "host-2": "100#10.0.0.2/32#fd00::2", "gateway-1": "100#0.0.0.0/0#fd00::9"}
        hosts = {name: self.speaker(name, ["site-b"] if name == "gateway-1" else ["a1", "a2"], route) for name, route in self.routes.items()}
        for name, host in hosts.items():
            host.wait_for("knows the others", [route for other, route in self.routes.items() if other != name], 60)
        return hosts

    def test_no_reflector_that_dies_or_stands_still_takes_a_route_along(self):
        hosts = self.everybody()
        for names in (["a1"], ["a1", "a2"], ["site-b"]):
            for name in names:
                self.end(name)
            for name in names:
                self.start(name)
            for name in names:
                self.daemons[name].wait_ready()
                wait_until(f"{name} knows all", lambda name=name: sum(self.asked(name, "status")["counts"][count] for count in ("routes", "relayed_routes")) == 3)
        stopped = self.daemons["a1"].process
        stopped.send_signal(signal.SIGSTOP)
        time.sleep(2 * LEASE)
        hosts["host-1"].say("announce", "100#10.0.0.7/32#fd00::1")
        for name in ("host-2", "gateway-1"):
            hosts[name].wait_for("new routes come by the other one", [*[route for other, route in self.routes.items() if other != name], "100#10.0.0.7/32#fd00::1"])
        stopped.send_signal(signal.SIGCONT)
        wait_until("it says that it stood still", lambda: self.asked("a1", "status")["counts"]["stalls"] > 0)
        wait_until("it knows what it missed", lambda: self.asked("a1", "status")["counts"]["routes"] == 3)
        self.assertEqual(self.asked("a1", "status")["counts"]["deaths"], 0)
        for host in hosts.values():
            self.assertEqual(host.lost(), [], host.name)

        # A host that dies takes its routes along, everywhere, and no others.
        dead = time.monotonic()
        hosts["host-1"].kill()
        for name in ("host-2", "gateway-1"):
            hosts[name].wait_for("the dead one's are gone", [route for other, route in self.routes.items() if other not in (name, "host-1")])
            self.assertEqual({line.split()[1] for line in hosts[name].lost()}, {self.routes["host-1"], "100#10.0.0.7/32#fd00::1"})
        self.assertGreater(time.monotonic() - dead, LEASE / 2)
        self.assertLess(time.monotonic() - dead, 3 * LEASE)

    def test_a_reader_that_was_stopped_under_churn_catches_up(self):
        hosts = self.everybody()
        reader, writer = hosts["host-2"], hosts["host-1"]
        reader.signal(signal.SIGSTOP)
        for turn in range(100):
            some = [f"100#10.1.{turn}.{i}/32#fd00::1" for i in range(100)]
            writer.say("announce", *some)
            if turn % 2 == 0:
                writer.say("withdraw", *some[:50])
        wanted = [f"100#10.1.{turn}.{i}/32#fd00::1" for turn in range(100) for i in range(50 if turn % 2 == 0 else 0, 100)]
        others = {name: [route for other, route in self.routes.items() if other != name] for name in hosts}
        hosts["gateway-1"].wait_for("is not delayed", [*others["gateway-1"], *wanted], 60)
        time.sleep(LEASE / 2)
        reader.signal(signal.SIGCONT)
        reader.wait_for("has caught up", [*others["host-2"], *wanted], 60)

        def lag():
            return {node["name"]: node["behind"] for node in self.asked("a2", "nodes")}
        wait_until("nobody is behind", lambda: lag().get("host-2") == 0)

    def test_operators_see_both_sides_and_need_the_right(self):
        self.everybody()
        trace = self.asked("a1", "trace", "100", "10.0.0.1")
        self.assertEqual([(route["prefix"], route["from"], route["isUsed"]) for route in trace],
                         [("10.0.0.1/32", ["here"], True), ("0.0.0.0/0", ["peers"], False)])
        self.assertEqual((trace[0]["node"], trace[1].get("node")), ("host-1", None))
        self.assertEqual([route["prefix"] for route in self.asked("site-b", "dump", "100", "--from", "peers")], ["10.0.0.1/32", "10.0.0.2/32"])
        peers = self.asked("site-b", "status")["peers"]
        self.assertEqual([(peer["endpoint"], peer["name"], peer["phase"]) for peer in peers],
                         [(self.endpoint("a1"), "a1", "connected"), (self.endpoint("a2"), "a2", "connected")])
        self.assertSays(self.ctl("me", "site-b", "status"), 0, "connected", "of peers", stream="out")
        self.assertSays(self.ctl("host-1", "a1", "status"), 1, "host-1", "may not read status")
        self.assertSays(self.ctl("stranger", "a1", "status"), 1, "does not know the key")
        self.assertSays(self.ctl("me", "a1", "status", server="a2"), 1, "check that the server's public key is right")
        counts = self.asked("a1", "status")["counts"]
        self.assertEqual((counts["forbidden_requests"], counts["malformed_requests"]), (1, 0))
        self.assertGreater(counts["unknown_keys"], 0)

    def test_identities_are_read_again(self):
        hosts = self.everybody()
        right = self.identities.read_text()

        def reload(text, line):
            before = {name: len(daemon.log.read_text()) for name, daemon in self.daemons.items()}
            self.identities.write_text(text)
            for name, daemon in self.daemons.items():
                daemon.process.send_signal(signal.SIGHUP)
                wait_until(f"{name} has seen it", lambda name=name, daemon=daemon: line in daemon.log.read_text()[before[name]:])
        reload("{", "identities not reloaded")
        self.assertTrue(self.asked("a1", "status")["isReady"])
        changed = json.loads(right)
        changed["roles"]["host"][1]["prefixes"] = ["10.0.0.1/32"]
        changed["identities"] = [one for one in changed["identities"] if one["name"] != "gateway-1"]
        reload(json.dumps(changed), "identities reloaded")
        hosts["host-1"].wait_for("what may not be announced any more is gone", [], 60)
        wait_until("the refused route is told", lambda: any("refused 1" in line for line in hosts["host-2"].status()))
        reload(right, "identities reloaded")
        hosts["host-1"].wait_for("all is there again", [self.routes["host-2"], self.routes["gateway-1"]], 60)


class Settings(WithKeys):
    def test_wrong_settings_are_named(self):
        key, public = self.key("r")
        identities = self.write("identities.json", self.example_identities())
        broken = self.write("broken.json", '{"identities": [{"name": "x", "publicKey": "short"}]}')
        unnamed = self.write("unnamed.json", json.dumps({"roles": {"r": [{"verbs": ["update"], "resources": ["routes"]}]},
                                                         "identities": [{"name": "x", "publicKey": public, "roles": ["r"]}]}))
        config = self.write("metalbondd.yaml", "name: r1\nlisten: [ipc:///tmp/x.sock]\nlaese: 3s\n")
        right = ["--listen", f"ipc://{self.directory}/r.sock"]
        tcp = ["--listen", "tcp://127.0.0.1:7420"]
        for words, text in ((["--name", "Host 1"], "name: "), (["--name", ""], "name: "),
                            (["--heartbeat", "0s"], "heartbeat: 0s is not from 10ms to 1h"), (["--lease", "1s"], "lease: 1s is not from two heartbeats"),
                            (["--heartbeat", "x"], "expected a time"), (["--restart-time", "1s"], "restart-time: 1s is less than the lease"),
                            (["--deferral", "48h"], "deferral: 24h at most"), (["--max-nodes", "0"], "max-nodes: at least 1"),
                            (["--max-routes", "0"], "max-routes: at least 1"), (["--expected", "a", "--expected", "a"], "expected: \"a\" is named twice"),
                            (["--metrics", "9090"], "metrics"), (["--peer", "x"], "peer: expected ipc:///path or tcp://address:port"),
                            (["--peer", "tcp://10.0.0.1:7420"], "needs the reflector's public key"), (["--peer", "tcp://10.0.0.1:7420,kye=x"], "expected ENDPOINT[,key=PUBLIC-KEY]"),
                            (["--peer", f"tcp://10.0.0.1:7420,key={public}"], "key-file: peers over tcp know this reflector by its key"),
                            (["--peer", f"tcp://10.0.0.1:0,key={public}"], "which port?"),
                            (["--peer", f"ipc:///a,key={public}"], "takes no key"), (["--peer", "ipc:///a", "--peer", "ipc:///a"], "named twice"),
                            (["--peer", right[1]], "is where this reflector itself listens"),
                            (["--key-file", key], "add --listen tcp://address:port"), (tcp, "key-file: tcp is offered only with keys"),
                            ([*tcp, "--key-file", key], "identities-file: tcp is offered only to known keys"),
                            ([*tcp, "--key-file", key, "--identities-file", broken], "publicKey"),
                            ([*tcp, "--key-file", key, "--identities-file", unnamed], "prefixes: a rule that lets announce must name them"),
                            ([*tcp, "--key-file", identities, "--identities-file", identities], "key-file"),
                            (["--config", config], "did you mean lease?"), (["--lesae", "3s"], "did you mean --lease?")):
            with self.subTest(words=words):
                self.assertSays(run("metalbondd", *right, *words, "--check-config"), 2, text)
        long = f"ipc://{self.directory}/{'x' * (92 - len(str(self.directory)) - 1)}"
        self.assertSays(run("metalbondd", "--listen", long, "--check-config"), 2, "91 bytes at most")
        self.assertSays(run("metalbondd", *right, *tcp, "--key-file", key, "--identities-file", identities, "--peer", f"tcp://10.0.0.1:7420,key={self.key('site-b')[1]}",
                            "--check-config"), 0, "the settings are right", stream="out")
        self.assertFalse((self.directory / "r.sock").exists())

    def test_what_is_in_use_is_said(self):
        endpoint = f"ipc://{self.directory}/r.sock"
        daemon = Daemon("metalbondd", [program("metalbondd"), "--listen", endpoint, "--deferral", "0s"], self.directory)
        self.addCleanup(daemon.kill)
        daemon.wait_ready()
        second = run("metalbondd", "--listen", endpoint)
        self.assertEqual(second.code, 1, second)
        self.assertIn("error: ", second.err)
        self.assertEqual(daemon.stop(), 0)

    def test_it_is_ready_when_all_that_are_expected_are_there(self):
        endpoint = f"ipc://{self.directory}/r.sock"
        daemon = Daemon("metalbondd", [program("metalbondd"), "--listen", endpoint, "--deferral", "1h", "--expected", "host-a"], self.directory)
        self.addCleanup(daemon.kill)
        wait_until("it serves", lambda: "serving" in daemon.tail())
        status = run("ironcorectl", "routes", "status", "--reflector", endpoint)
        self.assertSays(status, 0, "nodes still have time to announce themselves", stream="out")
        self.assertFalse(daemon.ready_file.exists())
        Speaker(self, "host-a", "--reflector", endpoint, "100#10.0.0.1/32#fd00::a")
        daemon.wait_ready()
        self.assertEqual(daemon.stop(), 0)


class Told(WithKeys):
    """A reflector on TCP, and hosts that do something wrong."""

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.identities = self.directory / "identities.json"
        self.let("host-1")
        self.arguments = [program("metalbondd"), "--name", "r1", "--listen", self.endpoint, "--key-file", self.key("r1")[0],
                          "--identities-file", self.identities, "--deferral", "0s"]

    def let(self, *names):
        read = {"verbs": ["read"], "resources": ["routes"], "vnis": ["100"]}
        operator = {"name": "me", "publicKey": self.key("me")[1], "rules": [{"verbs": ["read"], "resources": ["status"]}]}
        self.identities.write_text(json.dumps({"identities": [operator, *({"name": name, "publicKey": self.key(name)[1], "rules": [read]} for name in names)]}))

    def start(self, *arguments):
        daemon = Daemon("metalbondd", [*self.arguments, *arguments], self.directory)
        self.addCleanup(daemon.kill)
        return daemon.wait_ready()

    def speaker(self, name, *arguments, reflector="r1"):
        return Speaker(self, name, "--key-file", self.key(name)[0], "--reflector", f"{self.endpoint},key={self.key(reflector)[1]}", *arguments)

    def status(self):
        result = run("ironcorectl", "routes", "status", environment={"IRONCORE_REFLECTOR": self.endpoint, "IRONCORE_REFLECTOR_KEY": self.key("r1")[1],
                                                                     "IRONCORE_KEY_FILE": str(self.key("me")[0])})
        self.assertEqual(result.code, 0, result)
        return result.out

    def test_hosts_are_told_why_they_learn_nothing(self):
        early = self.speaker("host-1", "--subscribe", "100", "--subscribe", "7")

        def is_told(host, words):
            wait_until(f"{host.name} is told: {words}", lambda: any(words in line for line in host.status()))
        is_told(early, f"nobody answers at {self.endpoint}")
        daemon = self.start()
        is_told(early, "= vni 7 routes 0 stale refused by 0: this node's key has no right to VNI 7")
        self.assertNotIn("refused by", [line for line in early.status() if line.startswith("= vni 100")][0])
        self.assertIn('msg="node may not read a VNI" node=host-1 vni=7', daemon.log.read_text())
        stranger = self.speaker("host-2")
        is_told(stranger, f"does not know our key {self.key('host-2')[1]}")
        is_told(self.speaker("host-3", reflector="me"), "breaks off the handshake: check that the reflector's public key is right")
        status = self.status()
        self.assertRegex(status, r"refused +0 announcements of present nodes, 1 VNI that they asked for")
        self.assertRegex(status, r"refused in all +[1-9]\d* for want of a right, [1-9]\d* unknown keys,")
        self.let("host-1", "host-2")
        daemon.process.send_signal(signal.SIGHUP)
        is_told(stranger, "= reflector r1 connected")

    def test_a_reflector_that_is_its_own_peer_says_so(self):
        # By another name than the one that it listens on; a host of that name is another matter.
        with open(self.key("r1")[0]) as own:
            key = json.load(own)["publicKey"]
        self.assertSays(run("metalbondd", *self.arguments[1:], "--peer", f"tcp://localhost:{self.port},key={key}", "--check-config"), 2,
                        "peer: the key of", "is this reflector's own")
        path = self.directory / "r.sock"
        link = self.directory / "link"
        link.symlink_to(self.directory)
        words = ["--name", "r1", "--listen", f"ipc://{path}"]
        self.assertSays(run("metalbondd", *words, "--peer", f"ipc://{link}/r.sock", "--check-config"), 2, "is where this reflector itself listens")
        other = self.directory / "other.sock"
        for suffix in ("", ".ann", ".pub"):
            pathlib.Path(f"{other}{suffix}").symlink_to(f"{path}{suffix}")
        daemon = Daemon("metalbondd", [program("metalbondd"), *words, "--peer", f"ipc://{other}", "--deferral", "0s"], self.directory)
        self.addCleanup(daemon.kill)
        daemon.wait_ready()
        wait_until("it says so", lambda: "that is this reflector itself: take it out of its peers" in daemon.log.read_text())
        host = Speaker(self, "r1", "--reflector", f"ipc://{path}")
        wait_until("a host of this name is served", lambda: any("= reflector r1 connected" in line for line in host.status()))

    def test_a_metrics_port_in_use_is_said(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.assertSays(run("metalbondd", *self.arguments[1:], "--metrics", address, "--log-level", "error"), 1, f"metrics: listen on {address}: the port is in use")
        self.assertSays(run("metalbondd", *self.arguments[1:], "--metrics", "192.0.2.1:9464", "--log-level", "error"), 1, "that is no address of this host")

    def test_rights_that_mean_nothing_are_named(self):
        for rule, name, text in (({"verbs": ["update"], "resources": ["peers"]}, "host-1", "'update' means nothing for peers"),
                                 ({"verbs": ["read", "update"], "resources": ["peers", "status"]}, "host-1", "'update' means nothing for peers, status"),
                                 ({"verbs": ["update"], "resources": ["routes"], "prefixes": []}, "host-1", 'is empty: name some; ["0.0.0.0/0", "::/0"] are all'),
                                 ({"verbs": ["read"], "resources": ["routes"]}, "Host-1", "is that of a host or reflector"),
                                 ({"verbs": ["read"], "resources": ["status"]}, "me too", "has blanks, quotes"),
                                 ({"verbs": ["read"], "resources": ["status"]}, "x" * 254, "more than 253 bytes")):
            with self.subTest(rule=rule, name=name):
                self.identities.write_text(json.dumps({"identities": [{"name": name, "publicKey": self.key("host-1")[1], "rules": [rule]}]}))
                self.assertSays(run("metalbondd", *self.arguments[1:], "--check-config"), 2, text)
        for rule, name in (({"verbs": ["*"], "resources": ["peers"]}, "host-1"), ({"verbs": ["read"], "resources": ["status"]}, "Me.2")):
            self.identities.write_text(json.dumps({"identities": [{"name": name, "publicKey": self.key("host-1")[1], "rules": [rule]}]}))
            self.assertSays(run("metalbondd", *self.arguments[1:], "--check-config"), 0, "are right", stream="out")

    def test_lists_are_lists_in_json(self):
        path = self.directory / "r.sock"
        daemon = Daemon("metalbondd", [program("metalbondd"), "--name", "r1", "--listen", f"ipc://{path}", "--deferral", "0s"], self.directory)
        self.addCleanup(daemon.kill)
        daemon.wait_ready()

        def asked(*words):
            result = run("ironcorectl", "routes", *words, "-o", "json", "--reflector", f"ipc://{path}")
            self.assertEqual(result.code, 0, result)
            return json.loads(result.out)
        lists = (["nodes"], ["vnis"], ["dump", "100"], ["trace", "100", "10.0.0.1"])
        for words in lists:
            self.assertEqual(asked(*words), [], words)
        Speaker(self, "host-a", "--reflector", f"ipc://{path}", "100#10.0.0.1/32#fd00::a")
        wait_until("it is known", lambda: asked("dump", "100"))
        for words in lists:
            found = asked(*words)
            self.assertIsInstance(found, list, words)
            self.assertEqual(len([one for one in found if one.get("routes") != 0]), 1, words)
        self.assertIsInstance(asked("status"), dict)


if __name__ == "__main__":
    if not SPEAKER.exists():
        print(f"skipped: {SPEAKER} was not built")
        sys.exit(cloud.SKIPPED)
    cloud.main("metalbondd", "ironcorectl", "ironcored")
