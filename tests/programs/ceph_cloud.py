# SPDX-License-Identifier: Apache-2.0
"""What tests of ceph-providerd on a real Ceph cluster share: the cluster, a provider on it, and what is seen from outside."""
import base64
import json
import pathlib
import secrets
import shutil
import subprocess
import tempfile

from ceph_cluster import CephCluster
from ceph_providerd_test import CLASSES
from cloud import Daemon, WithServer, program, wait_until

POOL = "provided"
MIB = 1 << 20
BUCKET = """
apiVersion: storage.ironcore.dev/v1alpha1
kind: BucketClass
metadata: {name: standard}
capabilities: {tps: 50Mi, iops: 1k, storage: 20Mi}
---
apiVersion: storage.ironcore.dev/v1alpha1
kind: Bucket
metadata: {name: pictures}
spec:
  bucketClassRef: {name: standard}
  bucketPoolRef: {name: here}
"""


class WithCluster:
    """A cluster for all tests of the class, and what a provider is told about it."""

    @classmethod
    def setUpClass(cls):
        parent = pathlib.Path(tempfile.mkdtemp(prefix="ic-", dir="/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, parent, ignore_errors=True)
        cls.cluster = CephCluster(parent / "ceph")
        cls.addClassCleanup(cls.cluster.close)
        cls.ceph("osd", "set-require-min-compat-client", "mimic", "--yes-i-really-mean-it")
        cls.make_pool()
        # No more than docs/storage-ceph.md says.
        cls.key = cls.ceph("auth", "get-or-create-key", "client.provider", "mon",
                           'profile rbd, allow command "auth get-or-create", allow command "auth rm"', "osd", f"profile rbd pool={POOL}",
                           "mgr", "profile rbd").strip()

    @classmethod
    def ceph(cls, *arguments):
        return cls.cluster.tool("ceph", *arguments)

    @classmethod
    def make_pool(cls):
        cls.ceph("osd", "pool", "create", POOL, "8")
        cls.ceph("osd", "pool", "application", "enable", POOL, "rbd")

    def private(self, name, text):
        path = self.directory / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path

    @classmethod
    def remove_mark(cls):
        """Another server takes the pool over, with all that tests before have left in it."""
        if "owner" in cls.cluster.tool("rados", "-p", POOL, "-N", ".ironcore", "ls").split():
            cls.cluster.tool("rados", "-p", POOL, "-N", ".ironcore", "rm", "owner")

    def write_keys(self):
        self.remove_mark()
        self.cluster_key = self.private("cluster.key", self.key)
        self.gateway_keys = self.private("gateway.keys", f"{self.cluster.env['S3_ACCESS_KEY']}\n{self.cluster.env['S3_SECRET_KEY']}")
        self.wrapping = self.private("wrapping.keys", f"id test\n1 {base64.b64encode(secrets.token_bytes(32)).decode()}")

    def places(self):
        """What a provider is told about volumes and buckets."""
        return ["--cluster", f"c1,monitors={self.cluster.env['CEPH_MONITOR']},user=provider,key-file={self.cluster_key}",
                "--store", f"ssd,cluster=c1,pool={POOL}", "--volume-class", "fast=ssd", "--volume-class", "fixed=ssd",
                "--encryption-key-file", self.wrapping,
                "--gateway", f"gw,endpoint={self.cluster.env['S3_ENDPOINT']},key-file={self.gateway_keys}", "--bucket-class", "standard=gw"]


class WithProvider(WithCluster, WithServer):
    """A provider of volumes and buckets on the cluster, for each test anew."""

    def setUp(self):
        super().setUp()
        self.assertEqual(self.apply(CLASSES).code, 0)
        self.write_keys()
        self.provider = self.start_provider()
        for pool in ("volumepool", "bucketpool"):
            wait_until(f"the {pool} is there", lambda pool=pool: self.ctl("get", pool, "here").code == 0)
            self.ok("wait", f"{pool}/here", "--for", "condition=Ready", "--timeout", "30s")

    def begin_provider(self, *more, name="ceph-providerd", directory="provider", pool="here"):
        daemon = Daemon(name, [
            program("ceph-providerd"), "--server", self.endpoint, "--directory", self.directory / directory, "--heartbeat", "200ms", "--lease", "2s",
            "--volume-pool", pool, "--bucket-pool", pool, *self.places(), *more], self.directory)
        self.addCleanup(daemon.kill)
        return daemon

    def start_provider(self, *more, **options):
        return self.begin_provider(*more, **options).wait_ready(60)

    def make(self, text):
        result = self.apply(text)
        self.assertEqual(result.code, 0, result)

    def wait_state(self, what, state, seconds=60):
        result = self.ctl("wait", what, "--for", f"state={state}", "--timeout", f"{seconds}s", seconds=seconds + 30)
        self.assertEqual(result.code, 0, f"{result}\n{self.ctl('describe', *what.split('/'))}\n{self.provider.tail()}")
        return self.get(*what.split("/"))

    def secret(self, name):
        return {key: base64.b64decode(value).decode() for key, value in self.get("secret", name)["data"].items()}

    def images(self):
        """Uids of volumes in the tenant's namespace."""
        listed = json.loads(self.cluster.tool("rbd", "ls", "--format", "json", f"{POOL}/default"))
        return {name.removeprefix("img_") for name in listed if name.startswith("img_")}

    def size(self, uid):
        return json.loads(self.cluster.tool("rbd", "info", "--format", "json", f"{POOL}/default/img_{uid}"))["size"]

    def write_data(self, uid, data):
        """As a guest would, from the start of the volume on."""
        raw = self.directory / "raw"
        raw.write_bytes(data)
        subprocess.run(["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", raw, f"rbd:{POOL}/default/img_{uid}:conf={self.cluster.env['CEPH_CONF']}"],
                       check=True, timeout=60)

    def read_data(self, uid):
        back = self.directory / "back"
        back.unlink(missing_ok=True)
        self.cluster.tool("rbd", "export", "--no-progress", f"{POOL}/default/img_{uid}", back)
        return back.read_bytes()


class WithFreshPool(WithProvider):
    """Nothing of another test is in the pool; and what an object tells of its trouble."""

    def setUp(self):
        self.ceph("osd", "pool", "rm", POOL, POOL, "--yes-i-really-really-mean-it")
        self.make_pool()
        super().setUp()

    def condition(self, what, name):
        conditions = self.get(*what.split("/")).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == name), {"status": None, "reason": None, "message": ""})

    def events(self, what):
        """Reason and message of each."""
        kind, name = what.split("/")
        return [(event["reason"], event["message"]) for event in self.get("events")["items"]
                if event["involvedObject"]["kind"].lower() == kind and event["involvedObject"]["name"] == name]

    def wait_told(self, what, condition, reason, *texts, seconds=60):
        """The object says it: in a condition, in an event, and where people look."""
        def look():
            told = self.condition(what, condition)
            is_event = any(one == reason and all(text in message for text in texts) for one, message in self.events(what))
            return told["status"] == "False" and told["reason"] == reason and all(text in told["message"] for text in texts) and is_event
        try:
            wait_until(f"{what} says {reason}", look, seconds, pause=0.1)
        except TimeoutError as late:
            self.fail(f"{late}\n{self.condition(what, condition)}\n{self.events(what)}\n{self.provider.tail()}")
        described = self.ok("describe", *what.split("/"))
        for text in (reason, *texts):
            self.assertIn(text, described)

    def wait_well(self, what, condition, seconds=60):
        try:
            wait_until(f"{what} has {condition}", lambda: self.condition(what, condition)["status"] == "True", seconds, pause=0.1)
        except TimeoutError as late:
            self.fail(f"{late}\n{self.condition(what, condition)}\n{self.provider.tail()}")

    def wait_gone(self, what, seconds=60):
        try:
            wait_until(f"{what} is gone", lambda: self.ctl("get", *what.split("/")).code != 0, seconds, pause=0.1)
        except TimeoutError as late:
            self.fail(f"{late}\n{self.ctl('describe', *what.split('/'))}\n{self.provider.tail()}")

    def keys_of(self, table):
        """Of a list of the provider's own."""
        return set(self.cluster.tool("rados", "-p", POOL, "-N", ".ironcore", "listomapkeys", table).split())

    def names_in(self, *command):
        return sorted(entry if isinstance(entry, str) else entry["name"]
                      for entry in json.loads(self.cluster.tool("rbd", *command, "--format", "json")))
