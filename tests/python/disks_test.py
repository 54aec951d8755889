# SPDX-License-Identifier: Apache-2.0
"""Disks of machines from Python: every kind, whole, and secrets that are never printed."""
import base64
import pathlib
import tempfile
import time
import unittest

import ironcore

GIB = 1 << 30
KEY = b"\x00key of 16 bytes\xff"
PASSPHRASE = bytes(range(256))[:32]


def on_ceph(**more):
    return ironcore.RbdImage(["10.0.0.1:3300", "[fd00::1]:6789"], "ssd", "img_1", "ironcore.ssd.default.1", space="default", **more)


class Values(unittest.TestCase):
    def test_an_image_on_ceph_has_all_that_opens_it(self):
        image = on_ceph(is_encrypted=True)
        self.assertEqual((image.monitors, image.pool, image.space, image.image, image.user, image.is_encrypted),
                         (["10.0.0.1:3300", "[fd00::1]:6789"], "ssd", "default", "img_1", "ironcore.ssd.default.1", True))
        self.assertEqual(image, on_ceph(is_encrypted=True))
        self.assertNotEqual(image, on_ceph())

    def test_secrets_are_bytes_and_are_not_printed(self):
        secrets = ironcore.DiskSecrets(key=KEY, passphrase=PASSPHRASE)
        self.assertEqual((secrets.key, secrets.passphrase), (KEY, PASSPHRASE))
        self.assertEqual(secrets, ironcore.DiskSecrets(KEY, PASSPHRASE))
        disk = ironcore.Disk("data", "vdb", on_ceph(), secrets=secrets)
        for text in (repr(secrets), str(secrets), repr(disk)):
            self.assertNotIn("key of 16", text)
        with self.assertRaises(TypeError):
            ironcore.DiskSecrets(key="text")

    def test_a_disk_keeps_what_it_was_given(self):
        limits = ironcore.DiskLimits(iops=100, bytes_per_second=1 << 20, burst_iops=1000, burst_bytes_per_second=10 << 20, burst=15)
        disk = ironcore.Disk("data", "vdb", on_ceph(), serial="vdb-abc", handle="abc", size_bytes=GIB, limits=limits)
        self.assertEqual((disk.name, disk.device, disk.serial, disk.handle, disk.size_bytes), ("data", "vdb", "vdb-abc", "abc", GIB))
        self.assertEqual(disk.source, on_ceph())
        self.assertEqual((disk.limits.iops, disk.limits.bytes_per_second, disk.limits.burst_iops, disk.limits.burst_bytes_per_second, disk.limits.burst),
                         (100, 1 << 20, 1000, 10 << 20, 15))
        disk.limits = ironcore.DiskLimits()
        self.assertNotEqual(disk.limits, limits)
        disk.source = ironcore.ExistingDisk("/dev/vg/data")
        self.assertEqual((disk.source.path, disk.source.format), ("/dev/vg/data", "raw"))
        disk.source = ironcore.LocalDisk(size_bytes=GIB)
        self.assertEqual(disk.source.size_bytes, GIB)
        with self.assertRaises(TypeError):
            disk.source = "a text"


class Access(unittest.TestCase):
    """What a Volume says becomes a disk."""

    def refused(self, *arguments, **more):
        with self.assertRaises(ironcore.Error) as refused:
            ironcore.open_volume(*arguments, **more)
        return refused.exception

    def test_of_a_volume_on_ceph(self):
        attributes = {"monitors": "10.0.0.1:3300,[fd00::1]:6789", "image": "ssd/default/img_1", "iops": "100", "burstIops": "1000", "burstSeconds": "15"}
        secrets = {"userID": "ironcore.ssd.default.1", "userKey": base64.b64encode(KEY), "encryptionKey": base64.b64encode(PASSPHRASE)}
        disk = ironcore.open_volume("ceph", "0123456789abcdef", attributes, secrets)
        self.assertEqual(disk.source, on_ceph(is_encrypted=True))
        self.assertEqual(disk.handle, "0123456789abcdef")
        self.assertEqual(disk.secrets, ironcore.DiskSecrets(KEY, PASSPHRASE))
        self.assertEqual(disk.limits, ironcore.DiskLimits(iops=100, burst_iops=1000, burst=15))
        told = {**attributes, "encryption": "luks2"}
        self.assertEqual(ironcore.open_volume("ceph", "x", told, secrets).source, disk.source)
        del secrets["encryptionKey"]
        self.assertEqual(ironcore.open_volume("ceph", "x", attributes, secrets).source, on_ceph())
        self.assertIn("no entry encryptionKey", self.refused("ceph", "x", told, secrets).message)
        error = self.refused("ceph", "x", attributes, {**secrets, "userKey": "hunter2 is no base64"})
        self.assertEqual(error.code, "invalid")
        self.assertIn("userKey", error.message)
        self.assertNotIn("hunter2", error.message)

    def test_of_a_volume_in_a_file(self):
        attributes = {"path": "/var/lib/volumes/a.qcow2", "format": "qcow2"}
        disk = ironcore.open_volume("local", "x", attributes, directories=["/var/lib/volumes"])
        self.assertEqual((disk.source.path, disk.source.format), ("/var/lib/volumes/a.qcow2", "qcow2"))
        self.assertEqual(self.refused("local", "x", attributes, directories=["/elsewhere"]).code, "forbidden")
        self.assertEqual(self.refused("local", "x", attributes).code, "unsupported")
        self.assertEqual(self.refused("nbd", "x", {}).code, "unsupported")


class Machines(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.host = ironcore.Host(ironcore.Hypervisor.sim(), str(self.directory / "host"))

    def until(self, state, step):
        end = time.monotonic() + 30
        while (status := step()).state != state:
            self.assertLess(time.monotonic(), end, status)
            time.sleep(0.01)
        return status

    def test_a_machine_runs_with_disks_of_each_kind(self):
        raw = self.directory / "there.raw"
        raw.write_bytes(bytes(1 << 20))
        spec = ironcore.MachineSpec(ironcore.Uid.random(), "web-1", disks=[
            ironcore.Disk("root", "vda", ironcore.LocalDisk(size_bytes=64 << 20)),
            ironcore.Disk("there", "vdb", ironcore.ExistingDisk(str(raw)), handle="there-1"),
            ironcore.Disk("ceph", "vdc", on_ceph(is_encrypted=True), handle="0123456789abcdef", secrets=ironcore.DiskSecrets(KEY, PASSPHRASE)),
        ])
        status = self.until("running", lambda: self.host.apply(spec))
        disks = {disk.name: disk for disk in status.disks}
        self.assertEqual({name: disk.state for name, disk in disks.items()}, {"root": "attached", "there": "attached", "ceph": "attached"})
        self.assertEqual((disks["there"].handle, disks["ceph"].handle), ("there-1", "0123456789abcdef"))
        self.assertEqual(disks["ceph"].notice, "")
        kept = b"".join(path.read_bytes() for path in (self.directory / "host").rglob("*") if path.is_file())
        self.assertNotIn(KEY, kept)
        self.assertNotIn(PASSPHRASE, kept)
        self.until("terminated", lambda: self.host.remove(spec.uid, grace=1))
        self.assertTrue(raw.exists(), "what was there stays")

    def test_what_is_missing_is_named(self):
        spec = ironcore.MachineSpec(ironcore.Uid.random(), "web-1", disks=[
            ironcore.Disk("ceph", "vda", ironcore.RbdImage(["nowhere"], "a/b", "", "u", is_encrypted=True)),
            ironcore.Disk("there", "vdb", ironcore.ExistingDisk("relative", format="vmdk"))])
        with self.assertRaises(ironcore.Error) as refused:
            self.host.apply(spec)
        self.assertEqual(refused.exception.code, "invalid")
        self.assertEqual([field for field, _, _ in refused.exception.fields],
                         ["disks[0].source.monitors", "disks[0].source.pool", "disks[0].source.image", "disks[0].secrets.key",
                          "disks[0].secrets.passphrase", "disks[1].source.path", "disks[1].source.format"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
