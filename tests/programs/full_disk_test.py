# SPDX-License-Identifier: Apache-2.0
"""ironcored on a full disk: writes are refused with what to do about it, reads go on, and nothing acknowledged is lost."""
import queue
import sys
import threading

import cloud
from cloud import CLASS, MACHINE, Daemon, SmallDisk, TempDirectory, WithServer, program, run, wait_until

SAFE = "the disk is full: make room, then try again; what was written before is safe"


def secrets(names, size):
    return "---\n".join(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ndata: {{x: {'QUJD' * (size // 4)}}}\n" for name in names)


class OnSmallDisk(TempDirectory):
    """The state directory is a disk of its own."""

    def setUp(self):
        super().setUp()
        self.disk = SmallDisk(self.directory / "state", mebibytes=24, mode=0o700)
        self.addCleanup(self.disk.end)


class FullDisk(WithServer, OnSmallDisk):
    def setUp(self):
        super().setUp()
        self.ok("apply", "-f", "-", stdin=CLASS)
        self.acknowledged = set()

    def fill(self):
        """Fills the disk, and then what the store had put aside. Remembers what was acknowledged."""
        self.disk.fill()
        for batch in range(50):
            result = self.apply(secrets([f"s{batch}-{i}" for i in range(20)], 60_000))
            self.acknowledged |= {line.split()[0] for line in result.out.splitlines() if line.endswith(" created")}
            if result.code != 0:
                break
        self.assertSays(result, 1, SAFE)
        self.disk.fill()  # the refused write gave back what it had got
        self.assertSays(self.apply(secrets(["small"], 8)), 1, SAFE)

    def names(self):
        return set(self.ok("get", "secrets", "-o", "name").split())

    def check_is_read_only(self):
        """Everything that reads does; everything that writes says why not."""
        self.assertEqual(self.names(), self.acknowledged)
        self.assertIn("small", self.ok("describe", "mc", "small"))
        self.ok("events")
        first = min(self.acknowledged)
        self.assertSays(self.apply(MACHINE), 1, SAFE)
        self.assertSays(self.ctl("create", "-f", "-", stdin=MACHINE), 1, SAFE)
        self.assertSays(self.ctl("delete", *first.split("/")), 1, SAFE)
        self.assertEqual(self.names(), self.acknowledged)
        self.assertIsNone(self.server.process.poll())

    def check_writes(self):
        self.assertSays(self.apply(MACHINE), 0)
        first = min(self.acknowledged)
        self.ok("delete", *first.split("/"))
        self.acknowledged.remove(first)
        self.assertEqual(self.names(), self.acknowledged)

    def check_after_restart(self):
        self.assertEqual(self.names(), self.acknowledged)
        self.assertEqual(self.ok("get", "machines,mc", "-o", "name").split(), ["machine/web-1", "machineclass/small"])
        self.assertSays(run("ironcored", "check", "--state-directory", self.directory / "state"), 0, "in order", stream="out")

    def test_writes_are_refused_reads_go_on_and_writes_come_back_without_a_restart(self):
        with cloud.background("ironcorectl", "get", "secrets", "-w", "-o", "name", environment={"IRONCORE_SERVER": self.endpoint}) as watch:
            seen = queue.SimpleQueue()
            reader = threading.Thread(target=lambda: [seen.put(line.strip()) for line in watch.stdout])
            reader.start()
            self.addCleanup(reader.join)
            self.fill()
            self.check_is_read_only()
            self.disk.make_room()
            self.check_writes()
            self.ok("apply", "-f", "-", stdin=secrets(["last"], 8))
            self.acknowledged.add("secret/last")
            told = set()
            while "secret/last" not in told:
                told.add(seen.get(timeout=30))
            # The one that was deleted was told as well.
            self.assertEqual(len(told - self.acknowledged), 1, told - self.acknowledged)
            self.assertLess(self.acknowledged, told)
            watch.kill()
        self.server.kill()
        self.server = self.start_server()
        self.check_after_restart()

    def test_after_a_crash_on_a_full_disk_it_starts_and_serves_what_there_is(self):
        self.fill()
        self.server.kill()
        self.server = self.start_server()
        self.check_is_read_only()
        self.server.kill()
        self.disk.fill()
        self.server = self.start_server()
        self.check_is_read_only()
        self.disk.make_room()
        self.check_writes()
        self.assertEqual(self.server.stop(), 0)
        self.server = self.start_server()
        self.check_after_restart()

    def test_without_room_for_its_log_it_says_so_and_changes_nothing(self):
        self.ok("apply", "-f", "-", stdin=secrets(["one"], 8))
        self.acknowledged = {"secret/one"}
        self.assertEqual(self.server.stop(), 0)
        self.disk.fill()
        before = (self.directory / "state/ironcored.db").read_bytes()
        again = Daemon("ironcored", [program("ironcored"), "--state-directory", self.directory / "state", "--listen", self.endpoint],
                       self.directory)
        self.addCleanup(again.kill)
        self.assertEqual(again.process.wait(30), 1)
        self.assertRegex(again.tail(1), "error: store file .*ironcored.db: .*: make room")
        self.assertFalse(again.ready_file.exists())
        self.assertEqual((self.directory / "state/ironcored.db").read_bytes(), before)
        self.disk.make_room()
        self.server = self.start_server()
        self.assertEqual(self.names(), self.acknowledged)
        self.check_writes()

    def test_a_new_one_on_a_full_disk_says_so_and_starts_when_there_is_room(self):
        self.server.stop()
        for path in (self.directory / "state").iterdir():
            path.unlink()
        self.disk.fill()
        result = run("ironcored", "--state-directory", self.directory / "state", "--listen", self.endpoint)
        self.assertEqual(result.code, 1, result)
        self.assertRegex(result.err, "error: store file .*ironcored.db: .*make room")
        self.disk.make_room()
        self.server = self.start_server()
        self.ok("apply", "-f", "-", stdin=CLASS)


if __name__ == "__main__":
    cloud.take_own_mounts()
    cloud.main("ironcorectl", "ironcored")
