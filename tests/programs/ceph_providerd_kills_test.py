# SPDX-License-Identifier: Apache-2.0
"""A provider on a real Ceph cluster that is killed in whatever it does: what was asked for is there exactly once when it is back, with the right data."""
import base64
import hashlib
import json
import os
import random
import subprocess
import time

import cloud
from ceph_cloud import MIB, POOL, WithFreshPool
from ceph_providerd_test import snapshot, volume
from cloud import wait_until


class Kills(WithFreshPool):
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

    def encrypted_image(self, uid, key):
        """For QEMU's tools: options for the key, and what opens it."""
        return ["--object", f"secret,id=k,format=base64,file={self.private('key', key)}",
                f"driver=rbd,pool={POOL},namespace=default,image=img_{uid},conf={self.cluster.env['CEPH_CONF']},encrypt.format=luks2,encrypt.key-secret=k"]

    def read_encrypted(self, uid, key):
        """As a guest reads it. `qemu-img convert` looks for holes where they would be without the header (docs/ceph-16.2.md)."""
        back = self.directory / "plain"
        back.unlink(missing_ok=True)
        *secret, image = self.encrypted_image(uid, key)
        subprocess.run(["qemu-img", "dd", *secret, "--image-opts", "-O", "raw", "bs=4M", f"if={image}", f"of={back}"],
                       check=True, timeout=120, stdout=subprocess.DEVNULL)
        return back.read_bytes()

    def write_encrypted(self, uid, key, data):
        """As a guest would."""
        raw = self.directory / "raw"
        raw.write_bytes(data)
        *secret, image = self.encrypted_image(uid, key)
        subprocess.run(["qemu-img", "convert", *secret, "-n", "-f", "raw", "--target-image-opts", raw, image], check=True, timeout=120)

    def test_killed_while_it_copies_it_begins_again_and_ends_with_what_was_asked_for(self):
        moments = self.moments()
        disk = os.urandom(40 * MIB) + bytes(8 * MIB) + os.urandom(16 * MIB)
        from_image, from_snapshot = f"osImage: {{image: '{self.write_image(disk)}'}}", "volumeSnapshotRef: {name: taken}"
        keys = {name: base64.b64encode(os.urandom(32)).decode() for name in ("own", "other")}
        self.make("---".join(f"\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{encryptionKey: '{key}'}}\n"
                             for name, key in keys.items()))

        def copied(name, source, key=None):
            encryption = f"  encryption: {{secretRef: {{name: {key}}}}}\n" if key else ""
            return volume(name, size="64Mi", more=encryption + (f"  dataSource: {{{source}}}\n" if source else ""))
        self.provider.kill()
        self.provider = self.start_provider("--image-root", self.directory)
        self.make(copied("source", None, "own"))
        uids = {"source": self.wait_state("volume/source", "Available")["metadata"]["uid"]}
        self.write_encrypted(uids["source"], keys["own"], disk)
        self.make(snapshot("taken", "source"))
        taken = self.wait_state("volumesnapshot/taken", "Ready")["metadata"]["uid"]

        # By import and clone, by import and through the encryption, as it lies there, and from one key to another.
        names, before = ("plain", "safe", "same", "anew"), self.objects()
        self.make("---".join([copied("plain", from_image), copied("safe", from_image, "own"), copied("same", from_snapshot),
                              copied("anew", from_snapshot, "other")]))

        def are_made():
            return all(self.get("volume", name)["status"].get("state") == "Available" for name in names)
        for _ in range(3):
            wait_until("they are copied", lambda: self.objects() > before + 8 or are_made(), 60)
            time.sleep(moments.uniform(0, 0.3))  # a moment, not a condition
            self.provider.kill()
            self.assertFalse(are_made(), "killed too late")
            self.provider = self.start_provider("--image-root", self.directory)
        # What a killed provider had open Ceph lets go after 30 s.
        uids |= {name: self.wait_state(f"volume/{name}", "Available", 150)["metadata"]["uid"] for name in names}

        self.assertEqual(self.names_in("ls", f"{POOL}/default"), sorted([*(f"img_{uid}" for uid in uids.values()), f"snap_{taken}"]))
        self.assertEqual(len(self.names_in("ls", POOL)), 1, "one base image")
        self.assertEqual(self.keys_of("volumes"), {f"default/{uid}" for uid in uids.values()})
        self.assertEqual(self.keys_of("snapshots"), {f"default/{taken}"})
        self.assertEqual(len(self.keys_of("bases")), 1)
        self.assertTrue(self.read_data(uids["plain"]) == disk, "plain has other data")
        for name, key in (("source", "own"), ("safe", "own"), ("same", "own"), ("anew", "other")):
            self.assertTrue(self.read_encrypted(uids[name], keys[key]) == disk, f"{name} has other data")
        self.assertEqual([event for event in self.events("volumepool/here") if event[0].startswith("Orphan")], [])


if __name__ == "__main__":
    cloud.main("ceph-providerd", "ironcored", "ironcorectl")
