# SPDX-License-Identifier: Apache-2.0
"""ceph-providerd on a real Ceph cluster and its gateway: volumes, snapshots, keys, buckets, crashes."""
import json
import os
import shutil
import subprocess
import sys

import cloud
from ceph_cloud import BUCKET, MIB, WithProvider
from ceph_providerd_test import snapshot, volume
from cloud import wait_until


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

    def test_a_generated_key_is_wrapped_and_nowhere_else(self):
        self.make(volume("safe", size="16Mi", more="  encryption: {}\n"))
        made = self.wait_state("volume/safe", "Available")
        uid = made["metadata"]["uid"]
        self.assertEqual(self.size(uid), 32 * MIB, "LUKS2 has a header of 16 MiB")
        self.assertTrue(self.secret(f"volumekey-{uid}")["wrappedKey"].startswith("test/1:"))
        self.assertNotIn("encryptionKey", self.secret(made["status"]["access"]["secretRef"]["name"]))
        self.ok("delete", "volume", "safe", seconds=90)
        self.assertNotEqual(self.ctl("get", "secret", f"volumekey-{uid}").code, 0)

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


if __name__ == "__main__":
    if not shutil.which("s3cmd"):
        print("skipped: s3cmd is missing; run ./dev setup")
        sys.exit(cloud.SKIPPED)
    cloud.main("ceph-providerd", "ironcored", "ironcorectl")
