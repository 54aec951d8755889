# SPDX-License-Identifier: Apache-2.0
"""libvirt-providerd on a full disk: machines say what they wait for, the others run on, and all come up when there is room."""
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

import cloud
from cloud import SmallDisk, wait_until
from provider_test import BOOT_SECONDS, IMAGE, Host, machine, qemu_pid

MEBIBYTE = 1 << 20
NO_ROOM = "no space left on device"


def other_image(target, extra_bytes):
    """The guest image with more in its root disk, behind what the guest reads: another layer, to be copied anew."""
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True)

    def add(content):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    def content_of(descriptor):
        return (IMAGE / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()

    shutil.copy(IMAGE / "oci-layout", target)
    index = json.loads((IMAGE / "index.json").read_text())
    for entry in index["manifests"]:
        manifest = json.loads(content_of(entry))
        add(content_of(manifest["config"]))
        for layer in manifest["layers"]:
            more = os.urandom(extra_bytes) if "rootfs" in layer["mediaType"] else b""
            layer.update(add(content_of(layer) + more))
        entry.update(add(json.dumps(manifest).encode()))
    (target / "index.json").write_text(json.dumps(index))


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-", dir="/var/tmp"))
        self.directory.chmod(0o711)
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        other_image(self.directory / "other", 16 * MEBIBYTE)
        # Before libvirtd starts, which then has it as well.
        self.disk = SmallDisk(self.directory / "provider", mebibytes=160, mode=0o711)
        self.addCleanup(self.disk.end)
        self.host = Host(self.directory)
        self.addCleanup(self.host.end)
        self.host.ok("wait", "machinepool/p1", "--for", "condition=Ready", "--timeout", "30s")

    def apply(self, name, image):
        self.host.ok("apply", "-f", "-", stdin=machine(name, image))

    def get(self, name):
        return json.loads(self.host.ok("get", "machine", name, "-o", "json"))

    def wait_for_reason(self, name):
        """The reason is shown to a person, and the machine is not called anything but pending."""
        wait_until(f"{name} says why it does not run", lambda: NO_ROOM in self.host.ok("describe", "machine", name), 60)
        found = self.get(name)
        self.assertEqual(found["status"]["state"], "Pending")
        return found["metadata"]["uid"]

    def unfinished(self):
        """Files that something left half made."""
        found = [path for path in self.disk.directory.rglob("*") if path.name.endswith((".new", ".tmp"))]
        return found + list((self.disk.directory / "images/partial").iterdir())

    def test_machines_wait_for_room_and_the_others_run_on(self):
        self.apply("good", IMAGE)
        wait_until("the guest has booted", lambda: "ironcore guest: ready" in self.host.ctl("logs", "good").out, BOOT_SECONDS, pause=0.2)
        uid = self.get("good")["metadata"]["uid"]
        pid = qemu_pid(uid)

        # There are processors for two machines on a small host.
        self.disk.fill()
        self.apply("disk", IMAGE)
        unwanted = self.wait_for_reason("disk")
        self.assertEqual(self.unfinished(), [])
        self.host.ok("delete", "machine", "disk")
        self.assertFalse((self.disk.directory / "machines" / unwanted).exists())
        self.disk.make_room()

        self.disk.fill(leave=8 * MEBIBYTE)
        self.apply("image", self.directory / "other")
        self.wait_for_reason("image")
        for place in (str(self.disk.directory), "ReconcileFailed"):
            wait_until(f"it names {place}", lambda place=place: place in self.host.ok("describe", "machine", "image"))
        wait_until("the copy that was begun is gone", lambda: not self.unfinished())
        self.disk.fill()

        with self.subTest("it is tried again, and not all the time"):
            attempts = [line for line in self.host.provider.log.read_text().splitlines()
                        if "will be tried again" in line and "default/image" in line]
            self.assertGreater(len(attempts), 0)
            self.assertLess(len(attempts), 30)

        with self.subTest("a provider that is started again finds the running guest"):
            self.host.provider.kill()
            self.host.start_provider()
            self.host.ok("wait", "machine/good", "--for", "condition=Ready", "--timeout", "60s")
            self.wait_for_reason("image")

        with self.subTest("the running guest has noticed nothing"):
            self.assertIn("answer-42", self.host.ok("console", "good", stdin="\necho answer-$((6*7))\n"))
            self.assertEqual((self.get("good")["status"]["state"], qemu_pid(uid)), ("Running", pid))

        self.disk.make_room()
        self.host.ok("wait", "machine/image", "--for", "state=Running", "--timeout", f"{BOOT_SECONDS}s")
        self.assertEqual(self.unfinished(), [])
        self.assertEqual(qemu_pid(uid), pid)


if __name__ == "__main__":
    if not (IMAGE / "index.json").exists():
        print(f"skipped: {IMAGE} was not built; run ./dev setup")
        sys.exit(cloud.SKIPPED)
    cloud.take_own_mounts()
    cloud.main("ironcorectl", "ironcored", "libvirt-providerd")
