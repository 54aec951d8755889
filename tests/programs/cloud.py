# SPDX-License-Identifier: Apache-2.0
"""What the tests of the programs share: where the programs are, a private ironcored, and ironcorectl on it."""
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))
sys.dont_write_bytecode = True

from daemons import Daemon, wait_until  # noqa: E402,F401  (for the tests)

BUILD = pathlib.Path(os.environ.get("IRONCORE_BUILD", ROOT / "build"))
SKIPPED = 77


def program(name):
    return BUILD / "daemons" / name / name


def main(*needed):
    """Runs the tests of the calling file; exit code 77 when a program or another part is missing."""
    for name in needed:
        if not program(name).exists():
            print(f"skipped: {program(name)} was not built")
            sys.exit(SKIPPED)
    unittest.main(verbosity=2, catchbreak=True)


class Run:
    """What a command said and how it ended."""

    def __init__(self, result):
        self.code, self.out, self.err = result.returncode, result.stdout, result.stderr

    def __repr__(self):
        return f"code {self.code}\n--- out\n{self.out}--- err\n{self.err}"


def run(name, *arguments, stdin="", environment=None, seconds=60):
    """One of our programs in an environment of its own: nothing of the caller's settings gets in."""
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(environment or {})}
    for kept in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH"):
        if kept in os.environ:
            clean[kept] = os.environ[kept]
    return Run(subprocess.run([str(program(name)), *map(str, arguments)], input=stdin, text=True, capture_output=True,
                              timeout=seconds, env=clean))


class TempDirectory(unittest.TestCase):
    """A short path, because sockets lie in it; gone afterwards."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def assertSays(self, result, code, *texts, stream="err"):
        """Ended with this code, and said all of these texts."""
        self.assertEqual(result.code, code, result)
        for text in texts:
            self.assertIn(text, getattr(result, stream), result)
        if code != 0:
            for line in result.err.splitlines():
                self.assertTrue(line.startswith("error: "), f"not an error line: {line!r} in {result}")


def take_own_mounts():
    """From here on, mounts of this process are seen by it and its children only, and end with them. Exit code 77 without the right."""
    new_mount_namespace = 0x00020000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_mount_namespace) != 0:
        print(f"skipped: no mounts of its own: {os.strerror(ctypes.get_errno())}; run the tests as root")
        sys.exit(SKIPPED)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class SmallDisk:
    """A disk of a few MiB in memory, mounted on a directory; after `take_own_mounts`."""

    def __init__(self, directory, mebibytes, mode):
        self.directory = directory
        self.ballast = directory / "ballast"
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode={mode:04o}", "small-disk", directory], check=True)

    def end(self):
        subprocess.run(["umount", "--lazy", self.directory], check=True)

    def free(self):
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    def fill(self, leave=0):
        """Only so many bytes are free afterwards."""
        with open(self.ballast, "ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while self.free() > leave:
                ballast.write(b"x" * 4096)
        assert self.free() <= leave, self.free()

    def make_room(self):
        self.ballast.unlink()


class WithServer(TempDirectory):
    """An ironcored of our own."""

    server_arguments = ()

    def setUp(self):
        super().setUp()
        self.endpoint = f"ipc://{self.directory}/api.sock"
        self.server = self.start_server()

    def start_server(self):
        server = Daemon("ironcored", [program("ironcored"), "--state-directory", self.directory / "state", "--listen", self.endpoint,
                                      *self.server_arguments], self.directory)
        self.addCleanup(server.kill)
        return server.wait_ready()

    def ctl(self, *arguments, stdin="", environment=None, seconds=60):
        return run("ironcorectl", *arguments, stdin=stdin, environment={"IRONCORE_SERVER": self.endpoint, **(environment or {})}, seconds=seconds)

    def ok(self, *arguments, **options):
        result = self.ctl(*arguments, **options)
        self.assertEqual(result.code, 0, result)
        return result.out

    def apply(self, text):
        return self.ctl("apply", "-f", "-", stdin=text)

    def get(self, *words):
        return json.loads(self.ok("get", *words, "-o", "json"))


@contextlib.contextmanager
def background(name, *arguments, environment=None):
    """A program that runs beside the test and ends with it."""
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(environment or {})}
    process = subprocess.Popen([str(program(name)), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


CLASS = """
apiVersion: compute.ironcore.dev/v1alpha1
kind: MachineClass
metadata: {name: small}
capabilities: {cpu: "1", memory: 256Mi}
"""

MACHINE = """
apiVersion: compute.ironcore.dev/v1alpha1
kind: Machine
metadata:
  name: web-1
spec:
  machineClassRef: {name: small}
  volumes:
    - name: root
      localDisk: {sizeLimit: 1Gi}
"""
