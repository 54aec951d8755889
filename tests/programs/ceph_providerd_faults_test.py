# SPDX-License-Identifier: Apache-2.0
"""What users of volumes and buckets see when something of a real Ceph cluster fails, that nothing is lost, and that it heals."""
import contextlib
import json
import os
import signal
import subprocess

import cloud
from ceph_cloud import BUCKET, MIB, POOL, WithFreshPool
from ceph_providerd_test import snapshot, volume
from cloud import wait_until

# Has an image open, as a guest has, until its input ends.
OPENER = """
import sys
import rados
import rbd
with rados.Rados(conffile=sys.argv[1], name="client.admin") as cluster, cluster.open_ioctx(sys.argv[2]) as pool:
    pool.set_namespace("default")
    with rbd.Image(pool, sys.argv[3]) as image:
        print("client." + str(cluster.get_instance_id()), flush=True)
        sys.stdin.read()
"""


class Faults(WithFreshPool):
    def begin_opener(self, uid):
        # Debian's python has Ceph's modules.
        return subprocess.Popen(["/usr/bin/python3", "-c", OPENER, self.cluster.env["CEPH_CONF"], POOL, f"img_{uid}"], text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.cluster.tool_environment())

    @contextlib.contextmanager
    def opened(self, uid):
        """Somebody else has the volume open; the name of that client."""
        process = self.begin_opener(uid)
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(60)
            process.stdout.close()

    def test_a_deleted_volume_that_somebody_has_open_names_who_it_is_and_goes_after_that(self):
        self.make(volume("open", size="8Mi"))
        uid = self.wait_state("volume/open", "Available")["metadata"]["uid"]
        with self.opened(uid) as client:
            self.ok("delete", "volume", "open", "--now")
            self.wait_told("volume/open", "Removable", "InUse", client + " at 127.0.0.1:0/")
            self.assertIn(uid, self.images())
        self.wait_gone("volume/open")
        self.assertNotIn(uid, self.images())

    def test_a_client_that_stands_still_and_was_fenced_keeps_no_volume(self):
        self.make(volume("open", size="8Mi"))
        uid = self.wait_state("volume/open", "Available")["metadata"]["uid"]
        with self.begin_opener(uid) as process:
            try:
                client = process.stdout.readline().strip()
                process.send_signal(signal.SIGSTOP)  # it can say nothing any more, not even goodbye
                self.ok("delete", "volume", "open", "--now")
                self.wait_told("volume/open", "Removable", "InUse", client + " at 127.0.0.1:0/")
                watchers = json.loads(self.cluster.tool("rbd", "status", "--format", "json", f"{POOL}/default/img_{uid}"))["watchers"]
                for address in {watcher["address"] for watcher in watchers}:
                    self.ceph("osd", "blocklist", "add", address)
                    self.addCleanup(self.ceph, "osd", "blocklist", "rm", address)
                self.wait_gone("volume/open")
                self.assertNotIn(uid, self.images())
                self.assertIsNone(process.poll())
            finally:
                process.kill()

    def test_a_gateway_that_is_down_holds_up_buckets_until_it_is_back(self):
        self.make(BUCKET)
        before = self.wait_state("bucket/pictures", "Available")
        self.addCleanup(lambda: "rgw" in self.cluster.processes() or self.cluster.do("start", "rgw"))
        self.cluster.do("kill", "rgw")
        self.make(BUCKET.replace("bucketPoolRef: {name: here}", "bucketPoolRef: {name: here}\n  settings: {versioned: true}"))
        self.make(BUCKET.replace("name: pictures", "name: later"))
        address = self.cluster.env["S3_ENDPOINT"].removeprefix("http://")
        self.wait_told("bucket/pictures", "UpToDate", "StoreUnreachable", address)
        self.wait_told("bucket/later", "Ready", "StoreUnreachable", address)
        self.assertEqual(self.condition("bucket/pictures", "Ready")["status"], "True", "what is there keeps its state")
        wait_until("the pool offers no class", lambda: not self.get("bucketpool", "here")["status"].get("availableBucketClasses"))
        self.assertIn(address, self.condition("bucketpool/here", "Ready")["message"])
        self.cluster.do("start", "rgw")
        after = self.wait_state("bucket/later", "Available")
        self.wait_well("bucket/pictures", "UpToDate")
        wait_until("the class is back", lambda: self.get("bucketpool", "here")["status"].get("availableBucketClasses"))
        self.assertEqual(self.get("bucket", "pictures")["status"]["access"], before["status"]["access"])
        users = self.cluster.tool("radosgw-admin", "user", "list")
        for bucket in (before, after):
            self.assertEqual(users.count(bucket["metadata"]["uid"]), 1)
        self.ok("delete", "bucket", "pictures", "later", seconds=90)

    def room(self):
        """What the scheduler is offered for more volumes: less than before is promised already."""
        return self.get("volumepool", "here")["status"]["allocatable"]["class/volume.fast"]

    def snapshot_says(self, name, reason, *texts):
        wait_until(f"{name} says {reason}", lambda: any(
            one == reason and all(text in message for text in texts) for one, message in self.events(f"volumesnapshot/{name}")), pause=0.1)

    def test_a_full_cluster_refuses_what_takes_room_and_goes_on_when_there_is_some(self):
        self.make(volume("first", size="8Mi") + "---" + volume("second", size="8Mi"))
        uid = self.wait_state("volume/first", "Available")["metadata"]["uid"]
        self.wait_state("volume/second", "Available")
        data = os.urandom(8 * MIB)
        self.write_data(uid, data)
        self.addCleanup(self.cluster.do, "fill", "none")
        self.cluster.do("fill", "nearfull")
        self.wait_told("volumepool/here", "HasRoom", "NearlyFull", "the store is nearly full", "add storage or delete volumes")
        self.make(volume("near", size="8Mi"))
        self.wait_state("volume/near", "Available")

        self.cluster.do("fill", "full")
        self.wait_told("volumepool/here", "HasRoom", "Full", "the store is full", "add storage or delete volumes")
        wait_until("no more is offered than was promised", lambda: self.room() in ("0", *(f"{room}Mi" for room in range(1, 25))))
        self.make(volume("first", size="16Mi") + "---" + volume("late", size="8Mi") + "---" + snapshot("kept", "first"))
        self.wait_told("volume/late", "Ready", "OutOfCapacity", "the pool is full or over its quota", "add room, or remove something")
        self.wait_told("volume/first", "UpToDate", "OutOfCapacity", "cannot grow to 16Mi now")
        self.snapshot_says("kept", "CreateImageSnapshotFailed", "the pool is full or over its quota")
        self.assertEqual(self.condition("volume/first", "Ready")["status"], "True", "what is there keeps its state")
        self.ok("delete", "volume", "second", seconds=90)

        self.cluster.do("fill", "none")
        self.wait_state("volume/late", "Available")
        self.wait_well("volume/first", "UpToDate")
        self.wait_state("volumesnapshot/kept", "Ready")
        self.wait_well("volumepool/here", "HasRoom")
        self.assertEqual(self.size(uid), 16 * MIB)
        self.assertEqual(self.read_data(uid)[:8 * MIB], data)

    def test_a_pool_over_its_quota_has_room_again_when_volumes_are_deleted(self):
        self.make(volume("large", size="16Mi") + "---" + volume("small", size="4Mi"))
        uid = self.wait_state("volume/large", "Available")["metadata"]["uid"]
        self.wait_state("volume/small", "Available")
        self.write_data(uid, os.urandom(16 * MIB))
        self.addCleanup(self.ceph, "osd", "pool", "set-quota", POOL, "max_bytes", "0")
        self.ceph("osd", "pool", "set-quota", POOL, "max_bytes", 12 * MIB)
        self.wait_told("volumepool/here", "HasRoom", "Full", "the store is full")
        self.make(volume("late", size="4Mi"))
        self.wait_told("volume/late", "Ready", "OutOfCapacity", "the pool is full or over its quota")
        self.ok("delete", "volume", "large", seconds=90)
        # Room comes back with the next maintenance; a provider begins with one.
        self.provider.kill()
        self.provider = self.start_provider()
        self.wait_state("volume/late", "Available")
        self.wait_well("volumepool/here", "HasRoom")

    def test_what_an_osd_has_waits_until_it_is_back(self):
        self.make("---".join(volume(name, size="8Mi") for name in ("there", "gone")))
        uid = self.wait_state("volume/there", "Available")["metadata"]["uid"]
        self.wait_state("volume/gone", "Available")
        data = os.urandom(8 * MIB)
        self.write_data(uid, data)
        self.addCleanup(lambda: "osd.0" in self.cluster.processes() or self.cluster.do("start", "osd.0"))
        self.cluster.do("kill", "osd.0")
        self.make(volume("there", size="16Mi") + "---" + volume("late", size="8Mi"))
        self.ok("delete", "volume", "gone", "--now")
        silent = "the cluster does not answer: look at `ceph -s`"
        self.wait_told("volume/late", "Ready", "StoreUnavailable", silent, seconds=90)
        self.wait_told("volume/there", "UpToDate", "StoreUnavailable", silent, seconds=90)
        self.wait_told("volume/gone", "Removable", "StoreUnavailable", silent, seconds=90)
        self.assertEqual(self.condition("volume/there", "Ready")["status"], "True", "what is there keeps its state")
        self.cluster.do("start", "osd.0")
        late = self.wait_state("volume/late", "Available", 90)["metadata"]["uid"]
        self.wait_well("volume/there", "UpToDate", 90)
        self.wait_gone("volume/gone", 90)
        self.assertEqual(self.images(), {uid, late})
        self.assertEqual(self.size(uid), 16 * MIB)
        self.assertEqual(self.read_data(uid)[:8 * MIB], data)

    def test_keys_that_were_revoked_are_told_and_used_again_when_they_are_back(self):
        self.make(volume("data", size="8Mi"))
        made = self.wait_state("volume/data", "Available")
        name = made["status"]["access"]["secretRef"]["name"]
        before = self.secret(name)
        keyring = self.private("keyring", self.ceph("auth", "get", "client.provider"))
        self.ceph("auth", "rm", f"client.{before['userID']}")
        self.ceph("auth", "rm", "client.provider")
        self.provider.kill()
        self.provider = self.begin_provider()
        wait_until("it says that it may not", lambda: "client.provider: not allowed: look at the capabilities of the user" in self.provider.log.read_text())
        self.ceph("auth", "import", "-i", keyring)
        if self.provider.process.poll() is not None:  # whoever started it does so again
            self.provider = self.begin_provider()
        self.provider.wait_ready(60)
        wait_until("the tenant has a key that opens", lambda: self.secret(name) != before, pause=0.1)
        after = self.secret(name)
        self.assertEqual(self.ceph("auth", "get-key", f"client.{after['userID']}"), after["userKey"])
        image = f"{POOL}/default/img_{made['metadata']['uid']}"
        self.cluster.tool("rbd", "info", image, "--id", after["userID"], "--keyring",
                          self.private("tenant", f"[client.{after['userID']}]\nkey = {after['userKey']}"))

    def provider_of(self, name, **options):
        daemon = self.begin_provider(name=name, directory=name, **options)
        return daemon.wait_ready(60)

    def test_of_two_providers_of_one_pool_one_works(self):
        same = self.begin_provider(name="same")
        wait_until("the second one in the same directory ends", lambda: same.process.poll() is not None)
        self.assertIn(str(self.directory / "provider"), same.tail())
        second = self.provider_of("second")
        wait_until("it says why it waits", lambda: "does not serve its volume pool" in second.log.read_text() and
                   "volumepool/here" in second.log.read_text())
        names = [f"v{number}" for number in range(6)]
        self.make("---".join(volume(name, size="4Mi") for name in names))
        uids = {self.wait_state(f"volume/{name}", "Available")["metadata"]["uid"] for name in names}
        self.provider.kill()
        self.ok("delete", "volume", *names[:3], "--now")
        self.make(volume("more", size="4Mi"))
        self.provider = second  # takes over when the lease of the first is over
        more = self.wait_state("volume/more", "Available")["metadata"]["uid"]
        for name in names[:3]:
            self.wait_gone(f"volume/{name}")
        kept = {self.get("volume", name)["metadata"]["uid"] for name in names[3:]}
        self.assertEqual(self.images(), kept | {more})


if __name__ == "__main__":
    cloud.main("ceph-providerd", "ironcored", "ironcorectl")
