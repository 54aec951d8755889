# SPDX-License-Identifier: Apache-2.0
"""What users of volumes and buckets see when something of a real Ceph cluster fails, that nothing is lost, and that it heals."""
import base64
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import time

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
        self.wait_told("bucket/pictures", "UpToDate", "StoreUnavailable", address)
        self.wait_told("bucket/later", "Ready", "StoreUnavailable", address)
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
        wait_until("no more is offered than was promised", lambda: self.room() == "24Mi")
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

    def write_image(self, data):
        """An OCI layout with this disk; what a volume calls it."""
        layout = self.directory / "image"
        (layout / "blobs/sha256").mkdir(parents=True)

        def blob(content, media_type):
            digest = hashlib.sha256(content).hexdigest()
            (layout / "blobs/sha256" / digest).write_bytes(content)
            return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
        config = blob(b"{}", "application/vnd.ironcore.image.config.v1alpha1+json")
        disk = blob(data, "application/vnd.ironcore.image.rootfs")
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [disk]}
        index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), kind)]}
        (layout / "index.json").write_text(json.dumps(index))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return f"oci:{layout}@{index['manifests'][0]['digest']}"

    def trash(self):
        """Ids of images there that nobody watches."""
        ids = [image["id"] for image in json.loads(self.cluster.tool("rbd", "trash", "ls", "--format", "json", f"{POOL}/default"))]
        return [image for image in ids if not self.is_watched(image)]

    def is_watched(self, image):
        try:
            return bool(self.cluster.tool("rados", "-p", POOL, "-N", "default", "listwatchers", f"rbd_header.{image}").strip())
        except RuntimeError:
            return False  # its header is gone

    def moments(self):
        seed = int(os.environ.get("IRONCORE_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"IRONCORE_SEED={seed} repeats it", flush=True)
        return random.Random(seed)

    def test_killed_at_any_moment_it_ends_with_what_was_asked_for_exactly_once(self):
        moments = self.moments()
        disk = os.urandom(2 * MIB) + bytes(4 * MIB) + os.urandom(2 * MIB)
        from_image = f"  dataSource: {{osImage: {{image: '{self.write_image(disk)}'}}}}\n"
        from_snapshot = "  dataSource: {volumeSnapshotRef: {name: taken}}\n"
        data = os.urandom(4 * MIB)
        self.provider.kill()
        self.provider = self.start_provider("--image-root", self.directory)
        self.make("---".join([volume("source", size="4Mi"), *(volume(f"gone{number}", size="4Mi") for number in range(8))]))
        source = self.wait_state("volume/source", "Available")["metadata"]["uid"]
        for number in range(8):
            self.wait_state(f"volume/gone{number}", "Available")
        self.write_data(source, data)
        self.make(snapshot("taken", "source"))
        self.wait_state("volumesnapshot/taken", "Ready")

        # Each step is begun, and the provider ends somewhere in it.
        sizes, snapshots, deleted = {"source": 4}, {"taken"}, list(range(8))

        def make(kind, size, **more):
            sizes[f"{kind}{len(sizes)}"] = size
            self.make(volume(list(sizes)[-1], size=f"{size}Mi", **more))

        def take():
            snapshots.add(f"s{len(snapshots)}")
            self.make(snapshot(f"s{len(snapshots) - 1}", "source"))

        def expand():
            sizes["source"] += 4
            self.make(volume("source", size=f"{sizes['source']}Mi"))

        def delete():
            self.ok("delete", "volume", f"gone{deleted.pop()}", f"gone{deleted.pop()}", "--now")
        steps = [lambda: make("empty", 4), lambda: make("image", 8, more=from_image), take, expand, delete,
                 lambda: make("copy", 4, more=from_snapshot)] * 2
        moments.shuffle(steps)
        for step in steps:
            step()
            time.sleep(moments.uniform(0, 0.4))  # a moment, not a condition
            self.provider.kill()
            self.provider = self.start_provider("--image-root", self.directory)
        while deleted:
            delete()

        uids = {name: self.wait_state(f"volume/{name}", "Available", 90)["metadata"]["uid"] for name in sizes}
        taken = {self.wait_state(f"volumesnapshot/{name}", "Ready", 90)["metadata"]["uid"] for name in snapshots}
        for number in range(8):
            self.wait_gone(f"volume/gone{number}", 90)
        wait_until("it has grown", lambda: self.size(source) == sizes["source"] * MIB, 90)
        self.provider.kill()
        self.provider = self.start_provider("--image-root", self.directory)  # begins with maintenance
        wanted = {f"img_{uid}" for uid in uids.values()} | {f"snap_{uid}" for uid in taken}
        self.assertEqual(self.names_in("ls", f"{POOL}/default"), sorted(wanted))
        self.assertEqual(len(self.names_in("ls", POOL)), 1, "one base image")
        self.assertEqual(self.keys_of("volumes"), {f"default/{uid}" for uid in uids.values()})
        self.assertEqual(self.keys_of("snapshots"), {f"default/{uid}" for uid in taken})
        self.assertEqual(len(self.keys_of("bases")), 1)
        self.assertEqual(self.names_in("snap", "ls", f"{POOL}/default/img_{source}"), [], "nothing is left of taking snapshots")
        for name, uid in uids.items():
            self.assertEqual(self.size(uid), sizes[name] * MIB)
            if name.startswith("image"):
                self.assertEqual(self.read_data(uid), disk)
            elif not name.startswith("empty"):
                self.assertEqual(self.read_data(uid)[:4 * MIB], data, name)
        # Maintenance comes each minute, and what a killed provider had open waits for the second one. Ceph may list a watch of it for longer (docs/ceph-16.2.md).
        wait_until("the trash is empty", lambda: not self.trash(), 200)
        self.assertEqual([event for event in self.events("volumepool/here") if event[0].startswith("Orphan")], [])

    def objects(self):
        """How many all images have, those that are only begun too."""
        return len(self.cluster.tool("rados", "-p", POOL, "--all", "ls").split())

    def read_encrypted(self, uid, key):
        """As a guest reads it. `qemu-img convert` looks for holes where they would be without the header (docs/ceph-16.2.md)."""
        back = self.directory / "plain"
        back.unlink(missing_ok=True)
        subprocess.run(["qemu-img", "dd", "--object", f"secret,id=k,format=base64,file={self.private('key', key)}", "--image-opts", "-O", "raw", "bs=4M",
                        f"if=driver=rbd,pool={POOL},namespace=default,image=img_{uid},conf={self.cluster.env['CEPH_CONF']},"
                        "encrypt.format=luks2,encrypt.key-secret=k", f"of={back}"], check=True, timeout=120, stdout=subprocess.DEVNULL)
        return back.read_bytes()

    def make_killed(self, moments, volumes):
        """Name -> uid. Killed twice while their data is on its way."""
        before = self.objects()
        self.make("---".join(volume(name, size="64Mi", more=more) for name, more in volumes.items()))

        def are_made():
            return all(self.get("volume", name)["status"].get("state") == "Available" for name in volumes)
        for _ in range(2):
            # A base image that is there is a volume at once, and no copy.
            wait_until("they are copied", lambda: self.objects() > before + 4 or are_made(), 60)
            time.sleep(moments.uniform(0, 0.2))  # a moment, not a condition
            self.provider.kill()
            self.assertFalse(are_made(), "killed too late")
            self.provider = self.start_provider("--image-root", self.directory)
        return {name: self.wait_state(f"volume/{name}", "Available", 90)["metadata"]["uid"] for name in volumes}

    def test_killed_while_it_copies_it_begins_again_and_ends_with_what_was_asked_for(self):
        moments = self.moments()
        disk = os.urandom(40 * MIB) + bytes(8 * MIB) + os.urandom(16 * MIB)
        from_image, from_snapshot = f"osImage: {{image: '{self.write_image(disk)}'}}", "volumeSnapshotRef: {name: taken}"
        keys = {name: base64.b64encode(os.urandom(32)).decode() for name in ("own", "other")}
        self.make("---".join(f"\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{encryptionKey: '{key}'}}\n"
                             for name, key in keys.items()))

        def wanted(source, key=None):
            return (f"  encryption: {{secretRef: {{name: {key}}}}}\n" if key else "") + f"  dataSource: {{{source}}}\n"
        self.provider.kill()
        self.provider = self.start_provider("--image-root", self.directory)
        uids = self.make_killed(moments, {"plain": wanted(from_image), "safe": wanted(from_image, "own")})
        self.make(snapshot("taken", "safe"))
        taken = self.wait_state("volumesnapshot/taken", "Ready")["metadata"]["uid"]
        uids |= self.make_killed(moments, {"same": wanted(from_snapshot), "anew": wanted(from_snapshot, "other")})

        self.assertEqual(self.names_in("ls", f"{POOL}/default"), sorted([*(f"img_{uid}" for uid in uids.values()), f"snap_{taken}"]))
        self.assertEqual(len(self.names_in("ls", POOL)), 1, "one base image")
        self.assertEqual(self.keys_of("volumes"), {f"default/{uid}" for uid in uids.values()})
        self.assertEqual(self.keys_of("snapshots"), {f"default/{taken}"})
        self.assertEqual(len(self.keys_of("bases")), 1)
        self.assertTrue(self.read_data(uids["plain"]) == disk, "plain has other data")
        for name, key in (("safe", "own"), ("same", "own"), ("anew", "other")):
            self.assertTrue(self.read_encrypted(uids[name], keys[key]) == disk, f"{name} has other data")
        self.assertEqual([event for event in self.events("volumepool/here") if event[0].startswith("Orphan")], [])


if __name__ == "__main__":
    cloud.main("ceph-providerd", "ironcored", "ironcorectl")
