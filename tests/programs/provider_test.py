# SPDX-License-Identifier: Apache-2.0
"""libvirt-providerd with a real libvirtd and QEMU: boot, console, logs, crashes of every part, bad images, nothing left."""
import base64
import contextlib
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import cloud
from cloud import CLASS, ROOT, Daemon, program, run, wait_until

IMAGE = cloud.BUILD / "guest/image"
LIBVIRTD = ROOT / "tests/support/libvirtd"
BOOT_SECONDS = 120


def machine(name, image, more=""):
    return f"""
apiVersion: compute.ironcore.dev/v1alpha1
kind: Machine
metadata: {{name: {name}}}
spec:
  machineClassRef: {{name: small}}
  volumes:
    - name: root
      localDisk: {{image: "oci:{image}"}}
{more}"""


class Host:
    """A libvirtd, an ironcored and a libvirt-providerd of our own, for all tests of this file."""

    def __init__(self, directory):
        self.directory = directory
        folder = directory / "libvirt"
        folder.mkdir()
        self.libvirtd = subprocess.Popen([LIBVIRTD, "run", folder], stdout=subprocess.PIPE, text=True)
        self.uri = self.libvirtd.stdout.readline().strip()
        if not self.uri:
            code = self.libvirtd.wait()
            print("no libvirtd could be started")
            sys.exit(cloud.SKIPPED if code == cloud.SKIPPED else 1)
        self.endpoint = f"ipc://{directory}/api.sock"
        self.server = self.provider = None
        self.start_server()
        self.start_provider()
        self.ok("apply", "-f", "-", stdin=CLASS)

    def start_server(self):
        self.server = Daemon("ironcored", [program("ironcored"), "--state-directory", self.directory / "state", "--listen", self.endpoint],
                             self.directory).wait_ready()

    def start_provider(self):
        self.provider = Daemon("libvirt-providerd", [
            program("libvirt-providerd"), "--pool-name", "p1", "--server", self.endpoint, "--libvirt-uri", self.uri,
            "--image-root", IMAGE.resolve(), "--image-root", self.directory, "--directory",
            self.directory / "provider", "--shutdown-grace", "60s", "--heartbeat", "1s", "--lease", "5s"], self.directory).wait_ready()

    def ctl(self, *arguments, stdin="", seconds=BOOT_SECONDS + 30):
        return run("ironcorectl", *arguments, stdin=stdin, environment={"IRONCORE_SERVER": self.endpoint}, seconds=seconds)

    def ok(self, *arguments, stdin=""):
        result = self.ctl(*arguments, stdin=stdin)
        if result.code != 0:
            raise AssertionError(f"{' '.join(map(str, arguments))}: {result}\n{self.provider.tail()}")
        return result.out

    def virsh(self, *arguments):
        return subprocess.run(["virsh", "-q", "--connect", self.uri, *arguments], text=True, capture_output=True, check=True).stdout

    def end(self):
        for daemon in (self.provider, self.server):
            if daemon:
                with contextlib.suppress(RuntimeError):
                    daemon.stop()
        self.libvirtd.kill()
        self.libvirtd.wait(30)
        self.libvirtd.stdout.close()


def qemu_pid(uid):
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if b"qemu" in line.split(b"\0")[0] and uid.encode() in line:
                    return int(entry.name)
    return None


class Provider(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-", dir="/var/tmp"))
        cls.directory.chmod(0o711)
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.host = Host(cls.directory)
        cls.addClassCleanup(cls.host.end)
        # A provider serves a moment before it has made its pool.
        wait_until("the pool is there", lambda: cls.host.ctl("get", "machinepool", "p1").code == 0)
        cls.host.ok("wait", "machinepool/p1", "--for", "condition=Ready", "--timeout", "30s")

    def boot(self, name, more=""):
        self.host.ok("apply", "-f", "-", stdin=machine(name, IMAGE, more))
        self.addCleanup(self.host.ctl, "delete", "machine", name, "--ignore-not-found")
        self.host.ok("wait", f"machine/{name}", "--for", "state=Running", "--timeout", f"{BOOT_SECONDS}s")
        return json.loads(self.host.ok("get", "machine", name, "-o", "json"))

    def log(self, name):
        return self.host.ok("logs", name)

    def wait_for_log(self, name, text, times=1):
        return wait_until(f"the guest says {text!r}", lambda: self.log(name).count(text) >= times, BOOT_SECONDS, pause=0.2)

    def test_everything_about_one_machine(self):
        ignition = json.dumps({"ignition": {"version": "3.4.0"}, "storage": {"files": [
            {"path": "/etc/hostname", "contents": {"source": "data:,deep-thought"}}]}})
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ign"}, "type": "compute.ironcore.dev/ignition",
                  "data": {"ignition.yaml": base64.b64encode(ignition.encode()).decode()}}
        self.host.ok("apply", "-f", "-", stdin=json.dumps(secret))
        found = self.boot("one", "  ignitionRef: {name: ign}\n")
        uid = found["metadata"]["uid"]
        pid = qemu_pid(uid)
        self.assertIsNotNone(pid)
        self.assertEqual(found["spec"]["machinePoolRef"]["name"], "p1")
        self.wait_for_log("one", "ironcore guest: ready")
        for text in ("booted from disk", "hostname deep-thought"):
            self.assertIn("ironcore guest: " + text, self.log("one"))

        def tail_is_the_end_of_the_log():
            # The guest may write between the two looks.
            tail = self.host.ok("logs", "one", "--tail", "2")
            return tail.count("\n") in (1, 2) and self.log("one").endswith(tail)
        wait_until("the last two lines are the end of the log", tail_is_the_end_of_the_log)

        with self.subTest("the console talks to the guest"):
            said = self.host.ok("console", "one", stdin="\necho answer-$((6*7))\n")
            self.assertIn("answer-42", said)

        with self.subTest("one holder at a time, and a dropped one frees it"):
            environment = {"IRONCORE_SERVER": self.host.endpoint}
            child, terminal = pty.fork()
            if child == 0:
                os.environ.update(environment)
                os.execl(program("ironcorectl"), "ironcorectl", "console", "one")
            os.write(terminal, b"\r\necho held-$((1+1))\r\n")
            seen = b""
            while b"held-2" not in seen:
                seen += os.read(terminal, 4096)
            refused = self.host.ctl("console", "one", stdin="x")
            self.assertEqual(refused.code, 1, refused)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(terminal)
            wait_until("the console is free", lambda: "again-4" in self.host.ctl("console", "one", stdin="\necho again-$((2+2))\n").out, 60)

        with self.subTest("Ctrl-] leaves"):
            child, terminal = pty.fork()
            if child == 0:
                os.environ.update(environment)
                os.execl(program("ironcorectl"), "ironcorectl", "console", "one")
            seen = b""
            while b"Ctrl-]" not in seen:
                seen += os.read(terminal, 4096)
            os.write(terminal, b"\x1d")
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            os.close(terminal)

        with self.subTest("a killed provider adopts the running guest"):
            self.host.provider.kill()
            self.host.start_provider()
            self.host.ok("wait", "machinepool/p1", "--for", "condition=Ready", "--timeout", "60s")
            self.host.ok("console", "one", stdin="\ntouch /run/adopted\n")
            self.assertEqual(qemu_pid(uid), pid)
            self.assertEqual(self.log("one").count("ironcore guest: ready"), 1)

        with self.subTest("a killed ironcored changes nothing for the guest"):
            self.host.server.kill()
            self.host.start_server()
            self.host.ok("wait", "machine/one", "--for", "condition=Ready")
            self.assertEqual(qemu_pid(uid), pid)
            self.host.ok("reboot", "one", "--wait")
            self.wait_for_log("one", "ironcore guest: ready", 2)

        with self.subTest("a killed libvirtd is reconnected to"):
            os.kill(self.libvirtd_pid(), signal.SIGKILL)
            self.host.ok("power", "off", "one", "--wait")
            self.assertIsNone(qemu_pid(uid))
            self.host.ok("power", "on", "one", "--wait")
            self.wait_for_log("one", "ironcore guest: ready", 3)

        with self.subTest("deleted, nothing is left"):
            self.assertEqual(self.host.ok("delete", "machine", "one"), "machine/one deleted\n")
            self.assertIsNone(qemu_pid(uid))
            self.assertNotIn(uid, self.host.virsh("list", "--all", "--uuid"))
            self.assertEqual(list((self.directory / "provider/machines").glob("*")), [])

    @staticmethod
    def cmdline(entry):
        with contextlib.suppress(OSError):
            return (entry / "cmdline").read_bytes()
        return b""

    def libvirtd_pid(self):
        wanted = f"libvirtd\0-f\0{self.directory.resolve()}/libvirt/libvirtd.conf\0".encode()
        found = [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit() and self.cmdline(entry) == wanted]
        self.assertEqual(len(found), 1)
        return found[0]

    @contextlib.contextmanager
    def hanging_libvirtd(self):
        """It takes connections and answers nobody."""
        pid = self.libvirtd_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def provider_of(self, pool):
        daemon = Daemon(pool, [program("libvirt-providerd"), "--pool-name", pool, "--server", self.host.endpoint, "--libvirt-uri",
                               self.host.uri, "--directory", self.directory / pool], self.directory)
        # Nobody else's machine shall be placed there.
        self.addCleanup(self.host.ctl, "delete", "machinepool", pool, "--ignore-not-found")
        self.addCleanup(daemon.kill)
        return daemon

    def test_a_provider_that_waits_for_a_libvirtd_that_hangs_ends_when_told_and_begins_when_it_goes_on(self):
        with self.hanging_libvirtd():
            early = self.provider_of("early")
            wait_until("it has begun", lambda: "starting" in early.tail())
            self.assertEqual(early.stop(5), 0)
            patient = self.provider_of("patient")
            wait_until("it is told what hangs", lambda: "libvirtd does not answer" in patient.tail())
            self.assertFalse(patient.ready_file.exists())
        patient.wait_ready()
        self.assertEqual(patient.stop(), 0)

    def test_a_provider_whose_machines_wait_for_a_libvirtd_that_hangs_ends_when_told(self):
        names = [f"many-{i}" for i in range(8)]
        busy = self.provider_of("busy").wait_ready()
        wait_until("the pool is there", lambda: self.host.ctl("get", "machinepool", "busy").code == 0)
        self.host.ok("wait", "machinepool/busy", "--for", "condition=Ready", "--timeout", "30s")
        with self.hanging_libvirtd():
            for name in names:
                text = machine(name, IMAGE, "  machinePoolRef: {name: busy}\n")
                self.host.ok("apply", "-f", "-", stdin=text)
            wait_until("it is told of them", lambda: len(json.loads(self.host.ok("get", "machines", "-o", "json"))["items"]) >= len(names))
            self.assertEqual(busy.stop(20), 0)
        self.provider_of("busy").wait_ready()
        self.host.ok("delete", "machine", *names)
        self.assertEqual(list((self.directory / "busy/machines").glob("*")), [])

    def test_an_image_that_is_missing_is_named_and_picked_up_later(self):
        image = self.directory / "late"
        self.host.ok("apply", "-f", "-", stdin=machine("late", image))
        self.addCleanup(self.host.ctl, "delete", "machine", "late", "--ignore-not-found")
        wait_until("the reason is shown", lambda: str(image) in self.host.ok("describe", "machine", "late"), 60)
        shutil.copytree(IMAGE, image)
        self.host.ok("wait", "machine/late", "--for", "state=Running", "--timeout", f"{BOOT_SECONDS}s")

    def test_a_corrupt_image_layer_is_refused(self):
        image = self.directory / "corrupt"
        shutil.copytree(IMAGE, image)
        largest = max((image / "blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
        with open(largest, "r+b") as blob:
            blob.seek(5000)
            blob.write(b"damage")
        self.host.ok("apply", "-f", "-", stdin=machine("corrupt", image))
        self.addCleanup(self.host.ctl, "delete", "machine", "corrupt", "--ignore-not-found")
        wait_until("the reason is shown", lambda: "digest" in self.host.ok("describe", "machine", "corrupt"), 60)
        self.assertEqual(json.loads(self.host.ok("get", "machine", "corrupt", "-o", "json"))["status"]["state"], "Pending")
        self.host.ok("delete", "machine", "corrupt")

    def test_a_second_provider_of_the_pool_waits(self):
        second = Daemon("second", [program("libvirt-providerd"), "--pool-name", "p1", "--server", self.host.endpoint, "--libvirt-uri",
                                   self.host.uri, "--directory", self.directory / "second"], self.directory)
        self.addCleanup(second.kill)
        second.wait_ready()
        wait_until("it says why", lambda: "p1" in second.tail(30), 30)
        self.assertEqual(second.stop(), 0)

    def test_it_waits_for_a_server_that_is_not_there_yet(self):
        early = subprocess.Popen([program("libvirt-providerd"), "--pool-name", "p2", "--server", f"ipc://{self.directory}/later.sock",
                                  "--libvirt-uri", self.host.uri, "--directory", str(self.directory / "early")], stderr=subprocess.PIPE, text=True)
        self.addCleanup(early.stderr.close)
        try:
            line = next(line for line in early.stderr if "waiting" in line)
            self.assertIn("ironcored", line)
            early.terminate()
            self.assertEqual(early.wait(30), 0, "it did what it was told")
        finally:
            early.kill()
            early.wait()


if __name__ == "__main__":
    if not (IMAGE / "index.json").exists():
        print(f"skipped: {IMAGE} was not built; run ./dev setup")
        sys.exit(cloud.SKIPPED)
    cloud.main("ironcorectl", "ironcored", "libvirt-providerd")
