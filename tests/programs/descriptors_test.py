# SPDX-License-Identifier: Apache-2.0
"""Daemons with few file descriptors and more connections than that: they live, serve those who are there, and others when there is room."""
import contextlib
import json
import os
import re
import resource
import socket
import subprocess
import urllib.request

import cloud
import daemons
from cloud import Daemon, TempDirectory, program, run, wait_until
from metalbondd_test import Speaker, free_port

LIMIT = 128
STRANGERS = 3 * LIMIT


class FewDescriptors(TempDirectory):
    def start(self, name, *arguments):
        def limited():
            daemons._die_with_parent()
            resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT // 2, LIMIT))  # it raises the lower one by itself
        argv = [str(program(name)), *map(str, arguments), "--ready-file", str(self.directory / f"{name}.ready")]
        self.log = self.directory / f"{name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=limited)
        self.addCleanup(self.end)
        wait_until(f"{name} is ready", lambda: (self.directory / f"{name}.ready").exists() or self.process.poll() is not None)
        self.assertIsNone(self.process.poll(), self.log.read_text())

    def end(self):
        self.process.kill()
        self.process.wait()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @contextlib.contextmanager
    def strangers(self, *paths):
        """More connections than there are descriptors, of programs that say nothing."""
        with contextlib.ExitStack() as stack:
            for i in range(STRANGERS):
                one = stack.enter_context(socket.socket(socket.AF_UNIX))
                one.settimeout(10)
                one.connect(str(paths[i % len(paths)]))
            wait_until("no room is left", lambda: self.process.poll() is not None or self.descriptors() >= LIMIT - 16)
            self.assertIsNone(self.process.poll(), self.log.read_text())
            yield
        self.assertIsNone(self.process.poll(), self.log.read_text())

    def test_a_reflector_serves_those_who_are_there(self):
        path = self.directory / "r.sock"
        port = free_port(1)
        self.start("metalbondd", "--name", "r1", "--listen", f"ipc://{path}", "--deferral", "0s", "--metrics", f"127.0.0.1:{port}")

        def metrics():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", answer.read().decode(), re.M)}
        host = Speaker(self, "host-a", "--reflector", f"ipc://{path}", "100#10.0.0.1/32#fd00::a")
        reader = Speaker(self, "host-b", "--reflector", f"ipc://{path}", "--subscribe", "100")
        reader.wait_for("knows the first one", ["100#10.0.0.1/32#fd00::a"])
        self.assertEqual((metrics()["process_max_fds"], metrics()["ironcore_routing_refused_connections_total"]), (LIMIT, 0))
        self.assertLess(metrics()["process_open_fds"], LIMIT / 2)
        with self.strangers(path, f"{path}.ann", f"{path}.pub"):
            wait_until("it says so", lambda: "connections are closed: no descriptors are left" in self.log.read_text())
            host.say("announce", "100#10.0.0.2/32#fd00::a")
            reader.wait_for("learns more", ["100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a"])
            self.assertGreater(metrics()["ironcore_routing_refused_connections_total"], LIMIT)
            self.assertGreaterEqual(metrics()["process_open_fds"], LIMIT - 16)
            late = Speaker(self, "host-c", "--reflector", f"ipc://{path}", "--subscribe", "100")
            wait_until("the late one is told why", lambda: any("takes no more connections" in line for line in late.status()))
        late.wait_for("it is served when there is room", ["100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a"])
        self.assertEqual(reader.lost(), [])
        status = run("ironcorectl", "routes", "status", "-o", "json", "--reflector", f"ipc://{path}")
        self.assertEqual(json.loads(status.out)["counts"]["deaths"], 0)

    def test_it_warns_before_there_are_none(self):
        path = self.directory / "r.sock"
        self.start("metalbondd", "--name", "r1", "--listen", f"ipc://{path}", "--deferral", "0s")
        with contextlib.ExitStack() as stack:
            while self.descriptors() < LIMIT * 4 // 5 + 2:
                before = self.descriptors()
                one = stack.enter_context(socket.socket(socket.AF_UNIX))
                one.connect(str(path))
                wait_until("it was accepted", lambda before=before: self.descriptors() > before)
            wait_until("it warns", lambda: "four fifths of the descriptors are in use" in self.log.read_text())
        self.assertNotIn("connections are closed", self.log.read_text())

    def test_ironcored_serves_again(self):
        path = self.directory / "api.sock"
        self.start("ironcored", "--state-directory", self.directory / "state", "--listen", f"ipc://{path}")

        def asked():
            return run("ironcorectl", "get", "namespaces", environment={"IRONCORE_SERVER": f"ipc://{path}"})
        self.assertEqual(asked().code, 0, asked())
        with self.strangers(path, f"{path}.changes", f"{path}.streams"):
            pass
        wait_until("it answers again", lambda: asked().code == 0)


if __name__ == "__main__":
    cloud.main("metalbondd", "ironcorectl", "ironcored")
