# SPDX-License-Identifier: Apache-2.0
"""The guest image of the tests, and QEMU processes that run it: their consoles, and what QEMU and the guest agent are told."""
import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

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
    """One QEMU process with the image, its serial console on pipes. With `vhost_user`, a socket where somebody must connect before it runs."""

    def __init__(self, image, folder, *, disk=False, machine="q35", ignition=None, agent=False, network=False, vhost_user=None,
                 mac="52:54:00:12:34:56"):
        self.folder = folder
        self.seen = b""
        command = ["qemu-system-x86_64", "-machine", f"{machine},accel=tcg" + (",memory-backend=memory" if vhost_user else ""),
                   "-smp", "1", "-m", "256", "-nodefaults",
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
        if vhost_user:
            # Without vectors, because QEMU 7.2 crashes in emulation when such a device has them.
            command += ["-object", "memory-backend-memfd,id=memory,size=256M,share=on",
                        "-chardev", f"socket,id=switch,path={vhost_user},server=on,wait=off",
                        "-netdev", "vhost-user,id=net,chardev=switch",
                        "-device", f"virtio-net-pci,netdev=net,mac={mac},romfile=,vectors=0"]
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
