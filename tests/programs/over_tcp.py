# SPDX-License-Identifier: Apache-2.0
"""An ironcored over TCP with the identities of the example, and a key for each of them."""
import pathlib
import shutil
import tempfile
import unittest

from cloud import ROOT, Daemon, program, run
from ironcored_test import three_free_ports


class OverTcp(unittest.TestCase):
    """Starts the server; what a test starts is `self.provider`."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.directory.chmod(0o711)
        self.server_address = f"tcp://127.0.0.1:{three_free_ports()}"
        self.keys = {name: self.keygen(name) for name in ("server", "me", "host-1", "storage-1")}
        identities = (ROOT / "examples/identities.json").read_text()
        for place, name in (("@MY_PUBLIC_KEY@", "me"), ("@HOST_1_PUBLIC_KEY@", "host-1"), ("@STORAGE_1_PUBLIC_KEY@", "storage-1")):
            self.assertIn(place, identities)
            identities = identities.replace(place, self.keys[name][1].replace("\\", "\\\\").replace('"', '\\"'))
        file = self.directory / "identities.json"
        file.write_text(identities)
        server = Daemon("ironcored", [program("ironcored"), "--state-directory", self.directory / "state", "--listen", self.server_address,
                                      "--key-file", self.keys["server"][0], "--identities-file", file], self.directory)
        self.addCleanup(server.kill)
        server.wait_ready()

    def keygen(self, name):
        file = self.directory / f"{name}.key"
        made = run("ironcored", "keygen", file)
        self.assertEqual(made.code, 0, made)
        return file, made.out.strip()

    def connection(self, key):
        """Arguments of a program that has this key."""
        return ["--server", self.server_address, "--key-file", self.keys[key][0], "--server-key", self.keys["server"][1]]

    def start_provider(self, name, key, *arguments):
        self.provider = Daemon(name, [program(name), *self.connection(key), *arguments, "--directory", self.directory / "provider",
                                      "--heartbeat", "1s", "--lease", "5s"], self.directory)
        self.addCleanup(self.provider.kill)
        self.provider.wait_ready()

    def ctl(self, *arguments, key="me", stdin=""):
        return run("ironcorectl", *self.connection(key), *arguments, stdin=stdin, seconds=150)

    def ok(self, *arguments, stdin=""):
        result = self.ctl(*arguments, stdin=stdin)
        self.assertEqual(result.code, 0, f"{arguments}: {result}\n{self.provider.tail()}")
        return result.out

    def assert_nothing_was_refused(self):
        """Ask before something is deleted: who comes back to what is gone may not see that it is gone, as it is in no pool any more."""
        log = self.provider.log.read_text()
        self.assertNotIn("forbidden", log)
        self.assertNotIn("may not", log)
