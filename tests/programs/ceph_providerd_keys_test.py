# SPDX-License-Identifier: Apache-2.0
"""What users see when a key is not the right one: that of a volume, the one in its header, or the provider's own. Nothing is lost, and it heals."""
import base64
import contextlib
import json
import os
import secrets
import subprocess
import time

import cloud
from ceph_cloud import MIB, POOL, WithFreshPool
from ceph_providerd_test import snapshot, volume
from cloud import wait_until

HEADER = 16 * MIB
# As the provider makes them.
OURS = ["--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512", "--sector-size", "4096", "--offset", HEADER // 512,
        "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]


def new_key():
    return base64.b64encode(secrets.token_bytes(32)).decode()


class Keys(WithFreshPool):
    def write_secret(self, name, key, owner=None):
        references = f", ownerReferences: [{json.dumps(owner)}]" if owner else ""
        self.make(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}{references}}}\nstringData: {{encryptionKey: {json.dumps(key)}}}\n")

    def cryptsetup(self, *command, key):
        file = self.private("key", "")
        file.write_bytes(base64.b64decode(key))
        return subprocess.run(["cryptsetup", "--batch-mode", "--key-file", file, *map(str, command)], capture_output=True, text=True, timeout=60)

    def header(self, key, options):
        """As somebody else makes it: the first bytes of an image."""
        file = self.directory / "foreign"
        file.write_bytes(b"")
        os.truncate(file, 2 * HEADER)
        made = self.cryptsetup("luksFormat", *options, file, key=key)
        self.assertEqual(made.returncode, 0, made)
        return file.read_bytes()[:HEADER]

    def assertOpens(self, uid, key):
        self.read_data(uid)
        opened = self.cryptsetup("open", "--test-passphrase", self.directory / "back", key=key)
        self.assertEqual(opened.returncode, 0, opened)

    def test_a_users_key_that_is_none_is_told_and_makes_nothing_until_it_is_put_right(self):
        self.make(volume("good", size="4Mi"))
        good = self.wait_state("volume/good", "Available")["metadata"]["uid"]
        wrong = {"short": base64.b64encode(b"s" * 16).decode(), "long": base64.b64encode(b"l" * 33).decode(), "empty": "",
                 "noise": "this is no base64, whatever one may think of it", "hex": secrets.token_hex(32)}
        for name, key in wrong.items():
            self.write_secret(f"{name}-key", key)
        names = [*wrong, "missing"]
        self.make("---".join(volume(name, size="4Mi", more=f"  encryption: {{secretRef: {{name: {name}-key}}}}\n") for name in names))
        uids = {name: self.get("volume", name)["metadata"]["uid"] for name in names}
        for name, key in wrong.items():
            self.wait_told(f"volume/{name}", "Ready", "VolumeEncryptionSecretNotReady", f"secret {name}-key must be 256 random bits",
                           f"it has {len(key)}")
        self.wait_told("volume/missing", "Ready", "VolumeEncryptionSecretNotReady", "secret missing-key does not exist")
        self.assertEqual(self.images(), {good})
        self.assertEqual(self.keys_of("volumes"), {f"default/{good}"})
        for name, uid in uids.items():
            self.assertNotEqual(self.ctl("get", "secret", f"volumekey-{uid}").code, 0, "no key is made up")
            self.assertNotEqual(self.get("volume", name)["status"].get("state"), "Available")
        for key in filter(None, wrong.values()):
            self.assertNotIn(key, self.provider.log.read_text() + self.ok("get", "events", "-o", "json"))

        for name in names:
            self.write_secret(f"{name}-key", new_key())
        for name in names:
            self.wait_state(f"volume/{name}", "Available")
            self.assertOpens(uids[name], self.secret(f"{name}-key")["encryptionKey"])
        self.assertEqual(self.images(), {good, *uids.values()})

    def claim(self, machine):
        self.make(volume("safe", size="16Mi", more=f"  encryption: {{}}\n  claimRef: {{name: web-1, uid: {machine}}}\n"))

    def release(self):
        self.make(volume("safe", size="16Mi", more="  encryption: {}\n"))
        wait_until("it is released", lambda: "machine" not in self.get("volume", "safe")["status"]["use"])

    def wait_handed_over(self, machine):
        def holder():
            return self.get("volume", "safe")["status"]["use"].get("machine", {}).get("uid")
        try:
            wait_until("it is handed over", lambda: holder() == machine, 120)
        except TimeoutError as late:
            self.fail(f"{late}\n{self.ctl('describe', 'volume', 'safe')}\n{self.provider.tail()}")

    def test_a_volume_with_a_foreign_header_is_handed_to_nobody_until_its_own_is_back(self):
        self.make(cloud.CLASS + "---" + cloud.MACHINE + "---" + volume("safe", size="16Mi", more="  encryption: {}\n"))
        made = self.wait_state("volume/safe", "Available")
        uid, machine = made["metadata"]["uid"], self.get("machine", "web-1")["metadata"]["uid"]
        own = made["status"]["access"]["secretRef"]["name"]
        data, wrapped = os.urandom(16 * MIB), self.secret(f"volumekey-{uid}")
        header = self.read_data(uid)[:HEADER]
        self.write_data(uid, header + data)
        foreign = new_key()
        kinds = [
            # The same shape, another key.
            (OURS, "EncryptionKeyLost", "no key that is kept opens the data of volume safe", "bring back the header of the data"),
            (["--type", "luks1"], "EncryptionHeaderDamaged", "it is no LUKS2 header", "bring it back, or restore a snapshot or a backup"),
            (["--type", "luks2", "--sector-size", "512", "--pbkdf-memory", "32768", "--iter-time", "100"], "EncryptionHeaderDamaged", "its sizes are not ours"),
        ]
        for number, (options, reason, *texts) in enumerate(kinds):
            with self.subTest(options=options):
                theirs = self.header(foreign, options)
                self.write_data(uid, theirs + data)
                self.claim(machine)
                self.wait_told("volume/safe", "UpToDate", reason, *texts)
                if number % 2 == 0:  # one that has just begun sees it, too
                    self.provider.kill()
                    self.provider = self.start_provider()
                    self.wait_told("volume/safe", "UpToDate", reason, *texts)
                self.assertNotIn("machine", self.get("volume", "safe")["status"]["use"])
                self.assertNotIn("encryptionKey", self.secret(own))
                self.assertEqual(self.secret(f"volumekey-{uid}"), wrapped)
                self.assertEqual(self.read_data(uid), theirs + data, "nobody has written to it")
                self.write_data(uid, header + data)
                self.wait_handed_over(machine)
                self.wait_well("volume/safe", "UpToDate")
                self.assertOpens(uid, self.secret(own)["encryptionKey"])
                self.release()
        self.assertEqual(self.read_data(uid), header + data)

    def test_what_is_made_from_a_foreign_header_waits_for_its_key(self):
        self.make(volume("safe", size="16Mi", more="  encryption: {}\n"))
        uid = self.wait_state("volume/safe", "Available")["metadata"]["uid"]
        header, data, foreign = self.read_data(uid)[:HEADER], os.urandom(16 * MIB), new_key()
        self.write_data(uid, header + data)
        self.make(snapshot("before", "safe"))
        self.wait_state("volumesnapshot/before", "Ready")
        theirs = self.header(foreign, OURS)
        self.write_data(uid, theirs + data)
        self.make(snapshot("during", "safe"))
        during = self.wait_state("volumesnapshot/during", "Ready")["metadata"]["uid"]
        wait_until("it is told", lambda: any(reason == "VolumeEncryptionSecretNotReady" and f"volumesnapshot-{during}" in message
                                             for reason, message in self.events("volumesnapshot/during")))
        self.make(volume("right", size="16Mi", more="  dataSource: {volumeSnapshotRef: {name: before}}\n") + "---" +
                  volume("theirs", size="16Mi", more="  dataSource: {volumeSnapshotRef: {name: during}}\n"))
        right = self.wait_state("volume/right", "Available")["metadata"]["uid"]
        self.wait_told("volume/theirs", "Ready", "VolumeEncryptionSecretNotReady",
                       "no key that is kept opens the data of volume snapshot during", f"volumesnapshot-{during}")
        self.assertEqual(self.images(), {uid, right})
        self.assertEqual(self.read_data(right), header + data)
        self.write_secret(f"volumesnapshot-{during}", foreign,
                          {"apiVersion": "storage.ironcore.dev/v1alpha1", "kind": "VolumeSnapshot", "name": "during", "uid": during})
        copy = self.wait_state("volume/theirs", "Available", 120)["metadata"]["uid"]
        self.assertEqual(self.read_data(copy), theirs + data)
        self.assertOpens(copy, foreign)
        self.assertEqual(self.read_data(uid), theirs + data, "nobody has written to it")

    # --- the provider's own ---

    def provider_addresses(self):
        """How the cluster names its connections."""
        sessions = json.loads(self.ceph("tell", "mon.a", "sessions"))
        return {f"{address['addr']}/{address['nonce']}" for session in sessions if session["entity_name"] == "client.provider"
                for address in session["addrs"]["addrvec"]}

    def fence_provider(self):
        for address in self.provider_addresses():
            self.ceph("osd", "blocklist", "add", address)
            self.addCleanup(self.ceph, "osd", "blocklist", "rm", address)

    @contextlib.contextmanager
    def revoked(self):
        """The provider's user is gone, and comes back as it was."""
        keyring = self.private("keyring", self.ceph("auth", "get", "client.provider"))
        self.ceph("auth", "rm", "client.provider")
        try:
            yield
        finally:
            self.ceph("auth", "import", "-i", keyring)

    def with_data(self):
        """A volume that is there."""
        self.make(volume("data", size="8Mi"))
        uid, data = self.wait_state("volume/data", "Available")["metadata"]["uid"], os.urandom(8 * MIB)
        self.write_data(uid, data)
        return uid, data

    def check_refused(self, seconds):
        self.make(volume("data", size="16Mi") + "---" + volume("late", size="8Mi"))
        refused = "as client.provider: not allowed: look at the capabilities of the user"
        self.wait_told("volume/late", "Ready", "StoreUnavailable", refused, seconds=seconds)
        self.wait_told("volume/data", "UpToDate", "StoreUnavailable", refused, seconds=seconds)
        self.assertEqual(self.condition("volume/data", "Ready")["status"], "True", "what is there keeps its state")
        wait_until("the pool says it", lambda: refused in self.condition("volumepool/here", "Ready")["message"])
        self.assertEqual(self.condition("volumepool/here", "Ready")["status"], "False")

    def check_healed(self, uid, data):
        late = self.wait_state("volume/late", "Available", 90)["metadata"]["uid"]
        self.wait_well("volume/data", "UpToDate", 90)
        self.wait_well("volumepool/here", "Ready")
        self.assertEqual(self.images(), {uid, late})
        self.assertEqual(self.size(uid), 16 * MIB)
        self.assertEqual(self.read_data(uid)[:8 * MIB], data)
        self.assertIsNone(self.provider.process.poll(), "the same provider")

    def test_a_provider_whose_key_is_revoked_and_who_is_shut_out_says_so_and_goes_on_when_it_is_back(self):
        uid, data = self.with_data()
        with self.revoked():
            self.fence_provider()
            self.check_refused(60)
        self.check_healed(uid, data)

    def test_a_provider_whose_tickets_end_after_its_key_says_so_and_goes_on_when_it_is_back(self):
        for name in ("auth_service_ticket_ttl", "auth_mon_ticket_ttl"):
            self.ceph("config", "set", "global", name, "8")
            self.addCleanup(self.ceph, "config", "rm", "global", name)
        self.provider.kill()
        self.provider = self.start_provider()
        uid, data = self.with_data()
        with self.revoked():
            time.sleep(8)  # as long as a ticket lasts; only new connections are asked for one
            for daemon in ("osd.0", "mon"):
                self.cluster.do("kill", daemon)
                self.cluster.do("start", daemon)
            self.check_refused(90)
        self.check_healed(uid, data)

    def test_a_provider_that_was_shut_out_connects_again(self):
        uid, data = self.with_data()
        before = self.provider_addresses()
        self.fence_provider()
        self.make(volume("data", size="16Mi") + "---" + volume("late", size="8Mi"))
        self.check_healed(uid, data)
        self.assertFalse(before & self.provider_addresses())


if __name__ == "__main__":
    cloud.main("ceph-providerd", "ironcored", "ironcorectl")
