# SPDX-License-Identifier: Apache-2.0
"""Several hosts as docs/several-hosts.md says it: over TCP, each with a key and no more rights than it needs."""
import os
import subprocess
import sys

import cloud
from cloud import CLASS, ROOT, wait_until
from over_tcp import OverTcp

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


class SeveralHosts(OverTcp):
    def setUp(self):
        super().setUp()
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

    def test_a_provider_needs_no_more_rights_than_the_example_gives(self):
        self.start_provider("libvirt-providerd", "host-1", "--pool-name", "host-1", "--libvirt-uri", self.uri, "--image-root", IMAGE.resolve())
        wait_until("the pool is there", lambda: self.ctl("get", "machinepool", "host-1").code == 0)
        self.ok("apply", "-f", "-", stdin=CLASS + "---\n" + MACHINE)
        self.ok("wait", "machine/web-1", "--for", "state=Running", "--timeout", "120s")
        wait_until("the boot log", lambda: "ironcore guest: ready" in self.ok("logs", "web-1"), seconds=120)
        wait_until("an event", lambda: "Started" in self.ok("events", "machine/web-1"))
        self.ok("power", "off", "web-1", "--wait", "--timeout", "120s")
        self.assert_nothing_was_refused()
        self.ok("delete", "machine", "web-1")
        # And what is not in its role it may not.
        self.assertNotEqual(self.ctl("delete", "machineclass", "small", key="host-1").code, 0)
        self.assertNotEqual(self.ctl("get", "namespaces", key="host-1").code, 0)


if __name__ == "__main__":
    if not (IMAGE / "index.json").exists():
        print(f"skipped: {IMAGE} was not built; run ./dev setup")
        sys.exit(cloud.SKIPPED)
    cloud.main("ironcored", "libvirt-providerd", "ironcorectl")
