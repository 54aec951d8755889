# SPDX-License-Identifier: Apache-2.0
"""Several hosts as docs/several-hosts.md says it: over TCP, each with a key and no more rights than it needs."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cloud
from cloud import CLASS, ROOT, Daemon, program, run, wait_until
from ironcored_test import three_free_ports

IMAGE = cloud.BUILD / "guest/image"
LIBVIRTD = ROOT / "tests/support/libvirtd"
MACHINE = f"""
apiVersion: v1
kind: Secret
metadata: {{name: web-1-ignition}}
stringData: {{ignition.yaml: '{{"hostname": "web-1"}}'}}
---
apiVersion: compute.ironcore.dev/v1alpha1
kind: Machine
metadata: {{name: web-1}}
spec:
  machineClassRef: {{name: small}}
  ignitionRef: {{name: web-1-ignition}}
  volumes: [{{name: root, localDisk: {{image: "oci:{IMAGE.resolve()}"}}}}]
  networkInterfaces: [{{name: net, ephemeral: {{networkInterfaceTemplate: {{spec: {{}}}}}}}}]
"""


class SeveralHosts(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.directory.chmod(0o711)
        folder = self.directory / "libvirt"
        folder.mkdir()
        libvirtd = subprocess.Popen([LIBVIRTD, "run", folder], stdout=subprocess.PIPE, text=True)
        self.addCleanup(libvirtd.stdout.close)
        self.addCleanup(libvirtd.wait, 30)
        self.addCleanup(libvirtd.kill)
        self.uri = libvirtd.stdout.readline().strip()
        if not self.uri:
            print("no libvirtd could be started")
            os._exit(libvirtd.wait())  # 77: skipped, which a test framework's own exit would hide

        self.server_address = f"tcp://127.0.0.1:{three_free_ports()}"
        self.keys = {name: self.key(name) for name in ("server", "me", "host-1")}
        identities = (ROOT / "examples/identities.json").read_text()
        for place, name in (("@MY_PUBLIC_KEY@", "me"), ("@HOST_1_PUBLIC_KEY@", "host-1")):
            self.assertIn(place, identities)
            identities = identities.replace(place, self.keys[name][1].replace("\\", "\\\\").replace('"', '\\"'))
        file = self.directory / "identities.json"
        file.write_text(identities)
        server = Daemon("ironcored", [program("ironcored"), "--state-directory", self.directory / "state", "--listen", self.server_address,
                                      "--key-file", self.keys["server"][0], "--identities-file", file], self.directory)
        self.addCleanup(server.kill)
        server.wait_ready()

    def key(self, name):
        file = self.directory / f"{name}.key"
        made = run("ironcored", "keygen", file)
        self.assertEqual(made.code, 0, made)
        return file, made.out.strip()

    def ctl(self, *arguments, key="me", stdin=""):
        return run("ironcorectl", "--server", self.server_address, "--key-file", self.keys[key][0], "--server-key", self.keys["server"][1],
                   *arguments, stdin=stdin, seconds=150)

    def ok(self, *arguments, stdin=""):
        result = self.ctl(*arguments, stdin=stdin)
        self.assertEqual(result.code, 0, f"{arguments}: {result}\n{self.provider.tail()}")
        return result.out

    def test_a_provider_needs_no_more_rights_than_the_example_gives(self):
        self.provider = Daemon("libvirt-providerd", [
            program("libvirt-providerd"), "--pool-name", "host-1", "--server", self.server_address, "--key-file", self.keys["host-1"][0],
            "--server-key", self.keys["server"][1], "--libvirt-uri", self.uri, "--image-root", IMAGE.resolve(), "--directory",
            self.directory / "provider", "--heartbeat", "1s", "--lease", "5s"], self.directory)
        self.addCleanup(self.provider.kill)
        self.provider.wait_ready()
        wait_until("the pool is there", lambda: self.ctl("get", "machinepool", "host-1").code == 0)
        self.ok("apply", "-f", "-", stdin=CLASS + "---\n" + MACHINE)
        self.ok("wait", "machine/web-1", "--for", "state=Running", "--timeout", "120s")
        wait_until("the boot log", lambda: "ironcore guest: ready" in self.ok("logs", "web-1"), seconds=120)
        wait_until("an event", lambda: "Started" in self.ok("events", "machine/web-1"))
        self.ok("power", "off", "web-1", "--wait", "--timeout", "120s")
        self.ok("delete", "machine", "web-1")
        self.assertNotIn("forbidden", self.provider.tail())
        self.assertNotIn("may not", self.provider.tail())
        # And what is not in its role it may not.
        self.assertNotEqual(self.ctl("delete", "machineclass", "small", key="host-1").code, 0)
        self.assertNotEqual(self.ctl("get", "namespaces", key="host-1").code, 0)


if __name__ == "__main__":
    unittest.main()
