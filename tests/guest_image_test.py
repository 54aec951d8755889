#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that the guest image does what the tests rely on, by running it in QEMU without any of our programs."""
import base64
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))
sys.dont_write_bytecode = True

from guests import PROMPT, TYPE, Guest, Image, Lines  # noqa: E402

IMAGE = pathlib.Path(os.environ.get("IRONCORE_GUEST_IMAGE", ROOT / "build/guest/image"))


def ignition(*files):
    entries = [dict(zip(("path", "contents", "mode"), entry)) for entry in files]
    return json.dumps({"ignition": {"version": "3.4.0"}, "storage": {"files": entries}}).encode()


class GuestImageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.image = Image(IMAGE)

    def start(self, **options):
        folder = tempfile.mkdtemp(prefix="ironcore-guest-")
        self.addCleanup(shutil.rmtree, folder)
        guest = Guest(self.image, folder, **options)
        self.addCleanup(guest.close)
        return guest

    def test_every_blob_has_the_digest_and_size_it_is_named_by(self):
        for descriptor in self.image.descriptors():
            content = self.image.blob(descriptor).read_bytes()
            self.assertEqual(descriptor["size"], len(content))
            self.assertEqual(descriptor["digest"], "sha256:" + hashlib.sha256(content).hexdigest())
        self.assertEqual(self.image.manifest["config"]["mediaType"], TYPE + "config.v1+json")
        self.assertEqual(self.image.index["manifests"][0]["platform"], {"os": "linux", "architecture": "amd64"})

    def test_it_boots_from_disk_and_ends_when_the_agent_is_asked(self):
        document = ignition(("/etc/hostname", {"source": "data:,web-1"}, 420))
        guest = self.start(disk=True, ignition=document, agent=True, network=True)
        seconds = guest.wait_for("ironcore guest: ready")
        print(f"ready {seconds:.1f} s after power-on, from disk", file=sys.stderr)
        console = guest.console()
        self.assertIn("ironcore guest: disk vda bytes=67108864 serial=first\n", console)
        self.assertIn("ironcore guest: booted from disk\n", console)
        self.assertIn(f"ironcore guest: ignition {hashlib.sha256(document).hexdigest()}\n", console)
        self.assertIn("ironcore guest: hostname web-1\n", console)
        guest.wait_for("ironcore guest: address eth0 10.0.2.15/24")

        agent = Lines(f"{guest.folder}/agent")
        self.addCleanup(agent.close)
        self.assertEqual(agent.call("guest-ping"), {"return": {}})
        self.assertEqual(agent.call("guest-get-host-name"), {"return": {"host-name": "web-1"}})
        agent.send("guest-shutdown")
        self.assertEqual(guest.ended(), 0)
        self.assertIn("ironcore guest: agent poweroff\n", guest.console())
        self.assertNotIn("power button", guest.console())

    def test_it_boots_by_kernel_and_ends_when_the_power_button_is_pressed(self):
        guest = self.start(machine="pc")
        seconds = guest.wait_for("ironcore guest: ready")
        print(f"ready {seconds:.1f} s after power-on, by kernel", file=sys.stderr)
        console = guest.console()
        for line in ("booted from kernel", "ignition none", "hostname none"):
            self.assertIn(f"ironcore guest: {line}\n", console)
        guest.power_button()
        self.assertEqual(guest.ended(ask_again=guest.power_button), 0)
        self.assertIn("ironcore guest: power button\n", guest.console())

    def test_switches_in_the_ignition_leave_only_the_shell_to_end_it(self):
        text = "100% \"quoted\" \\ ü\n"
        percent = "data:text/plain;charset=utf-8," + "".join(f"%{byte:02X}" for byte in text.encode())
        packed = "data:;base64," + base64.b64encode(gzip.compress(bytes(range(256)))).decode()
        guest = self.start(disk=True, agent=True, ignition=ignition(
            ("/etc/ironcore/switches", {"source": "data:,ironcore.acpi=off%0Aironcore.agent=off%0A"}, 420),
            ("/srv/deep/text", {"source": percent}, 0o640),
            ("/srv/deep/bytes", {"source": packed, "compression": "gzip"}, 0o600),
            ("/srv/empty", {}, 0o644),
            ("not/absolute", {"source": "data:,x"}, 0o644),
            ("/srv/remote", {"source": "https://example.invalid/x"}, 0o644)))
        guest.wait_for(PROMPT)
        self.assertIn("ironcore guest: booted from disk\n", guest.console())
        self.assertIn("ironcore guest: hostname none\n", guest.console())
        self.assertIn(hashlib.sha256(text.encode()).hexdigest(), guest.run("sha256sum /srv/deep/text"))
        self.assertIn(hashlib.sha256(bytes(range(256))).hexdigest(), guest.run("sha256sum /srv/deep/bytes"))
        self.assertIn("640 /srv/deep/text\n", guest.run("stat -c '%a %n' /srv/deep/text"))
        self.assertEqual(guest.run("ls /srv").split(), ["deep", "empty"])
        self.assertEqual(guest.run("pidof acpid qemu-ga"), "")
        self.assertIn("org.qemu.guest_agent.0\n", guest.run("ls /dev/virtio-ports"))

        guest.power_button()
        self.assertEqual("42\n", guest.run("echo $((6 * 7))"))
        mark = len(guest.seen)
        guest.type("exit")
        guest.wait_for("built-in shell", after=mark)
        guest.wait_for(PROMPT, after=guest.seen.index(b"built-in shell", mark))
        mark = len(guest.seen)
        guest.type("reboot")
        guest.wait_for("ironcore guest: ready", after=mark)
        guest.wait_for(PROMPT, after=guest.seen.index(b"guest: ready", mark))
        self.assertEqual("ok\n", guest.run("echo ok"))
        guest.type("poweroff")
        self.assertEqual(guest.ended(), 0)
        self.assertNotIn("power button", guest.console())

    def test_a_damaged_ignition_document_does_not_stop_the_boot(self):
        guest = self.start(ignition=b'{"storage": {"files": [{"path": "/etc/hostname", "contents": {"sou')
        guest.wait_for("ironcore guest: ready")
        self.assertIn("ironcore guest: hostname none\n", guest.console())
        guest.wait_for(PROMPT)
        guest.type("poweroff")
        self.assertEqual(guest.ended(), 0)


def missing():
    if not (IMAGE / "index.json").exists():
        return f"no guest image in {IMAGE}; run tests/support/guest-image"
    return next((f"{tool} is not installed; run ./dev setup" for tool in ("qemu-system-x86_64", "qemu-img")
                 if not shutil.which(tool)), None)


if __name__ == "__main__":
    if reason := missing():
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main(verbosity=2)
