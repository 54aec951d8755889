# SPDX-License-Identifier: Apache-2.0
"""ironcored as an operator meets it: starting, stopping, crashing, being attacked, being backed up."""
import json
import os
import pathlib
import signal
import socket
import sqlite3
import stat

import cloud
from cloud import CLASS, MACHINE, Daemon, TempDirectory, WithServer, program, run


def three_free_ports():
    """The first of three in a row: requests, changes and streams."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
                return port
            except (OSError, OverflowError):
                continue


class Starting(WithServer):
    def start_another(self, *arguments):
        return run("ironcored", *arguments, seconds=30)

    def test_a_second_one_on_the_same_state_directory_is_refused(self):
        result = self.start_another("--state-directory", self.directory / "state", "--listen", f"ipc://{self.directory}/other.sock")
        self.assertEqual(result.code, 1, result)
        self.assertRegex(result.err, r"error: .*(in use|held|another)")
        self.ok("version")

    def test_a_second_one_on_the_same_endpoint_is_refused(self):
        result = self.start_another("--state-directory", self.directory / "other", "--listen", self.endpoint)
        self.assertEqual(result.code, 1, result)
        self.assertIn("api.sock", result.err)
        self.ok("version")

    def test_sockets_and_state_are_for_their_owner_only(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.directory / "state").st_mode), 0o700)
        for path in (self.directory / "state").iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)
        for path in self.directory.glob("api.sock*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)

    def test_sigterm_ends_it_in_order(self):
        self.assertEqual(self.server.stop(), 0)
        self.assertFalse(self.server.ready_file.exists())
        self.assertIn("msg=\"stopped\"", self.server.tail())
        self.assertEqual(list(self.directory.glob("api.sock*")), [])

    def test_a_second_sigterm_does_not_make_it_disorderly(self):
        for _ in range(3):
            self.server.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.process.wait(20), 0)
        self.assertFalse(self.server.ready_file.exists())
        self.assertEqual(list(self.directory.glob("api.sock*")), [])

    def test_a_directory_of_somebody_else_is_refused_and_left_alone(self):
        shared = self.directory / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        result = self.start_another("--state-directory", shared, "--listen", f"ipc://{self.directory}/other.sock")
        self.assertEqual(result.code, 1, result)
        self.assertRegex(result.err, "error: .* has mode 01777, at most 0700 is wanted: .*chmod 0700")
        self.assertEqual(stat.S_IMODE(shared.stat().st_mode), 0o1777)
        self.assertEqual(list(shared.iterdir()), [])

    def test_a_directory_of_its_own_gets_its_mode_back(self):
        self.server.stop()
        (self.directory / "state").chmod(0o755)
        self.server = self.start_server()
        self.assertEqual(stat.S_IMODE((self.directory / "state").stat().st_mode), 0o700)

    def test_after_kill_everything_that_was_acknowledged_is_there(self):
        self.assertEqual(self.apply(CLASS + "---\n" + MACHINE).code, 0)
        before = self.get("machine", "web-1")
        self.server.kill()
        self.server = self.start_server()
        self.assertEqual(self.get("machine", "web-1")["metadata"]["uid"], before["metadata"]["uid"])
        # The scheduler of the one that was killed is not waited for.
        pool = "apiVersion: compute.ironcore.dev/v1alpha1\nkind: MachinePool\nmetadata: {name: p1}\nspec: {providerID: 'x://p1'}\n"
        self.ok("apply", "-f", "-", stdin=pool)
        self.assertEqual(self.apply(MACHINE.replace("web-1", "web-2")).code, 0)
        cloud.wait_until("the scheduler works", lambda: "not ready" in self.ctl("events", "web-2").out, 10)

    def test_a_client_that_waits_does_not_notice_a_restart(self):
        self.apply(CLASS + "---\n" + MACHINE)
        with cloud.background("ironcorectl", "wait", "machine/web-1", "--for", "spec.power=Off", "--timeout", "60s",
                              environment={"IRONCORE_SERVER": self.endpoint}) as waiting:
            self.server.kill()
            self.server = self.start_server()
            self.ok("power", "off", "web-1")
            self.assertEqual(waiting.wait(60), 0)

    def test_garbage_on_the_sockets_harms_nobody(self):
        for path in sorted(self.directory.glob("api.sock*")):
            for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096, os.urandom(100_000), b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03" + b"A" * 500):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
                    try:
                        client.sendall(garbage)
                    except (BrokenPipeError, ConnectionResetError):
                        pass
        self.assertEqual(self.apply(CLASS).code, 0)
        self.assertIsNone(self.server.process.poll())


class Announcing(TempDirectory):
    def start(self, *arguments, environment=None):
        os.environ.update(environment or {})
        try:
            daemon = Daemon("ironcored", [program("ironcored"), "--state-directory", self.directory / "state", "--listen",
                                          f"ipc://{self.directory}/api.sock", *arguments], self.directory)
        finally:
            for name in environment or {}:
                del os.environ[name]
        self.addCleanup(daemon.kill)
        return daemon.wait_ready()

    def test_the_service_manager_is_told(self):
        path = self.directory / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(path))
            manager.settimeout(20)
            daemon = self.start(environment={"NOTIFY_SOCKET": str(path)})
            self.assertEqual(manager.recv(100), b"READY=1")
            daemon.process.send_signal(signal.SIGTERM)
            self.assertEqual(manager.recv(100), b"STOPPING=1")
            self.assertEqual(daemon.process.wait(20), 0)

    def test_json_logs_are_json(self):
        daemon = self.start("--log-format", "json", "--log-level", "debug")
        daemon.stop()
        lines = [json.loads(line) for line in daemon.log.read_text().splitlines()]
        self.assertIn("ready", [line["msg"] for line in lines])
        self.assertTrue(all({"time", "level", "msg"} <= set(line) for line in lines))

    def test_json_logs_stay_json_when_it_fails(self):
        (self.directory / "state").write_text("a file")
        result = run("ironcored", "--log-format", "json", "--state-directory", self.directory / "state", "--listen",
                     f"ipc://{self.directory}/api.sock", seconds=30)
        self.assertEqual(result.code, 1, result)
        lines = [json.loads(line) for line in result.err.splitlines()]
        self.assertIn("is not a directory", lines[-1]["error"])

    def test_a_damaged_store_is_refused_and_left_alone(self):
        (self.directory / "state").mkdir(mode=0o700)
        file = self.directory / "state/ironcored.db"
        file.write_bytes(b"this is no database" * 1000)
        result = run("ironcored", "--state-directory", self.directory / "state", "--listen", f"ipc://{self.directory}/api.sock", seconds=30)
        self.assertEqual(result.code, 1, result)
        self.assertIn("ironcored.db", result.err)
        self.assertEqual(file.read_bytes(), b"this is no database" * 1000)

    def test_a_newer_store_is_refused(self):
        daemon = self.start()
        daemon.stop()
        file = self.directory / "state/ironcored.db"
        with sqlite3.connect(file) as database:
            database.execute("PRAGMA user_version = 9999")
        result = run("ironcored", "--state-directory", self.directory / "state", "--listen", f"ipc://{self.directory}/api.sock", seconds=30)
        self.assertEqual(result.code, 1, result)
        self.assertIn("newer", result.err)


class Backup(WithServer):
    def ironcored(self, *arguments):
        return run("ironcored", *arguments, "--state-directory", self.directory / "state")

    def test_a_backup_of_a_store_in_use_can_be_restored(self):
        self.ok("apply", "-f", "-", stdin=CLASS)
        target = self.directory / "backup.db"
        self.assertSays(self.ironcored("backup", target), 0)
        self.assertSays(self.ironcored("backup", target), 1, "backup.db")
        self.ok("delete", "machineclass", "small")
        self.assertEqual(self.ironcored("restore", target).code, 1, "the store is in use")
        self.server.stop()
        self.assertSays(self.ironcored("restore", target), 0)
        self.server = self.start_server()
        self.assertEqual(self.ok("get", "mc", "-o", "name"), "machineclass/small\n")

    def test_check_reads_everything(self):
        self.ok("apply", "-f", "-", stdin=CLASS)
        self.assertSays(self.ironcored("check"), 0, "in order", stream="out")
        self.server.stop()
        file = self.directory / "state/ironcored.db"
        content = bytearray(file.read_bytes())
        for at in range(4096 + 100, len(content), 512):
            content[at] ^= 0xFF
        file.write_bytes(content)
        result = self.ironcored("check")
        self.assertEqual(result.code, 1, result)
        self.assertIn("error: ", result.err)

    def test_a_file_that_is_no_backup_changes_nothing(self):
        self.ok("apply", "-f", "-", stdin=CLASS)
        self.server.stop()
        self.assertEqual(self.ironcored("restore", self.write("no.db", "nothing")).code, 1)
        self.assertEqual(self.ironcored("restore", self.directory / "none.db").code, 1)
        self.server = self.start_server()
        self.assertEqual(self.ok("get", "mc", "-o", "name"), "machineclass/small\n")


class Tcp(TempDirectory):
    """Keys are identities; without the right nothing happens."""

    def key(self, name):
        file = self.directory / f"{name}.key"
        public = run("ironcored", "keygen", file)
        self.assertEqual(public.code, 0, public)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        return file, public.out.strip()

    def setUp(self):
        super().setUp()
        self.port = three_free_ports()
        self.server_key_file, self.server_key = self.key("server")
        self.admin, admin_key = self.key("admin")
        self.viewer, viewer_key = self.key("viewer")
        self.stranger, _ = self.key("stranger")
        identities = {"identities": [{"name": "admin", "publicKey": admin_key, "rules": [{"verbs": ["*"]}]},
                                     {"name": "viewer", "publicKey": viewer_key,
                                      "rules": [{"verbs": ["read"], "resources": ["machineclasses.compute.ironcore.dev"]}]}]}
        self.identities = self.write("identities.json", json.dumps(identities))
        self.server = Daemon("ironcored", [program("ironcored"), "--state-directory", self.directory / "state", "--listen",
                                           f"tcp://127.0.0.1:{self.port}", "--key-file", self.server_key_file, "--identities-file",
                                           self.identities], self.directory)
        self.addCleanup(self.server.kill)
        self.server.wait_ready()

    def ctl(self, key, *arguments, stdin=""):
        return run("ironcorectl", "--server", f"tcp://127.0.0.1:{self.port}", "--key-file", key, "--server-key", self.server_key,
                   *arguments, stdin=stdin)

    def test_an_identity_may_do_what_its_rules_say(self):
        self.assertSays(self.ctl(self.admin, "apply", "-f", "-", stdin=CLASS), 0)
        self.assertEqual(self.ctl(self.viewer, "get", "mc", "-o", "name").out, "machineclass/small\n")
        denied = self.ctl(self.viewer, "delete", "mc", "small")
        self.assertSays(denied, 1, "viewer")
        self.assertSays(self.ctl(self.viewer, "get", "secrets"), 1, "viewer")
        self.assertEqual(self.ctl(self.admin, "get", "mc", "-o", "name").out, "machineclass/small\n")

    def test_an_unknown_key_gets_nothing(self):
        result = self.ctl(self.stranger, "get", "mc")
        self.assertEqual(result.code, 1, result)
        self.assertEqual(result.out, "")

    def test_keys_are_needed_and_never_overwritten(self):
        self.assertEqual(run("ironcorectl", "--server", f"tcp://127.0.0.1:{self.port}", "get", "mc").code, 2)
        self.assertSays(run("ironcored", "keygen", self.admin), 1, "exists")
        os.chmod(self.admin, 0o644)
        self.assertEqual(self.ctl(self.admin, "get", "mc").code // 3, 0)
        self.assertIn("admin.key", self.ctl(self.admin, "get", "mc").err)

    def test_a_port_in_use_is_named(self):
        result = run("ironcored", "--state-directory", self.directory / "other", "--listen", f"tcp://127.0.0.1:{self.port}",
                     "--key-file", self.server_key_file, "--identities-file", self.identities, seconds=30)
        self.assertEqual(result.code, 1, result)
        self.assertIn(str(self.port), result.err)

    def test_garbage_on_the_ports_harms_nobody(self):
        for port in range(self.port, self.port + 3):
            for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(50_000)):
                with socket.create_connection(("127.0.0.1", port), 10) as client:
                    try:
                        client.sendall(garbage)
                    except (BrokenPipeError, ConnectionResetError):
                        pass
        self.assertSays(self.ctl(self.admin, "apply", "-f", "-", stdin=CLASS), 0)

    def test_identities_are_read_again_on_sighup(self):
        self.identities.write_text(json.dumps({"identities": []}))
        self.server.process.send_signal(signal.SIGHUP)
        cloud.wait_until("the new identities", lambda: "identities reloaded" in self.server.tail())
        self.assertEqual(self.ctl(self.admin, "get", "mc").code, 1)
        self.identities.write_text("{")
        self.server.process.send_signal(signal.SIGHUP)
        cloud.wait_until("the error", lambda: "identities not reloaded" in self.server.tail())
        self.assertIsNone(self.server.process.poll())


if __name__ == "__main__":
    cloud.main("ironcorectl", "ironcored")
