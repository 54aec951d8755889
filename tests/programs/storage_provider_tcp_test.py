# SPDX-License-Identifier: Apache-2.0
"""A provider of volumes and buckets as docs/several-hosts.md says it: over TCP, with a key and no more rights than it needs. What needs Secrets is tested on Ceph
(ceph_providerd_cluster_test.py)."""
import base64
import fcntl
import json
import secrets

import cloud
from ceph_providerd_test import CLASSES, snapshot, volume
from cloud import wait_until
from over_tcp import OverTcp

QEMU_LOCK = 100  # the byte that says: somebody reads this


def machine(name):
    return f"""
apiVersion: compute.ironcore.dev/v1alpha1
kind: Machine
metadata: {{name: {name}}}
spec: {{machineClassRef: {{name: small}}, machinePoolRef: {{name: host-1}}}}
"""


class Storage(OverTcp):
    def setUp(self):
        super().setUp()
        wrapping = self.directory / "wrapping.keys"
        wrapping.write_text(f"id test\n1 {base64.b64encode(secrets.token_bytes(32)).decode()}\n")
        wrapping.chmod(0o600)
        self.volumes = self.directory / "volumes"
        self.start_provider("ceph-providerd", "storage-1", "--volume-pool", "rack-1", "--store", f"disk,local={self.volumes}",
                            "--volume-class", "fast=disk", "--volume-class", "fixed=disk", "--encryption-key-file", wrapping)
        wait_until("the pool is there", lambda: self.ctl("get", "volumepool", "rack-1").code == 0)
        self.make(cloud.CLASS, CLASSES)

    def make(self, *manifests):
        self.ok("apply", "-f", "-", stdin="---".join(manifests).replace("name: here", "name: rack-1"))

    def get(self, *words):
        return json.loads(self.ok("get", *words, "-o", "json"))

    def condition(self, name, kind):
        conditions = self.get("volume", name).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def wait_available(self, name):
        self.ok("wait", f"volume/{name}", "--for", "state=Available", "--timeout", "30s")

    def claim(self, name, by):
        """As a provider of machines does it."""
        self.make(machine(by))
        uid = self.get("machine", by)["metadata"]["uid"]
        self.make(volume(name, more=f"  claimRef: {{name: {by}, uid: {uid}}}\n"))

    def wait_holder(self, name, holder):
        wait_until(f"{holder} has {name}", lambda: self.get("volume", name)["status"].get("use", {}).get("machine", {}).get("name") == holder)

    def test_a_provider_needs_no_more_rights_than_the_example_gives(self):
        self.make(volume("data"))
        self.wait_available("data")
        self.make(snapshot("before", "data"))
        wait_until("the snapshot", lambda: self.get("volumesnapshot", "before").get("status", {}).get("state") == "Ready")
        self.make(volume("again", more="  dataSource: {volumeSnapshotRef: {name: before}}\n"))
        self.wait_available("again")
        self.make(volume("data", size="96Mi"))
        wait_until("it has grown", lambda: self.get("volume", "data")["status"].get("resources", {}).get("storage") == "96Mi")
        wait_until("an event", lambda: self.ok("events", "volume/data").strip())

        # A snapshot of a volume in another pool is none of its business, but it has to see that.
        self.make(volume("far").replace("{name: here}", "{name: there}"), snapshot("far", "far"))

        # From one machine to the next, whose host is dead as far as anybody can see: files cannot be fenced.
        self.claim("again", "web-1")
        self.wait_holder("again", "web-1")
        [file] = [path for path in self.volumes.rglob(f"{self.get('volume', 'again')['metadata']['uid']}.*") if path.suffix in (".raw", ".qcow2")]
        with open(file, "rb") as opened:
            fcntl.lockf(opened, fcntl.LOCK_SH, 1, QEMU_LOCK)
            self.claim("again", "web-2")
            told = wait_until("it says what is in the way", lambda: self.condition("again", "Attachable").get("message"))
            self.assertNotIn("may not", told)
            self.assertEqual(self.condition("again", "Attachable")["reason"], "FencingFailed")
        self.wait_holder("again", "web-2")

        self.assert_nothing_was_refused()
        self.ok("delete", "machine", "web-1", "web-2", "--now")
        self.ok("delete", "volumesnapshot", "before")
        self.ok("delete", "volume", "data", "again")

    def test_a_pool_of_buckets_is_announced(self):
        keys = self.directory / "gateway.keys"
        keys.write_text("ID\nverysecret\n")
        keys.chmod(0o600)
        self.assertEqual(self.provider.stop(), 0)
        self.start_provider("ceph-providerd", "storage-1", "--bucket-pool", "rack-1", "--gateway",
                            f"gw,endpoint=http://127.0.0.1:1,key-file={keys}", "--bucket-class", "standard=gw")
        wait_until("the pool is there", lambda: self.ctl("get", "bucketpool", "rack-1").code == 0)
        wait_until("it says what is missing", lambda: "127.0.0.1:1" in self.ok("describe", "bucketpool", "rack-1"))
        self.make("""
apiVersion: storage.ironcore.dev/v1alpha1
kind: BucketClass
metadata: {name: standard}
capabilities: {tps: 50Mi, iops: 1k}
---
apiVersion: storage.ironcore.dev/v1alpha1
kind: Bucket
metadata: {name: pictures}
spec: {bucketClassRef: {name: standard}, bucketPoolRef: {name: here}}
""")
        wait_until("the bucket is told why it waits", lambda: "127.0.0.1:1" in self.ok("describe", "bucket", "pictures"), seconds=60)
        self.assert_nothing_was_refused()

    def test_what_is_not_in_its_role_it_may_not(self):
        self.make(volume("data"), volume("far").replace("{name: here}", "{name: there}"), cloud.CLASS, machine("web-1"))
        self.wait_available("data")

        def refused(*arguments, stdin=""):
            result = self.ctl(*arguments, stdin=stdin, key="storage-1")
            self.assertNotEqual(result.code, 0, result)
            self.assertIn("storage-1 may not", result.err)
        refused("delete", "volume", "data", "--now")
        refused("delete", "volumeclass", "fast", "--now")
        refused("delete", "machine", "web-1", "--now")
        refused("get", "namespaces")
        refused("get", "networkinterfaces")
        refused("apply", "-f", "-", stdin=volume("far", size="96Mi").replace("{name: here}", "{name: there}"))
        refused("apply", "-f", "-", stdin=volume("new"))
        refused("apply", "-f", "-", stdin="apiVersion: v1\nkind: Secret\nmetadata: {name: users-own}\nstringData: {a: b}\n")
        refused("apply", "-f", "-", stdin=machine("web-2"))


if __name__ == "__main__":
    cloud.main("ceph-providerd", "ironcored", "ironcorectl")
