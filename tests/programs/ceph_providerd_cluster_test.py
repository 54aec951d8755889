# SPDX-License-Identifier: Apache-2.0
"""ceph-providerd on a real Ceph cluster and its gateway: volumes, snapshots, keys, buckets, crashes."""
import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys

import cloud
from ceph_cloud import BUCKET, MIB, POOL, WithCluster, WithProvider
from ceph_providerd_test import CLASSES, snapshot, volume
from cloud import wait_until
from over_tcp import OverTcp


class Cluster(WithProvider):
    def test_a_volume_grows_is_snapshotted_and_restored(self):
        self.make(volume("data", size="16Mi"))
        made = self.wait_state("volume/data", "Available")
        uid = made["metadata"]["uid"]
        self.assertEqual(self.size(uid), 16 * MIB)
        self.assertEqual(made["status"]["access"]["driver"], "ceph")
        opened = self.secret(made["status"]["access"]["secretRef"]["name"])
        self.assertNotIn(opened["userKey"], json.dumps(made))
        self.assertNotIn(opened["userKey"], self.provider.log.read_text())

        marker = os.urandom(4096)
        self.write_data(uid, bytes(MIB) + marker + bytes(15 * MIB - 4096))
        self.make(snapshot("before", "data"))
        self.wait_state("volumesnapshot/before", "Ready")
        self.make(volume("data", size="24Mi"))
        wait_until("it has grown", lambda: self.size(uid) == 24 * MIB)

        self.ok("delete", "volume", "data", seconds=90)
        self.assertNotIn(uid, self.images())
        self.make(volume("again", size="16Mi", more="  dataSource: {volumeSnapshotRef: {name: before}}\n"))
        restored = self.wait_state("volume/again", "Available")["metadata"]["uid"]
        self.assertEqual(self.read_data(restored)[MIB:MIB + 4096], marker)
        self.ok("delete", "volumesnapshot", "before", seconds=90)
        self.ok("delete", "volume", "again", seconds=90)

    def test_a_wish_beyond_the_room_harms_nobody_and_can_be_taken_back(self):
        self.make(volume("data", size="16Mi"))
        self.wait_state("volume/data", "Available")

        def up_to_date():
            return next(one for one in self.get("volume", "data")["status"]["conditions"] if one["type"] == "UpToDate")

        self.make(volume("data", size="100Ti"))
        wait_until("it is refused", lambda: up_to_date().get("reason") == "OutOfCapacity")
        self.assertEqual(self.get("volume", "data")["status"]["resources"]["storage"], "16Mi")
        self.make(volume("other", size="16Mi").replace("  volumePoolRef: {name: here}\n", ""))
        self.wait_state("volume/other", "Available")
        self.make(volume("data", size="16Mi"))
        wait_until("all is well", lambda: up_to_date().get("status") == "True")
        self.ok("delete", "volume", "data", "other", seconds=90)

    def test_a_generated_key_is_wrapped_and_nowhere_else(self):
        self.make(volume("safe", size="16Mi", more="  encryption: {}\n"))
        made = self.wait_state("volume/safe", "Available")
        uid = made["metadata"]["uid"]
        self.assertEqual(self.size(uid), 32 * MIB, "LUKS2 has a header of 16 MiB")
        self.assertTrue(self.secret(f"volumekey-{uid}")["wrappedKey"].startswith("test/1:"))
        self.assertNotIn("encryptionKey", self.secret(made["status"]["access"]["secretRef"]["name"]))
        self.ok("delete", "volume", "safe", seconds=90)
        self.assertNotEqual(self.ctl("get", "secret", f"volumekey-{uid}").code, 0)

    def claim_safe(self, uid=None):
        """By the machine `web-1`, of which there is no more than the object; nobody without uid."""
        more = f"  claimRef: {{name: web-1, uid: {uid}}}\n" if uid else ""
        self.make(volume("safe", size="16Mi", more="  encryption: {}\n" + more))
        wait_until("it is handed over", lambda: self.get("volume", "safe")["status"]["use"].get("machine", {}).get("uid") == uid)

    def test_another_key_in_the_secret_of_a_volume_changes_nothing_and_is_put_back(self):
        self.make(volume("safe", size="16Mi", more="  encryption: {}\n"))
        made = self.wait_state("volume/safe", "Available")
        self.assertEqual(made["status"]["access"]["volumeAttributes"]["encryption"], "luks2")
        uid = made["metadata"]["uid"]
        own, kept = f"volume-{uid}", self.secret(f"volumekey-{uid}")
        self.make(cloud.CLASS + "---" + cloud.MACHINE)
        machine = self.get("machine", "web-1")["metadata"]["uid"]
        self.claim_safe(machine)
        key = self.secret(own)["encryptionKey"]
        wrong = base64.b64encode(secrets.token_bytes(32)).decode()

        def spoil():
            self.make(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {own}}}\nstringData: {{encryptionKey: '{wrong}'}}\n")

        def put_back():
            wait_until("the key is put back", lambda: self.secret(own).get("encryptionKey") == key, seconds=60)

        spoil()
        put_back()
        wait_until("it is told", lambda: "EncryptionKeyRestored" in self.ok("describe", "volume", "safe"))
        self.claim_safe()
        self.assertNotIn("encryptionKey", self.secret(own))
        self.assertEqual(self.secret(f"volumekey-{uid}"), kept)
        self.claim_safe(machine)
        self.assertEqual(self.secret(own)["encryptionKey"], key)
        # A provider that has just begun knows no key: it asks the header of the image.
        self.provider.kill()
        spoil()
        self.assertEqual(self.secret(own)["encryptionKey"], wrong)
        self.provider = self.start_provider()
        put_back()
        # Without a wrapped one a wrong key is nobody's, and the right one is enough.
        self.provider.kill()
        self.ok("delete", "secret", f"volumekey-{uid}")
        spoil()
        self.provider = self.start_provider()
        self.claim_safe()
        wait_until("it is lost", lambda: "EncryptionKeyLost" in self.ok("describe", "volume", "safe"))
        self.assertNotEqual(self.ctl("get", "secret", f"volumekey-{uid}").code, 0)
        wrong, key = key, wrong
        spoil()
        wait_until("the right one is kept", lambda: self.ctl("get", "secret", f"volumekey-{uid}").code == 0, seconds=120)
        wait_until("it is kept nowhere else", lambda: "encryptionKey" not in self.secret(own))
        for one in (key, wrong):
            self.assertNotIn(one, self.provider.log.read_text())
        self.ok("delete", "machine", "web-1")
        self.ok("delete", "volume", "safe", seconds=90)

    def s3(self, access, *arguments):
        host = self.cluster.env["S3_ENDPOINT"].removeprefix("http://")
        config = self.private("s3cfg", f"[default]\nuse_https = False\nhost_base = {host}\nhost_bucket = {host}\n"
                              f"access_key = {access['AWS_ACCESS_KEY_ID']}\nsecret_key = {access['AWS_SECRET_ACCESS_KEY']}")
        return subprocess.run(["s3cmd", "-c", config, *map(str, arguments)], text=True, capture_output=True, timeout=60)

    def test_a_bucket_takes_an_object_and_is_kept_while_it_has_content(self):
        self.make(BUCKET)
        made = self.wait_state("bucket/pictures", "Available")
        access = self.secret(made["status"]["access"]["secretRef"]["name"])
        place = f"s3://{access['BUCKET_NAME']}/one"
        sent = self.directory / "sent"
        sent.write_bytes(os.urandom(100_000))
        put = self.s3(access, "put", sent, place)
        self.assertEqual(put.returncode, 0, put.stderr)
        got = self.s3(access, "get", place, self.directory / "got")
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertEqual((self.directory / "got").read_bytes(), sent.read_bytes())
        self.assertNotIn(access["AWS_SECRET_ACCESS_KEY"], json.dumps(made) + self.provider.log.read_text())

        self.ok("delete", "bucket", "pictures", "--now")
        wait_until("it says why it stays", lambda: "HasContent" in self.ok("describe", "bucket", "pictures"))
        self.assertEqual(self.s3(access, "rm", place).returncode, 0)
        wait_until("it goes", lambda: self.ctl("get", "bucket", "pictures").code != 0, seconds=60)

    def test_killed_while_it_works_it_leaves_nothing_twice_and_nothing_behind(self):
        names = [f"v{number}" for number in range(12)]
        self.make("---".join(volume(name, size="4Mi") for name in names))
        wait_until("it has begun", lambda: len(self.images()) > 2)
        self.provider.kill()
        self.provider = self.start_provider()
        uids = {self.wait_state(f"volume/{name}", "Available")["metadata"]["uid"] for name in names}
        self.assertEqual(self.images(), uids)
        self.ok("delete", "volume", *names, "--now")
        wait_until("it has begun to delete", lambda: len(self.images()) < len(names))
        self.provider.kill()
        self.provider = self.start_provider()
        wait_until("all are gone", lambda: not self.images() and not self.ok("get", "volumes", "-o", "name").strip(), seconds=90)

    def test_a_start_says_of_no_volume_that_its_store_is_away(self):
        names = [f"v{number}" for number in range(4)]
        self.make("---".join(volume(name, size="4Mi") for name in names))
        for name in names:
            self.wait_state(f"volume/{name}", "Available")
        for _ in range(3):
            self.provider.kill()
            # One that is new tells that the provider has come to them.
            self.make(volume("newer", size="4Mi"))
            self.provider = self.start_provider()
            self.wait_state("volume/newer", "Available")
            self.ok("delete", "volume", "newer", seconds=90)
        told = [(event["involvedObject"]["name"], event["message"]) for event in self.get("events")["items"]
                if event["reason"] == "StoreUnavailable"]
        self.assertEqual(told, [])
        for name in names:
            up_to_date = next(one for one in self.get("volume", name)["status"]["conditions"] if one["type"] == "UpToDate")
            self.assertEqual(up_to_date["status"], "True")
        self.ok("delete", "volume", *names, seconds=90)

    def test_while_the_monitor_is_down_a_volume_waits_and_the_pool_offers_nothing(self):
        def offers():
            return self.get("volumepool", "here")["status"].get("availableVolumeClasses", [])

        self.make(volume("before", size="16Mi"))
        self.wait_state("volume/before", "Available")
        self.assertNotEqual(offers(), [])
        self.cluster.do("stop", "mon")
        try:
            wait_until("the pool offers no class", lambda: not offers(), seconds=60)
            self.make(volume("meanwhile", size="16Mi"))
            wait_until("the volume says why it waits",
                       lambda: "StoreUnavailable" in self.ok("describe", "volume", "meanwhile"), seconds=60)
            self.assertIn("the cluster does not answer: look at `ceph -s`", self.ok("describe", "volume", "meanwhile"))
        finally:
            self.cluster.do("start", "mon")
        self.wait_state("volume/meanwhile", "Available", seconds=90)
        self.assertIsNone(self.provider.process.poll(), self.provider.tail())
        wait_until("the pool offers its classes", offers, seconds=60)
        self.ok("delete", "volume", "before", "meanwhile", seconds=90)

    def ready_of(self, pool, name="here"):
        return next(one for one in self.get(pool, name)["status"]["conditions"] if one["type"] == "Ready")

    def wait_pool(self, pool, status, *texts, name="here"):
        """The condition Ready of a pool has this status, and says this."""
        def look():
            ready = self.ready_of(pool, name)
            return ready["status"] == status and all(text in ready["message"] for text in texts)
        try:
            wait_until(f"{pool} is {status}", look, seconds=60)
        except TimeoutError as late:
            self.fail(f"{late}: {self.ready_of(pool, name)}\n{self.provider.tail()}")

    def test_a_cluster_that_answers_later_is_taken_up(self):
        self.assertEqual(self.provider.stop(), 0)
        self.addCleanup(lambda: "mon" in self.cluster.processes() or self.cluster.do("start", "mon"))
        self.cluster.do("stop", "mon")
        disk = self.directory / "volumes"
        self.provider = self.start_provider("--store", f"disk,local={disk}", "--volume-class", "here=disk")
        self.make("""
apiVersion: storage.ironcore.dev/v1alpha1
kind: VolumeClass
metadata: {name: here}
capabilities: {tps: 200Mi, iops: 15k}
""")
        self.wait_pool("volumepool", "True", "fast, fixed: cluster c1")
        self.make(volume("beside", size="4Mi", volume_class="here"))
        self.wait_state("volume/beside", "Available")
        self.make(volume("late", size="4Mi"))
        self.cluster.do("start", "mon")
        uid = self.wait_state("volume/late", "Available", seconds=120)["metadata"]["uid"]
        self.assertIn(uid, self.images())
        self.wait_pool("volumepool", "True", "reaches its stores")
        self.ok("delete", "volume", "late", "beside", seconds=90)

    def test_one_cluster_under_two_names_is_one(self):
        self.assertEqual(self.provider.stop(), 0)
        self.provider = self.start_provider(
            "--cluster", f"c2,monitors={self.cluster.env['CEPH_MONITOR']},user=provider,key-file={self.cluster_key}",
            "--store", f"two,cluster=c2,pool={POOL}", "--volume-class", "twice=two")
        one, other = "store ssd of cluster c1", "store two of cluster c2"
        # The one that came first works, the other is not offered.
        self.wait_pool("volumepool", "True", one, other, "which is the same cluster", self.ceph("fsid").strip())
        refused = self.ready_of("volumepool")["message"]
        offered = {one["name"] for one in self.get("volumepool", "here")["status"].get("availableVolumeClasses", [])}
        self.assertEqual(offered, {"fast", "fixed"} if "twice: store two: " in refused else set())  # there is no object `twice`

    def test_new_keys_are_taken_while_it_works(self):
        def rekey():
            keyring = self.ceph("auth", "get", "client.provider")
            key = self.cluster.tool("ceph-authtool", "--gen-print-key").strip()
            self.ceph("auth", "import", "-i", self.private("keyring", keyring.replace(type(self).key, key)))
            type(self).key = key
        connected = "cluster connected"
        rekey()
        self.private("cluster.key", "no key at all")
        os.kill(self.provider.pid, signal.SIGHUP)
        wait_until("a wrong key is told", lambda: 'what="cluster c1"' in self.provider.log.read_text())
        self.make(volume("meanwhile", size="4Mi"))
        self.wait_state("volume/meanwhile", "Available")
        self.assertEqual(self.provider.log.read_text().count(connected), 1)
        self.private("cluster.key", self.key)  # what failed is tried again, so no other signal is needed
        wait_until("it is connected anew", lambda: self.provider.log.read_text().count(connected) == 2)
        self.make(volume("after", size="4Mi"))
        self.wait_state("volume/after", "Available")
        self.ok("delete", "volume", "meanwhile", "after", seconds=90)

        self.assertEqual(self.provider.stop(), 0)
        good = self.gateway_keys.read_text()
        self.private("gateway.keys", "NOBODY\nnothing")
        self.private("cluster.key", self.cluster.tool("ceph-authtool", "--gen-print-key").strip())
        self.provider = self.start_provider()
        self.wait_pool("bucketpool", "False", "403")
        self.wait_pool("volumepool", "False", "cluster c1", "not allowed")
        self.private("gateway.keys", good)
        self.private("cluster.key", self.key)
        os.kill(self.provider.pid, signal.SIGHUP)
        self.wait_pool("bucketpool", "True")
        self.wait_pool("volumepool", "True")
        self.assertNotIn(self.key, self.provider.log.read_text())

    def test_a_ceph_pool_of_another_volume_pool_is_refused(self):
        self.assertEqual(self.apply(volume("data", size="16Mi")).code, 0)
        self.ok("wait", "volume/data", "--for", "state=Available", "--timeout", "60s")
        uid = self.get("volumepool", "here")["metadata"]["uid"]
        second = self.begin_provider(name="second", directory="second", pool="there").wait_ready(60)
        wait_until("the pool tells", lambda: self.ctl("get", "volumepool", "there").code == 0 and self.get("volumepool", "there").get("status"))
        self.wait_pool("volumepool", "False", f"belongs to volume pool here (uid {uid})", name="there")
        self.assertNotIn("availableVolumeClasses", self.get("volumepool", "there")["status"])
        self.assertNotIn("OrphanedVolume", self.ok("describe", "volumepool", "there"))
        self.assertEqual(second.stop(), 0)
        # The mark is gone, as if the pool had been made anew in the cluster: nothing is marked again.
        self.remove_mark()
        self.wait_pool("volumepool", "False", "is not where it was")
        self.assertEqual(self.get("volume", "data")["status"]["state"], "Available")
        self.assertNotIn("owner", self.cluster.tool("rados", "-p", POOL, "-N", ".ironcore", "ls").split())
        self.ok("apply", "-f", "-", stdin=f"""
apiVersion: storage.ironcore.dev/v1alpha1
kind: VolumePool
metadata:
  name: here
  annotations: {{storage.ironcore.dev/stores: ""}}
spec: {{providerID: "ceph://here"}}
""")
        self.wait_pool("volumepool", "True")
        self.ok("delete", "volume", "data")


class Role(WithCluster, OverTcp):
    """Over TCP, with the rights of examples/identities.json: what files of a host do not need (storage_provider_tcp_test.py)."""

    def setUp(self):
        super().setUp()
        self.write_keys()
        self.start_provider("ceph-providerd", "storage-1", "--volume-pool", "rack-1", "--bucket-pool", "rack-1", *self.places())
        for pool in ("volumepool", "bucketpool"):
            wait_until(f"the {pool} is there", lambda pool=pool: self.ctl("get", pool, "rack-1").code == 0)

    def make(self, *manifests):
        self.ok("apply", "-f", "-", stdin="---".join(manifests).replace("name: here", "name: rack-1"))

    def test_secrets_of_volumes_snapshots_and_buckets_are_made_and_go(self):
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.make(CLASSES, BUCKET, f"\napiVersion: v1\nkind: Secret\nmetadata: {{name: my-key}}\nstringData: {{encryptionKey: '{key}'}}\n",
                  volume("plain", size="16Mi"), volume("safe", size="16Mi", more="  encryption: {}\n"),
                  volume("own", size="16Mi", more="  encryption: {secretRef: {name: my-key}}\n"))
        for what in ("volume/plain", "volume/safe", "volume/own", "bucket/pictures"):
            self.ok("wait", what, "--for", "state=Available", "--timeout", "60s")
        self.make(snapshot("before", "safe"))
        wait_until("the snapshot", lambda: "Ready" in self.ok("get", "volumesnapshot", "before"), seconds=60)
        made = set(self.ok("get", "secrets", "-o", "name").split()) - {"secret/my-key"}
        kinds = sorted(name.removeprefix("secret/").split("-")[0] for name in made)
        self.assertEqual(kinds, ["bucket", "volume", "volume", "volume", "volumekey", "volumekey", "volumekey"])
        self.assert_nothing_was_refused()
        self.ok("delete", "volumesnapshot", "before")
        self.ok("delete", "volume", "plain", "safe", "own")
        self.ok("delete", "bucket", "pictures")
        self.assertEqual(self.ok("get", "secrets", "-o", "name").split(), ["secret/my-key"])


if __name__ == "__main__":
    if not shutil.which("s3cmd"):
        print("skipped: s3cmd is missing; run ./dev setup")
        sys.exit(cloud.SKIPPED)
    cloud.main("ceph-providerd", "ironcored", "ironcorectl")
