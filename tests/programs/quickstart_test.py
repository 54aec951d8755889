# SPDX-License-Identifier: Apache-2.0
"""The quickstart, as it is shipped: killed in the middle, then once more from beginning to end; and on a Ceph cluster."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import cloud

QUICKSTART = cloud.ROOT / "tests/support/quickstart"
IMAGE = cloud.BUILD / "guest/image"


def processes_below(directory):
    """Whatever has this directory on its command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(directory).encode() in (entry / "cmdline").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


class Runs(unittest.TestCase):
    def setUp(self):
        parent = pathlib.Path(tempfile.mkdtemp(prefix="ic-", dir="/var/tmp"))
        parent.chmod(0o711)
        self.addCleanup(shutil.rmtree, parent, ignore_errors=True)
        self.directory = parent / "run"
        self.addCleanup(subprocess.run, self.command("--stop"), stdout=subprocess.DEVNULL, timeout=60)

    def command(self, *more):
        return [str(QUICKSTART), "--build", str(cloud.BUILD), "--image", str(IMAGE), "--directory", str(self.directory), *more]

    def assertPromised(self, result, *texts):
        for text in texts:
            self.assertIn(text, result.stdout)
        self.assertEqual(processes_below(self.directory), [])
        self.assertFalse(self.directory.exists(), "the directory of the run is left")


class Local(Runs):
    def test_an_interrupted_run_harms_neither_the_next_one_nor_the_machine(self):
        lines = []
        first = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            for line in first.stdout:
                lines.append(line)
                if line.startswith("== the guest says"):  # so the machine runs
                    break
        finally:
            first.kill()
            code, errors = first.wait(), first.stderr.read() if not lines or "the guest" not in lines[-1] else ""
            first.stdout.close()
            first.stderr.close()
        if code == cloud.SKIPPED:
            print(errors)
            sys.exit(cloud.SKIPPED)
        self.assertTrue(lines and lines[-1].startswith("== the guest says"), "".join(lines) + errors)

        begin = time.monotonic()
        second = subprocess.run(self.command(), text=True, capture_output=True, timeout=240)
        self.assertEqual(second.returncode, 0, second.stdout + second.stderr)
        print(f"the second run took {time.monotonic() - begin:.1f} s")
        self.assertPromised(second, "removed what an earlier run had left", "hostname web-1", "machine/web-1 unchanged", "machine/web-1 shut down",
                            "machine/web-1 deleted", "volume/web-1-data deleted", "no domain, no file")


class OnCeph(Runs):
    def test_a_disk_in_the_cluster_a_snapshot_and_a_bucket(self):
        # Killed when the cluster serves: the next run ends what is left of it.
        first = subprocess.Popen(self.command("--ceph", "--keep"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines = []
        try:
            for line in first.stdout:
                lines.append(line)
                if "a cluster of our own" in line:
                    break
        finally:
            first.kill()
            code, errors = first.wait(), first.stderr.read() if not lines or "a cluster" not in lines[-1] else ""
            first.stdout.close()
            first.stderr.close()
        if code == cloud.SKIPPED:
            print(errors)
            sys.exit(cloud.SKIPPED)
        self.assertTrue(lines and "a cluster of our own" in lines[-1], "".join(lines) + errors)
        self.assertTrue(processes_below(self.directory))
        second = subprocess.run(self.command("--ceph"), text=True, capture_output=True, timeout=300)
        self.assertEqual(second.returncode, 0, second.stdout + second.stderr)
        self.assertPromised(second, "removed what an earlier run had left", "volumesnapshot/web-1-root-marked state=Ready", "found-", "bucket/pictures deleted",
                            "volume/web-2-root deleted", "no domain, no image")


if __name__ == "__main__":
    if not (IMAGE / "index.json").exists():
        print(f"skipped: {IMAGE} was not built; run ./dev setup")
        sys.exit(cloud.SKIPPED)
    cloud.main("ironcorectl", "ironcored", "libvirt-providerd", "ceph-providerd")
