# SPDX-License-Identifier: Apache-2.0
"""ceph-providerd on files of this host: volumes and snapshots, bad settings, crashes, two providers for one pool."""
import base64
import os
import re
import secrets
import socket
import struct
import subprocess
import sys
import time
import urllib.request

import cloud
from cloud import Daemon, WithServer, program, run, wait_until
from metalbondd_test import free_port

CLASSES = """
apiVersion: storage.ironcore.dev/v1alpha1
kind: VolumeClass
metadata: {name: fast}
capabilities: {tps: 200Mi, iops: 15k}
resizePolicy: ExpandOnly
---
apiVersion: storage.ironcore.dev/v1alpha1
kind: VolumeClass
metadata: {name: fixed}
capabilities: {tps: 100Mi, iops: 1k}
"""


def volume(name, size="64Mi", volume_class="fast", more=""):
    return f"""
apiVersion: storage.ironcore.dev/v1alpha1
kind: Volume
metadata: {{name: {name}}}
spec:
  volumeClassRef: {{name: {volume_class}}}
  volumePoolRef: {{name: here}}
  resources: {{storage: {size}}}
{more}"""


def snapshot(name, of):
    return f"""
apiVersion: storage.ironcore.dev/v1alpha1
kind: VolumeSnapshot
metadata: {{name: {name}}}
spec: {{volumeRef: {{name: {of}}}}}
"""


def metrics_at(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(ironcore_provider_\S+(?: \S+)*) (\S+)$", text, re.M)}


class Settings(cloud.TempDirectory):
    """What is wrong is said before anything starts, and names the setting."""

    def check(self, *arguments):
        return run("ceph-providerd", *arguments, "--check-config", environment={"XDG_RUNTIME_DIR": str(self.directory)})

    def wrong(self, arguments, *texts):
        self.assertSays(self.check(*arguments), 2, *texts)

    def test_settings_that_fit_are_accepted_from_flags_and_from_a_file(self):
        self.assertEqual(self.check("--volume-pool", "here", "--store", f"disk,local={self.directory}/v", "--volume-class", "fast=disk").code, 0)
        file = self.write("c.yaml", f"volume-pool: here\nstore: ['disk,local={self.directory}/v']\nvolume-class: {{fast: disk}}\n")
        result = self.check("--config", file)
        self.assertEqual(result.code, 0, result)
        self.assertFalse((self.directory / "v").exists(), "checking makes nothing")

    def test_what_does_not_fit_together_is_named(self):
        disk = ["--store", f"disk,local={self.directory}/v"]
        pool = ["--volume-pool", "here"]
        fast = ["--volume-class", "fast=disk"]
        self.wrong([], "volume-pool or bucket-pool is missing")
        self.wrong([*pool, *disk], "no class is kept in disk")
        self.wrong([*pool, *disk, "--volume-class", "fast=dusk"], "there is no store", "dusk")
        self.wrong(["--bucket-pool", "b", *disk, *fast], "volume-pool is missing")
        self.wrong([*pool, "--store", "disk,local=relative", *fast], "expected an absolute path")
        self.wrong([*pool, "--store", "disk,local=/a,pool=b", *fast], "either local=DIRECTORY")
        self.wrong([*pool, "--store", "disk,pool=b,cluster=c", *fast], "there is no cluster", "add --cluster c")
        self.wrong([*pool, "--store", "disk,lokal=/a", *fast], "unknown word", "lokal", "local")
        self.wrong([*pool, *disk, *fast, "--thin-provision-percent", "99"], "thin-provision-percent")
        self.wrong([*pool, *disk, *fast, "--heartbeat", "10s", "--lease", "15s"], "lease")
        (self.directory / "v").mkdir()
        (self.directory / "link").symlink_to(self.directory / "v")
        for same in ("v", "v/", "./v", "x/../v", "link"):
            self.wrong([*pool, *disk, "--store", f"two,local={self.directory}/{same}", *fast, "--volume-class", "slow=two"], "two and disk", "the same place")
        key = self.write("c.key", "AQB\n")
        key.chmod(0o600)
        cluster = [*pool, "--cluster", f"c,monitors=127.0.0.1:1,user=u,key-file={key}", "--volume-class", "fast=a", "--volume-class", "slow=b", "--store"]
        self.wrong([*cluster, "a,cluster=c,pool=p", "--store", "b,cluster=c,pool=p"], "b and a", "the same place")
        self.wrong([*cluster, "a,cluster=c,pool=p,data-pool=q", "--store", "b,cluster=c,pool=r,data-pool=q"], "b and a", "in one pool, q")
        self.wrong([*cluster, "a,cluster=c,pool=p", "--store", "b,cluster=c,pool=r,data-pool=p"], "b and a", "in one pool, p")
        self.assertEqual(self.check(*cluster, "a,cluster=c,pool=p", "--store", "b,cluster=c,pool=r").code, 0)
        self.assertEqual(self.check(*cluster, "a,cluster=c,pool=p", "--store", f"b,local={self.directory}/v").code, 0)

    def test_another_mount_of_a_directory_is_the_same_place(self):
        take_own_mounts = "import sys; sys.path.insert(0, sys.argv[1]); import cloud, os; cloud.take_own_mounts(); "
        (self.directory / "v").mkdir()
        (self.directory / "again").mkdir()
        mount = "import subprocess; subprocess.run(['mount', '--bind', sys.argv[2], sys.argv[3]], check=True); os.execv(sys.argv[4], sys.argv[4:])"
        for below in ("", "/not/yet"):
            result = subprocess.run(
                [sys.executable, "-c", take_own_mounts + mount, os.path.dirname(__file__), self.directory / "v", self.directory / "again",
                 program("ceph-providerd"), "--volume-pool", "here", "--store", f"a,local={self.directory}/v{below}", "--store",
                 f"b,local={self.directory}/again{below}", "--volume-class", "fast=a", "--volume-class", "slow=b", "--check-config"],
                text=True, capture_output=True, timeout=60)
            if result.returncode == cloud.SKIPPED:
                self.skipTest(result.stdout)
            self.assertEqual(result.returncode, 2, result)
            self.assertIn("b and a are kept in the same place", result.stderr)

    def test_a_key_that_others_may_read_is_refused_and_never_printed(self):
        key = self.write("c1.key", "AQBsecretsecretsecret==\n")
        arguments = ["--volume-pool", "here", "--cluster", f"c1,monitors=127.0.0.1:1,user=u,key-file={key}", "--store", "ssd,cluster=c1,pool=p",
                     "--volume-class", "fast=ssd"]
        key.chmod(0o644)
        result = self.check(*arguments)
        self.assertSays(result, 2, "cluster: c1", str(key))
        self.assertNotIn("secretsecret", result.out + result.err)
        key.chmod(0o600)
        self.assertEqual(self.check(*arguments).code, 0)


class Local(WithServer):
    def setUp(self):
        super().setUp()
        self.volumes = self.directory / "volumes"
        self.assertEqual(self.apply(CLASSES).code, 0)
        self.provider = self.start_provider()
        self.wait_pool()

    def start_provider(self, name="ceph-providerd", directory="provider", more=()):
        daemon = Daemon(name, [program("ceph-providerd"), "--server", self.endpoint, "--volume-pool", "here", "--store", f"disk,local={self.volumes}",
                               "--volume-class", "fast=disk", "--volume-class", "fixed=disk", "--directory", self.directory / directory,
                               "--heartbeat", "200ms", "--lease", "2s", *more], self.directory)
        self.addCleanup(daemon.kill)
        return daemon.wait_ready()

    def wait_pool(self):
        # A provider serves a moment before it has made its pool.
        wait_until("the pool is there", lambda: self.ctl("get", "volumepool", "here").code == 0)
        self.ok("wait", "volumepool/here", "--for", "condition=Ready", "--timeout", "30s")

    def make(self, text):
        result = self.apply(text)
        self.assertEqual(result.code, 0, result)

    def wait_available(self, name):
        result = self.ctl("wait", f"volume/{name}", "--for", "state=Available", "--timeout", "30s")
        self.assertEqual(result.code, 0, f"{result}\n{self.ctl('describe', 'volume', name)}\n{self.provider.tail()}")
        return self.get("volume", name)

    def wait_snapshot(self, name):
        wait_until(f"{name} is ready", lambda: self.get("volumesnapshot", name).get("status", {}).get("state") == "Ready")
        return self.get("volumesnapshot", name)

    def file(self, uid):
        return self.one_file("volumes", uid)

    def one_file(self, folder, uid):
        found = [path for path in (self.volumes / folder).rglob(f"{uid}.*") if path.suffix in (".raw", ".qcow2")]
        self.assertLessEqual(len(found), 1, found)
        return found[0] if found else None

    def condition(self, name, kind):
        conditions = self.get("volume", name).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def test_a_volume_is_made_grows_and_goes(self):
        self.make(volume("data"))
        made = self.wait_available("data")
        uid = made["metadata"]["uid"]
        path = self.file(uid)
        self.assertEqual(path.stat().st_size, 64 << 20)
        self.assertEqual(path.stat().st_mode & 0o077, 0, "the data is for nobody else")
        self.assertIn("local://", made["status"]["volumeID"])

        self.make(volume("data", size="96Mi"))
        wait_until("it has grown", lambda: path.stat().st_size == 96 << 20)
        self.assertNotEqual(self.apply(volume("data", size="32Mi")).code, 0, "a volume never shrinks")

        self.ok("delete", "volume", "data")
        self.assertNotEqual(self.ctl("get", "volume", "data").code, 0)
        self.assertIsNone(self.file(uid))

    def test_a_class_without_a_resize_policy_keeps_its_size(self):
        self.make(volume("data", volume_class="fixed"))
        path = self.file(self.wait_available("data")["metadata"]["uid"])
        self.assertNotEqual(self.apply(volume("data", size="96Mi", volume_class="fixed")).code, 0)
        self.assertEqual(path.stat().st_size, 64 << 20)

    def test_a_snapshot_outlives_its_volume_and_is_restored(self):
        self.make(volume("data"))
        path = self.file(self.wait_available("data")["metadata"]["uid"])
        self.assertEqual(path.suffix, ".raw")
        marker = os.urandom(4096)
        with open(path, "r+b") as file:
            file.seek(1 << 20)
            file.write(marker)
        self.make(snapshot("before", "data"))
        self.wait_snapshot("before")
        self.ok("delete", "volume", "data")
        self.make(volume("again", more="  dataSource: {volumeSnapshotRef: {name: before}}\n"))
        restored = self.file(self.wait_available("again")["metadata"]["uid"])
        raw = self.directory / "read.raw"
        if restored.suffix == ".raw":
            raw.write_bytes(restored.read_bytes())
        else:
            subprocess.run(["qemu-img", "convert", "-O", "raw", restored, raw], check=True, timeout=60)
        with open(raw, "rb") as file:
            file.seek(1 << 20)
            self.assertEqual(file.read(4096), marker)

    def test_a_class_that_is_not_there_is_told_and_heals(self):
        self.make(volume("data", volume_class="late"))
        told = wait_until("the condition", lambda: self.condition("data", "Ready").get("reason"))
        self.assertIn("VolumeClass", told)
        self.assertNotEqual(self.get("volume", "data")["status"].get("state"), "Available")
        self.assertFalse([path for path in self.volumes.rglob("*.raw")])

    def test_killed_while_it_works_it_leaves_nothing_twice_and_nothing_behind(self):
        names = [f"v{number}" for number in range(12)]
        for round_number in range(3):
            self.make("---".join(volume(name, size="1Mi") for name in names))
            wait_until("it has begun", lambda: len(list((self.volumes / "volumes").rglob("*.raw"))) > 4 * round_number)
            self.provider.kill()
            self.provider = self.start_provider()
            uids = {self.wait_available(name)["metadata"]["uid"] for name in names}
            kept = {path.stem for path in (self.volumes / "volumes").rglob("*.raw")}
            self.assertEqual(kept, uids)
            self.ok("delete", "volume", *names)
            self.assertEqual([path for path in (self.volumes / "volumes").rglob("*") if path.is_file()], [])

    def test_the_second_provider_of_a_pool_waits_and_takes_over(self):
        second = self.start_provider("second", "second-provider")
        self.make(volume("one"))
        self.wait_available("one")
        self.provider.kill()
        self.make(volume("two"))
        self.wait_available("two")
        self.assertIsNone(second.process.poll())

    def test_two_providers_never_share_a_directory(self):
        result = run("ceph-providerd", "--server", self.endpoint, "--volume-pool", "here", "--store", f"disk,local={self.volumes}",
                     "--volume-class", "fast=disk", "--directory", self.directory / "provider")
        self.assertNotEqual(result.code, 0, result)
        self.assertIn("error: ", result.err)

    def test_amounts_are_told_as_people_read_them(self):
        self.make(volume("data"))
        self.wait_available("data")
        shown = self.ok("describe", "volumepool", "here")
        for resource in ("storage", "class/volume.[a-z]+"):
            self.assertRegex(shown, rf"\n    {resource}: +\d+(\.\d)?[KMGTP]i\n")
            self.assertNotRegex(shown, rf"\n    {resource}: +\d+\n")
        self.ok("apply", "-f", "-", stdin=volume("huge", size="900Ti").replace("  volumePoolRef: {name: here}\n", ""))
        wait_until("why it waits", lambda: self.condition("huge", "Scheduled").get("status") == "False")
        self.assertRegex(self.ok("explain", "volume", "huge"), r": [\d.]+[MGT]i altogether, [\d.]+[MGT]i taken, the volume needs 900Ti")

    def test_growth_beyond_the_room_is_refused_and_can_be_taken_back(self):
        self.make(volume("data"))
        has = self.wait_available("data")["status"]["resources"]["storage"]
        self.ok("apply", "-f", "-", stdin=volume("data", size="900Ti"))
        wait_until("it is refused", lambda: self.condition("data", "UpToDate").get("reason") == "OutOfCapacity")
        self.assertRegex(self.condition("data", "UpToDate")["message"], r"has room for [\d.]+[MGT]i more of volume class")
        self.assertEqual(self.get("volume", "data")["status"]["resources"]["storage"], has)
        # Nobody else minds.
        self.ok("apply", "-f", "-", stdin=volume("other"))
        self.wait_available("other")
        self.ok("apply", "-f", "-", stdin=volume("data", size=has))
        wait_until("all is well", lambda: self.condition("data", "UpToDate").get("status") == "True")

    def test_what_is_lost_is_told_and_never_made_anew(self):
        self.make(volume("data"))
        path = self.file(self.wait_available("data")["metadata"]["uid"])
        self.provider.stop()
        for file in path.parent.glob(path.stem + "*"):
            file.unlink()
        self.provider = self.start_provider()
        wait_until("VolumeLost", lambda: self.condition("data", "Ready").get("reason") == "VolumeLost", seconds=60)
        self.assertFalse(path.exists())

    def ready(self, pool="here"):
        """The condition Ready of a pool, once it has one."""
        def look():
            if self.ctl("get", "volumepool", pool).code != 0:
                return None
            return next((one for one in self.get("volumepool", pool).get("status", {}).get("conditions", []) if one["type"] == "Ready"), None)
        return wait_until(f"{pool} tells", look)

    def wait_refused(self, *texts, pool="here"):
        wait_until(f"{pool} says so", lambda: self.ready(pool)["status"] == "False" and all(text in self.ready(pool)["message"] for text in texts))
        self.assertNotIn("availableVolumeClasses", self.get("volumepool", pool)["status"])

    def test_a_directory_that_is_not_mounted_loses_nothing_and_nothing_is_made_below_it(self):
        self.make(volume("data"))
        path = self.file(self.wait_available("data")["metadata"]["uid"])
        self.assertEqual(self.provider.stop(), 0)
        away = self.directory / "away"
        self.volumes.rename(away)
        for is_below in (False, True):
            if is_below:
                self.volumes.mkdir()
            self.provider = self.start_provider()
            self.wait_refused("is its file system mounted?")
            self.make(volume("late"))
            wait_until("it waits", lambda: self.condition("late", "Ready").get("reason") == "StoreUnavailable")
            wait_until("so does what is there", lambda: self.condition("data", "UpToDate").get("reason") == "StoreUnavailable")
            self.assertEqual(self.get("volume", "data")["status"]["state"], "Available")
            self.assertEqual(self.volumes.exists(), is_below)
            self.assertFalse(is_below and list(self.volumes.iterdir()))
            if not is_below:
                self.assertEqual(self.provider.stop(), 0)
        self.ok("delete", "volume", "data", "--now")
        # Mounted now, while the provider runs.
        self.volumes.rmdir()
        self.assertTrue((away / path.relative_to(self.volumes)).exists())
        away.rename(self.volumes)
        wait_until("it answers", lambda: self.ready()["status"] == "True")
        self.ok("wait", "volume/late", "--for", "state=Available", "--timeout", "90s")
        wait_until("what was deleted goes", lambda: not path.exists(), seconds=90)

    def test_a_directory_that_is_moved_away_takes_no_new_volumes(self):
        self.make(volume("data"))
        self.wait_available("data")
        away = self.directory / "away"
        self.volumes.rename(away)
        self.make(volume("late"))
        self.wait_refused(str(self.volumes))
        wait_until("it waits", lambda: self.condition("late", "Ready").get("reason") == "StoreUnavailable")
        uid = self.get("volume", "late")["metadata"]["uid"]
        self.assertFalse(list(away.rglob(f"{uid}.*")))
        self.assertFalse(self.volumes.exists())
        self.assertEqual(self.get("volume", "data")["status"]["state"], "Available")
        away.rename(self.volumes)
        self.ok("wait", "volume/late", "--for", "state=Available", "--timeout", "90s")

    def test_begun_anew_with_another_marked_directory_it_goes_on_there(self):
        self.make(volume("data"))
        self.wait_available("data")
        # One that this pool has had before.
        before, fresh = self.directory / "before", self.directory / "fresh"
        self.volumes.rename(before)
        self.wait_refused(str(self.volumes))
        self.begin_anew()
        wait_until("a new one is marked", lambda: (self.volumes / "owner").exists())
        wait_until("it is lost", lambda: self.condition("data", "Ready").get("reason") == "VolumeLost", seconds=90)
        self.volumes.rename(fresh)
        before.rename(self.volumes)
        self.wait_refused("is the right file system mounted?")
        self.begin_anew()
        wait_until("it is ready", lambda: self.ready()["status"] == "True")
        wait_until("it is found", lambda: self.condition("data", "UpToDate").get("status") == "True", seconds=90)
        self.make(volume("more"))
        uid = self.wait_available("more")["metadata"]["uid"]
        self.assertTrue(self.file(uid))

    def begin_anew(self):
        noted = "storage.ironcore.dev/stores"
        self.make(f'''
apiVersion: storage.ironcore.dev/v1alpha1
kind: VolumePool
metadata: {{name: here, annotations: {{{noted}: ""}}}}
''')

    def test_the_store_of_another_pool_is_refused(self):
        self.make(volume("data"))
        uid = self.wait_available("data")["metadata"]["uid"]
        second = self.start_provider("second", "second-provider", ["--volume-pool", "there"])
        self.wait_refused("belongs to volume pool here", self.get("volumepool", "here")["metadata"]["uid"], pool="there")
        wait_until("the log says so", lambda: "belongs to volume pool here" in second.log.read_text())
        self.assertNotIn(uid, self.ok("describe", "volumepool", "there"))
        self.assertEqual(self.ready()["status"], "True")
        self.assertTrue(self.file(uid).exists())

    def test_a_pool_that_was_made_anew_has_its_store(self):
        self.make(volume("data"))
        self.wait_available("data")
        before = self.get("volumepool", "here")["metadata"]["uid"]
        self.ok("delete", "volumepool", "here")
        wait_until("it is there again", lambda: self.ctl("get", "volumepool", "here").code == 0
                   and self.get("volumepool", "here")["metadata"]["uid"] != before)
        wait_until("it is ready", lambda: self.ready()["status"] == "True")
        self.make(volume("more"))
        self.wait_available("more")

    def test_what_has_no_object_is_told_and_removed_when_it_is_named(self):
        self.make(volume("data") + "---" + volume("kept"))
        made, kept = self.wait_available("data")["metadata"]["uid"], self.wait_available("kept")["metadata"]["uid"]
        self.assertEqual(self.provider.stop(), 0)
        # As after the restore of an old backup: the object is gone, the data is there.
        self.ok("delete", "volume", "data", "--now")
        editor = self.write("editor", "#!/bin/sh\nexec sed -i '/finalizers:/,+1d' \"$1\"\n")
        editor.chmod(0o755)
        result = self.ctl("edit", "volume", "data", environment={"EDITOR": str(editor)})
        self.assertEqual(result.code, 0, result)
        self.assertNotEqual(self.ctl("get", "volume", "data").code, 0)

        self.provider = self.start_provider()
        wait_until("it is told", lambda: f"default/{made}" in self.ok("describe", "volumepool", "here"))
        self.assertTrue(self.file(made).exists())
        self.assertEqual(self.provider.stop(), 0)
        self.make(f"""
apiVersion: storage.ironcore.dev/v1alpha1
kind: VolumePool
metadata:
  name: here
  annotations: {{storage.ironcore.dev/remove-orphans: "default/{made}, default/{kept}"}}
spec: {{providerID: "local://here"}}
""")
        self.provider = self.start_provider()
        wait_until("it is removed", lambda: self.file(made) is None)
        wait_until("that is told", lambda: "OrphanRemoved" in self.ok("describe", "volumepool", "here"))
        self.assertTrue(self.file(kept).exists(), "what has an object stays")
        self.wait_available("kept")

    def test_prometheus_is_told(self):
        self.assertEqual(self.provider.stop(), 0)
        port = free_port(1)
        self.provider = self.start_provider(more=["--metrics", f"127.0.0.1:{port}"])

        def metrics():
            return metrics_at(port)

        self.make(volume("data"))
        self.make(volume("late", volume_class="late"))
        self.wait_available("data")
        waited = wait_until("both are counted", lambda: (lambda m: m if m.get(
            'ironcore_provider_volumes{pool="here",state="available"}') == 1 and m.get('ironcore_provider_volumes{pool="here",state="pending"}') == 1
            else None)(metrics()))
        wait_until("the reason is told", lambda: metrics().get('ironcore_provider_volumes_not_ready{pool="here",reason="VolumeClassNotReady"}') == 1)
        self.assertEqual(waited['ironcore_provider_volume_pool_is_ours{pool="here"}'], 1)
        self.assertEqual(waited['ironcore_provider_volume_orphans{pool="here"}'], 0)
        self.assertGreater(waited['ironcore_provider_volume_pool_allocatable_bytes{pool="here",resource="storage"}'], 64 << 20)
        wait_until("maintenance is counted", lambda: metrics()['ironcore_provider_volume_maintenances_total{pool="here",result="done"}'] >= 1)
        self.assertEqual(waited['ironcore_provider_volumes_waiting{pool="here"}'], 0)

    def test_it_ends_orderly_and_goes_on_where_it_was(self):
        self.make(volume("data"))
        self.wait_available("data")
        self.assertEqual(self.provider.stop(), 0)
        self.make(volume("data", size="96Mi"))
        self.provider = self.start_provider()
        path = self.file(self.get("volume", "data")["metadata"]["uid"])
        wait_until("it has grown", lambda: path.stat().st_size == 96 << 20)

    def test_it_waits_for_a_server_that_comes_later(self):
        self.assertEqual(self.provider.stop(), 0)
        self.server.stop()
        self.provider = Daemon("ceph-providerd", [program("ceph-providerd"), "--server", self.endpoint, "--volume-pool", "here", "--store",
                                                  f"disk,local={self.volumes}", "--volume-class", "fast=disk", "--directory",
                                                  self.directory / "provider"], self.directory)
        self.addCleanup(self.provider.kill)
        wait_until("it waits", lambda: "waiting" in self.provider.tail())
        self.server = self.start_server()
        self.provider.wait_ready()
        self.make(volume("data"))
        self.wait_available("data")


class Silent(WithServer):
    """A cluster and a gateway that do not answer keep nobody else waiting."""

    def private(self, name, text):
        path = self.write(name, text + "\n")
        path.chmod(0o600)
        return path

    def start_provider(self, *more):
        daemon = Daemon("ceph-providerd", [program("ceph-providerd"), "--server", self.endpoint, "--directory", self.directory / "provider",
                                           "--heartbeat", "200ms", "--lease", "2s", *more], self.directory)
        self.addCleanup(daemon.kill)
        try:
            return daemon.wait_ready()
        except RuntimeError as ended:
            if "built without" in str(ended):
                self.skipTest(str(ended))
            raise

    def ready_of(self, pool):
        """The condition Ready of a pool, once it is there."""
        def look():
            if self.ctl("get", pool, "here").code != 0:
                return None
            return next((one for one in self.get(pool, "here").get("status", {}).get("conditions", []) if one["type"] == "Ready"), None)
        return wait_until(f"{pool} tells", look)

    def test_what_is_there_works_and_what_is_not_is_named(self):
        dead, metrics = free_port(2), free_port(1)
        self.assertEqual(self.apply(CLASSES).code, 0)
        cluster_key = base64.b64encode(struct.pack("<HIIH", 1, 0, 0, 16) + secrets.token_bytes(16)).decode()  # as Ceph writes one
        provider = self.start_provider(
            "--volume-pool", "here", "--store", f"disk,local={self.directory}/volumes", "--volume-class", "fast=disk",
            "--cluster", f"c1,monitors=127.0.0.1:{dead},user=u,key-file={self.private('c1.key', cluster_key)}",
            "--store", "ssd,cluster=c1,pool=p", "--volume-class", "fixed=ssd",
            "--bucket-pool", "here", "--gateway", f"gw,endpoint=http://127.0.0.1:{dead + 1},key-file={self.private('gw.keys', 'ID' + chr(10) + 'verysecret')}",
            "--bucket-class", "standard=gw", "--metrics", f"127.0.0.1:{metrics}")
        ready = self.ready_of("volumepool")
        self.assertEqual(ready["status"], "True")
        self.assertIn("fixed: cluster c1", ready["message"])
        self.assertEqual(self.apply(volume("data")).code, 0)
        made = self.ctl("wait", "volume/data", "--for", "state=Available", "--timeout", "30s")
        self.assertEqual(made.code, 0, f"{made}\n{provider.tail()}")
        self.assertEqual(self.get("volumepool", "here")["status"]["availableVolumeClasses"], [{"name": "fast"}])

        self.assertEqual(self.apply(volume("later", volume_class="fixed")).code, 0)
        told = wait_until("why it waits", lambda: next(
            (one for one in self.get("volume", "later").get("status", {}).get("conditions", []) if one["type"] == "Ready"), None))
        self.assertEqual((told["status"], told["reason"]), ("False", "StoreUnavailable"))
        self.assertIn("cluster c1", told["message"])
        # The cluster is told to be silent when connecting has failed, which takes 10 s.
        wait_until("its address is named", lambda: f"127.0.0.1:{dead}" in self.ready_of("volumepool")["message"])
        self.assertIn("cluster c1", provider.log.read_text())
        buckets = self.ready_of("bucketpool")
        self.assertEqual(buckets["status"], "False")
        self.assertIn(f"127.0.0.1:{dead + 1}", buckets["message"])

        counted = metrics_at(metrics)
        answers = {place: counted[f'ironcore_provider_place_answers{{place="{place}"}}'] for place in ("store disk", "store ssd", "gateway gw")}
        self.assertEqual(answers, {"store disk": 1, "store ssd": 0, "gateway gw": 0})
        self.assertEqual(counted['ironcore_provider_places_silent{kind="unavailable",place="store ssd"}'], 1)
        self.assertEqual(counted['ironcore_provider_places_silent{kind="unavailable",place="gateway gw"}'], 1)
        self.assertNotIn('ironcore_provider_places_silent{kind="unavailable",place="store disk"}', counted)
        self.assertEqual(provider.stop(), 0)  # within 30 s: an attempt to connect takes 10 s
        self.assertNotIn(cluster_key, provider.log.read_text())

    def test_a_gateway_that_takes_connections_and_never_answers_does_not_hold_up_the_end(self):
        with socket.create_server(("127.0.0.1", 0), backlog=64) as gateway:
            keys = self.private("gw.keys", "ID\nverysecret")
            provider = self.start_provider("--bucket-pool", "here", "--gateway", f"gw,endpoint=http://127.0.0.1:{gateway.getsockname()[1]},key-file={keys}",
                                           "--bucket-class", "standard=gw")
            gateway.settimeout(30)
            with gateway.accept()[0] as asking:
                self.assertTrue(asking.recv(1))
                begun = time.monotonic()
                self.assertEqual(provider.stop(), 0)
                self.assertLess(time.monotonic() - begun, 3)
        self.assertNotIn("verysecret", provider.log.read_text())


if __name__ == "__main__":
    cloud.main("ceph-providerd", "ironcored", "ironcorectl")
