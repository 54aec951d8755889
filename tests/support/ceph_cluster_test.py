#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/support/ceph-cluster: what runs in it, the faults it makes, and that nothing is left of it however it ends."""
import base64
import email.utils
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from ceph_cluster import PROGRAM, CephCluster  # noqa: E402
from daemons import start_time, wait_until  # noqa: E402

PLACES_OF_THE_SYSTEM = ("/etc/ceph", "/var/lib/ceph", "/var/log/ceph", "/run/ceph", "/usr/share/ceph")


def files_of_the_system():
    return sorted(str(file) for place in PLACES_OF_THE_SYSTEM for file in pathlib.Path(place).rglob("*"))


def run(*arguments, user=None, program=PROGRAM, seconds=120):
    return subprocess.run([program, *map(str, arguments)], text=True, capture_output=True, timeout=seconds, user=user,
                          group=user, extra_groups=None if user is None else [])


def connects(endpoint):
    host, port = endpoint.split(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
        return True
    except OSError:
        return False


def text_of(file):
    """Empty if it is gone meanwhile."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def living(processes):
    return [name for name, (pid, started) in processes.items() if start_time(pid) == started]


def parse_processes(directory):
    lines = (directory / "processes").read_text().splitlines()
    return {name: (int(pid), int(started)) for name, pid, started in map(str.split, lines)}


class TempDirectory(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)


class WhatRuns(unittest.TestCase):
    """One cluster for all of these tests."""

    @classmethod
    def setUpClass(cls):
        cls.system = files_of_the_system()
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the cluster has to see to that by itself
        os.environ["CEPH_ARGS"] = "--name client.nobody"  # is of another cluster
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="ic-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.cluster = CephCluster(cls.directory / "ceph")
        cls.addClassCleanup(cls.cluster.close)

    def ceph(self, *arguments):
        return json.loads(self.cluster.tool("ceph", *arguments, "--format", "json") or "null")

    def rbd(self, *arguments):
        return self.cluster.tool("rbd", *arguments)

    def becomes(self, health):
        wait_until(f"the cluster is {health}", lambda: self.ceph("health")["status"] == health, 60)

    def s3(self, method, path, query=""):
        """A signed request to the gateway; status and body."""
        date = email.utils.formatdate(usegmt=True)
        signature = hmac.new(self.cluster.env["S3_SECRET_KEY"].encode(), f"{method}\n\n\n{date}\n{path}".encode(), hashlib.sha1)
        request = urllib.request.Request(f"{self.cluster.env['S3_ENDPOINT']}{path}?{query}", method=method, headers={
            "Date": date,
            "Authorization": f"AWS {self.cluster.env['S3_ACCESS_KEY']}:{base64.b64encode(signature.digest()).decode()}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_it_is_healthy_and_says_where_it_is(self):
        self.becomes("HEALTH_OK")
        state = self.ceph("status")
        self.assertEqual(state["health"]["checks"], {})
        self.assertEqual(state["fsid"], self.cluster.env["CEPH_FSID"])
        self.assertEqual(state["osdmap"]["num_up_osds"], 1)
        addresses = self.ceph("mon", "dump")["mons"][0]["public_addrs"]["addrvec"]
        self.assertIn({"type": "v2", "addr": self.cluster.env["CEPH_MONITOR"], "nonce": 0}, addresses)
        self.assertEqual(self.ceph("auth", "get-key", "client.admin")["key"], self.cluster.env["CEPH_KEY"])
        shown = run("env", self.cluster.directory)
        self.assertEqual(dict(line.split("=", 1) for line in shown.stdout.splitlines()), self.cluster.env)

    def test_nothing_is_written_outside_and_secrets_are_for_the_owner_only(self):
        self.ceph("status")
        self.assertEqual(files_of_the_system(), self.system)
        secrets = [self.cluster.env[name].encode() for name in ("CEPH_KEY", "S3_SECRET_KEY")]
        holding = [file for file in self.cluster.directory.iterdir()
                   if file.is_file() and any(secret in file.read_bytes() for secret in secrets)]
        self.assertEqual(sorted(file.name for file in holding), ["client.admin.keyring", "env"])
        for file in self.cluster.directory.iterdir():
            if file.name != "ceph.conf":
                self.assertEqual(stat.S_IMODE(file.stat().st_mode) & 0o077, 0, file)

    def test_images_snapshots_clones_and_the_managers_tasks(self):
        content = os.urandom(1 << 20)
        source = self.directory / "content"
        source.write_bytes(content)
        self.rbd("import", source, "rbd/base")
        self.rbd("snap", "create", "rbd/base@first")
        self.rbd("clone", "rbd/base@first", "rbd/child")  # refused by clone version 1: the snapshot is not protected
        self.assertEqual(json.loads(self.rbd("info", "rbd/child", "--format", "json"))["parent"]["image"], "base")
        self.ceph("rbd", "task", "add", "flatten", "rbd/child")
        wait_until("the child is flat", lambda: "parent" not in json.loads(self.rbd("info", "rbd/child", "--format", "json")), 60)
        copy = self.directory / "copy"
        self.rbd("export", "rbd/child", copy)
        self.assertEqual(hashlib.sha256(copy.read_bytes()).digest(), hashlib.sha256(content).digest())

        self.rbd("trash", "move", "rbd/child")
        [trashed] = json.loads(self.rbd("trash", "list", "--format", "json"))
        self.ceph("rbd", "task", "add", "trash", "remove", f"rbd/{trashed['id']}")
        wait_until("the trash is empty", lambda: json.loads(self.rbd("trash", "list", "--format", "json")) == [], 60)
        self.assertNotIn("child", self.rbd("ls", "rbd").split())

    def test_buckets_with_a_stock_client_and_users_by_admin_ops(self):
        endpoint = self.cluster.env["S3_ENDPOINT"].removeprefix("http://")
        settings = self.directory / "s3cmd"
        settings.write_text(f"[default]\naccess_key = {self.cluster.env['S3_ACCESS_KEY']}\nsecret_key = {self.cluster.env['S3_SECRET_KEY']}\n"
                            f"host_base = {endpoint}\nhost_bucket = {endpoint}\nuse_https = False\n")
        content = os.urandom(100_000)
        (self.directory / "object").write_bytes(content)
        for command in (["mb", "s3://first"], ["put", self.directory / "object", "s3://first/object"],
                        ["get", "s3://first/object", self.directory / "got"]):
            self.cluster.tool("s3cmd", "-c", settings, "--no-progress", *command)
        self.assertEqual((self.directory / "got").read_bytes(), content)

        status, body = self.s3("PUT", "/admin/user", "uid=alice&display-name=Alice")
        self.assertEqual((status, json.loads(body)["user_id"]), (200, "alice"))
        status, body = self.s3("GET", "/admin/bucket", "bucket=first&stats=true")
        self.assertEqual((status, json.loads(body)["owner"]), (200, "admin"))

        def uploads():
            _, usage = self.s3("GET", "/admin/usage", "uid=admin")
            return [one for user in json.loads(usage)["entries"] for bucket in user["buckets"]
                    for one in bucket["categories"] if one["category"] == "put_obj"]
        [upload] = wait_until("the usage log tells of the upload", uploads, 60)
        self.assertEqual((upload["successful_ops"], upload["bytes_received"]), (1, len(content)))
        self.assertIn(self.s3("GET", "/auth/v1.0")[0], (403, 404))  # Swift is off

    def test_each_daemon_ends_and_comes_back(self):
        self.rbd("create", "rbd/kept", "--size", "8M")
        before = self.cluster.processes()
        self.cluster.do("stop", "osd.0")
        self.assertEqual(self.ceph("osd", "stat")["num_up_osds"], 0)
        self.cluster.do("start", "osd.0")
        self.assertEqual(self.ceph("osd", "stat")["num_up_osds"], 1)
        self.assertIn("kept", self.rbd("ls", "rbd").split())

        self.cluster.do("kill", "mon")
        self.assertFalse(connects(self.cluster.env["CEPH_MONITOR"]))
        self.cluster.do("start", "mon")
        self.cluster.do("stop", "mgr")
        self.cluster.do("start", "mgr")
        self.assertEqual(self.ceph("rbd", "task", "list"), [])
        gateway = self.cluster.env["S3_ENDPOINT"].removeprefix("http://")
        self.cluster.do("stop", "rgw")
        self.assertFalse(connects(gateway))
        self.cluster.do("start", "rgw")
        self.assertEqual(self.s3("GET", "/admin/user", "uid=admin")[0], 200)

        after = self.cluster.processes()
        self.assertEqual(before.pop("holder"), after.pop("holder"))
        self.assertEqual(before.keys(), after.keys())
        for name, process in after.items():
            self.assertNotEqual(process, before[name])
        self.assertEqual(living(before), [])
        self.becomes("HEALTH_OK")

    def test_a_paused_daemon_holds_up_who_needs_it_until_it_goes_on(self):
        self.cluster.do("pause", "osd.0")
        with self.assertRaises(subprocess.TimeoutExpired):
            self.cluster.tool("rbd", "ls", "rbd", seconds=2)
        self.cluster.do("resume", "osd.0")
        self.rbd("ls", "rbd")

    def test_it_can_be_made_full(self):
        self.cluster.do("fill", "nearfull")
        self.assertIn("OSD_NEARFULL", self.ceph("health")["checks"])
        self.cluster.do("fill", "full")
        self.assertIn("OSD_FULL", self.ceph("health")["checks"])
        writer = subprocess.Popen(["rbd", "create", "rbd/waits", "--size", "8M"], env=self.cluster.tool_environment())
        self.addCleanup(writer.kill)
        with self.assertRaises(subprocess.TimeoutExpired):
            writer.wait(2)
        self.cluster.do("fill", "none")
        self.assertEqual(writer.wait(60), 0)
        self.becomes("HEALTH_OK")

    def test_what_cannot_be_done_is_said(self):
        for arguments, text in ((("stop", "osd.7"), "only mon mgr osd.0 rgw"), (("start", "osd.0"), "osd.0 runs already")):
            result = run(arguments[0], self.cluster.directory, *arguments[1:])
            self.assertEqual(result.returncode, 1)
            self.assertIn(text, result.stderr)
        result = run("up", self.directory)
        self.assertEqual((result.returncode, result.stderr), (1, f"ceph-cluster: {self.directory} is not empty\n"))
        result = run("down", self.directory)
        self.assertEqual((result.returncode, result.stderr), (1, f"ceph-cluster: there is no cluster in {self.directory}\n"))
        self.assertTrue(self.directory.exists())


class ErasureCoded(TempDirectory):
    def test_an_image_with_its_data_in_the_erasure_coded_pool_survives_an_osd(self):
        cluster = CephCluster(self.directory / "ceph", "--ec", "--no-rgw")
        self.addCleanup(cluster.close)
        content = os.urandom(1 << 20)
        (self.directory / "content").write_bytes(content)
        cluster.tool("ceph", "osd", "pool", "set", "rbd", "size", "3")  # what is written about the image survives, too
        cluster.tool("rbd", "import", "--data-pool", cluster.env["CEPH_DATA_POOL"], self.directory / "content", "rbd/image")
        info = json.loads(cluster.tool("rbd", "info", "rbd/image", "--format", "json"))
        self.assertEqual(info["data_pool"], "rbd-data")
        cluster.do("stop", "osd.2")
        cluster.tool("rbd", "export", "rbd/image", self.directory / "copy")
        self.assertEqual((self.directory / "copy").read_bytes(), content)


class Lifetime(TempDirectory):
    def setUp(self):
        super().setUp()
        self.cluster = self.directory / "ceph"

    def gone(self, processes):
        wait_until("every process has ended", lambda: not living(processes), 60)
        wait_until("the directory is removed", lambda: not self.cluster.exists(), 60)

    def parent(self):
        """A process that runs a cluster and waits for it."""
        process = subprocess.Popen(["sh", "-c", '"$0" run "$1" --no-rgw; true', PROGRAM, self.cluster], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def test_it_ends_with_its_parent(self):
        parent = self.parent()
        self.assertEqual(parent.stdout.readline().strip(), f"{self.cluster}/env")
        processes = parse_processes(self.cluster)
        self.assertEqual(sorted(living(processes)), ["holder", "mgr", "mon", "osd.0"])
        parent.kill()
        parent.wait()
        self.gone(processes)

    def test_it_ends_with_its_parent_while_it_starts(self):
        parent = self.parent()
        processes = wait_until("the monitor is there", lambda: (self.cluster / "processes").exists() and
                               "mon" in parse_processes(self.cluster) and parse_processes(self.cluster), 60)
        parent.kill()
        parent.wait()
        self.gone(processes)

    def test_what_is_left_of_one_whose_holder_was_killed_is_removed_by_down(self):
        self.assertEqual(run("up", self.cluster, "--no-rgw").returncode, 0)
        processes = parse_processes(self.cluster)
        os.kill(processes["holder"][0], signal.SIGKILL)
        wait_until("every process has ended", lambda: not living(processes), 60)
        result = run("stop", self.cluster, "mon")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no cluster runs in", result.stderr)
        self.assertEqual(run("down", self.cluster).returncode, 0)
        self.gone(processes)

    def test_one_that_does_not_start_says_why_and_leaves_nothing(self):
        for program, named in (("ceph-osd", "--mkfs"), ("radosgw", "rgw ended")):
            with self.subTest(program):
                broken = self.directory / program
                broken.write_text("#!/bin/sh\necho no such luck\nexit 3\n")
                broken.chmod(0o755)
                result = subprocess.run([PROGRAM, "up", self.cluster], text=True, capture_output=True, timeout=300,
                                        env={"PATH": f"{self.directory}:{os.environ['PATH']}"})
                broken.unlink()
                self.assertEqual((result.returncode, result.stdout), (1, ""))
                self.assertIn("ceph-cluster: the cluster does not start: ", result.stderr)
                self.assertIn(named, result.stderr)
                self.assertIn("no such luck", result.stderr)
                self.assertFalse(self.cluster.exists())
                left = [process for process in pathlib.Path("/proc").glob("[0-9]*/cmdline") if str(self.cluster) in text_of(process)]
                self.assertEqual(left, [])

    def test_down_ends_no_process_that_only_has_the_same_number(self):
        bystander = subprocess.Popen(["sleep", "600"])
        self.addCleanup(bystander.wait)
        self.addCleanup(bystander.kill)
        self.cluster.mkdir()
        (self.cluster / "processes").write_text(f"holder {bystander.pid} 1\nmon {bystander.pid} 2\n")
        self.assertEqual(run("down", self.cluster).returncode, 0)
        self.assertFalse(self.cluster.exists())
        self.assertIsNone(bystander.poll())

    def test_two_run_at_once_for_a_user_who_is_not_root_until_they_are_ended(self):
        user = 65534 if os.getuid() == 0 else None
        self.directory.chmod(0o777)
        for file in (PROGRAM, PROGRAM.parent / "daemons.py"):
            shutil.copy(file, self.directory)  # the user may not be able to go where the sources lie
        program = self.directory / PROGRAM.name
        clusters = [self.directory / "a", self.directory / "b"]
        ups = [subprocess.Popen([program, "up", cluster, "--no-rgw"], stdout=subprocess.PIPE, text=True, user=user, group=user,
                                extra_groups=None if user is None else []) for cluster in clusters]
        for up, cluster in zip(ups, clusters):
            self.addCleanup(run, "down", cluster)
            self.assertIn(f"a cluster in {cluster}, after", up.communicate(timeout=120)[0])
            self.assertEqual(up.returncode, 0)
        processes = [parse_processes(cluster) for cluster in clusters]
        for one, cluster in zip(processes, clusters):
            self.assertEqual(sorted(living(one)), ["holder", "mgr", "mon", "osd.0"])
            self.assertEqual(run("down", cluster, user=user, program=program).returncode, 0)
            self.assertEqual(living(one), [])
            self.assertFalse(cluster.exists())


if __name__ == "__main__":
    checked = run("run", "/")  # is not empty, so nothing is started
    if checked.returncode == 77 or not shutil.which("s3cmd"):
        print(f"skipped: {checked.stderr.strip() if checked.returncode == 77 else 's3cmd is not installed: run ./dev setup'}")
        sys.exit(77)
    unittest.main(verbosity=2)
