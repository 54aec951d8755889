# SPDX-License-Identifier: Apache-2.0
"""examples/01_first_machine on a real libvirtd: boots the guest image with disk, NIC and ignition, off and on, gone."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import cloud

IMAGE = cloud.BUILD / "guest/image"
EXAMPLE = cloud.BUILD / "examples/01_first_machine"
LIBVIRTD = cloud.ROOT / "tests/support/libvirtd"


class FirstMachine(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-", dir="/var/tmp"))
        self.directory.chmod(0o711)
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        libvirtd = subprocess.Popen([LIBVIRTD, "run", self.directory], stdout=subprocess.PIPE, text=True)
        self.uri = libvirtd.stdout.readline().strip()
        if not self.uri:
            sys.exit(cloud.SKIPPED if libvirtd.wait() == cloud.SKIPPED else 1)
        self.addCleanup(libvirtd.stdout.close)
        self.addCleanup(libvirtd.wait, 30)
        self.addCleanup(libvirtd.kill)

    def virsh(self, *arguments):
        return subprocess.run(["virsh", "-q", "--connect", self.uri, *arguments], text=True, capture_output=True, check=True).stdout.strip()

    def test_it_boots_goes_off_comes_back_and_is_gone(self):
        result = subprocess.run([EXAMPLE, self.uri, f"oci:{IMAGE}"], text=True, capture_output=True, timeout=240,
                                env={"PATH": "/usr/bin:/bin", "TMPDIR": str(self.directory)})
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        states = [line.removeprefix("web-1: ") for line in result.stdout.splitlines()]
        # Each wait begins with the state that the one before it ended with.
        steps = [state for state, before in zip(states, [None, *states]) if state != before and state in ("Running", "Shutdown", "gone")]
        self.assertEqual(steps, ["Running", "Shutdown", "Running", "gone"], result.stdout)
        self.assertEqual((self.virsh("list", "--all", "--name"), self.virsh("secret-list")), ("", ""))

    def test_why_it_does_not_start_is_said(self):
        process = subprocess.Popen([EXAMPLE, self.uri, "oci:/nonexistent"], text=True, stdout=subprocess.PIPE,
                                   env={"PATH": "/usr/bin:/bin", "TMPDIR": str(self.directory)})
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        line = next(line for line in process.stdout if "/nonexistent" in line)
        self.assertRegex(line, r"^web-1: Pending: .*/nonexistent.* \(\w+\)$")


if __name__ == "__main__":
    if not (IMAGE / "index.json").exists():
        print(f"skipped: {IMAGE} was not built; run ./dev setup")
        sys.exit(cloud.SKIPPED)
    cloud.main()
