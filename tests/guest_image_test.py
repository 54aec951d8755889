#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that the guest image does what the tests rely on, by running it in QEMU without any of our programs."""
import base64
import ctypes
import gzip
import hashlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGE = pathlib.Path(os.environ.get("IRONCORE_GUEST_IMAGE", ROOT / "build/guest/image"))
BOUND = 120  # seconds: an emulated guest on a busy machine is slow, never this slow
PROMPT = "guest# "
TYPE = "application/vnd.ironcore.image."


class Image:
    """The image's blobs, found the way a program finds them: index, manifest, layers by media type."""

    def __init__(self, folder):
        self.folder = folder
        self.index = json.loads((folder / "index.json").read_text())
        self.manifest = json.loads(self.blob(self.index["manifests"][0]).read_text())
        self.config = json.loads(self.blob(self.manifest["config"]).read_text())

    def blob(self, descriptor):
        algorithm, digest = descriptor["digest"].split(":")
        return self.folder / "blobs" / algorithm / digest

    def layer(self, name):
        return self.blob(next(x for x in self.manifest["layers"] if x["mediaType"] == TYPE + name))

    def descriptors(self):
        return [self.index["manifests"][0], self.manifest["config"], *self.manifest["layers"]]


def end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Lines:
    """One JSON object a line over a socket: QMP and the guest agent both speak that."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(BOUND)
        self.socket.connect(path)
        self.input = self.socket.makefile("rb")

    def send(self, command, **arguments):
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def call(self, command, **arguments):
        self.send(command, **arguments)
        while True:
            answer = json.loads(self.input.readline())
            if "return" in answer or "error" in answer:
                return answer

    def close(self):
        self.input.close()
        self.socket.close()


class Guest:
    """One QEMU process with the image, its serial console on pipes."""

    def __init__(self, image, folder, *, disk=False, machine="q35", ignition=None, agent=False, network=False):
        self.folder = folder
        self.seen = b""
        command = ["qemu-system-x86_64", "-machine", f"{machine},accel=tcg", "-smp", "1", "-m", "256", "-nodefaults",
                   "-display", "none", "-serial", "stdio", "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]
        if disk:
            overlay = f"{folder}/disk.qcow2"
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.layer("rootfs"),
                            overlay, "64M"], check=True)
            command += ["-drive", f"file={overlay},if=none,id=disk,format=qcow2",
                        "-device", "virtio-blk-pci,drive=disk,serial=first,bootindex=1"]
        else:
            command += ["-kernel", image.layer("kernel"), "-initrd", image.layer("initramfs"),
                        "-append", image.config["commandLine"]]
        if ignition is not None:
            pathlib.Path(folder, "ignition").write_bytes(ignition)
            command += ["-fw_cfg", f"name=opt/com.coreos/config,file={folder}/ignition"]
        if agent:
            command += ["-chardev", f"socket,path={folder}/agent,server=on,wait=off,id=agent",
                        "-device", "virtio-serial-pci",
                        "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
        if network:
            command += ["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile="]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        preexec_fn=end_with_parent)

    def wait_for(self, text, *, after=0):
        """Waits until the console has shown the text beyond a position; returns the seconds since the start."""
        deadline = time.monotonic() + BOUND
        while self.seen.find(text.encode(), after) < 0:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            data = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            if not data:
                raise AssertionError(f"the console never showed {text!r}; it showed:\n{self.console()}")
            self.seen += data
        return time.monotonic() - self.started

    def console(self):
        return self.seen.decode(errors="replace").replace("\r", "")

    def run(self, command):
        """Types a command at the prompt, waits for the next prompt and returns what was printed between."""
        start = len(self.seen)
        self.type(f"{command}; echo end-''of")
        self.wait_for("end-of", after=start)
        end = self.seen.index(b"end-of", start)
        self.wait_for(PROMPT, after=end)
        return self.seen[start:end].decode(errors="replace").replace("\r", "").split("\n", 1)[1]

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def power_button(self):
        control = Lines(f"{self.folder}/qmp")
        try:
            control.input.readline()
            control.call("qmp_capabilities")
            control.call("system_powerdown")
        finally:
            control.close()

    def ended(self, ask_again=lambda: None):
        """Reads the console to its end and returns QEMU's exit code. A guest can miss a press of the button: it is asked again."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self.process.stdout], [], [], 5)
            if not readable:
                ask_again()
                continue
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return self.process.wait(BOUND)
            self.seen += data
        raise AssertionError(f"the guest did not end; the console showed:\n{self.console()}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


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
