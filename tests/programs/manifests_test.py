# SPDX-License-Identifier: Apache-2.0
"""Manifests through ironcorectl and a real ironcored: what is refused, and how; apply, get, wait, edit, delete."""
import base64
import gc
import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
import unittest

import cloud
from cloud import CLASS, MACHINE, WithServer, background


class BadManifests(WithServer):
    """Each is refused with a text that says what to do, and changes nothing."""

    def refused(self, text, code, *texts):
        before = self.ok("get", "machineclasses,machines,secrets", "-A", "-o", "name")
        self.assertSays(self.apply(text), code, *texts)
        self.assertEqual(self.ok("get", "machineclasses,machines,secrets", "-A", "-o", "name"), before)

    def test_malformed_yaml_has_line_and_column(self):
        self.refused("kind: Machine\nmetadata:\n  name: [\n", 2, "standard input:")
        self.refused("kind: Machine\n\tname: x\n", 2, "standard input:2:")

    def test_malformed_json_has_line_and_column(self):
        self.refused('{"kind": "Machine",\n "metadata": [}', 2, "standard input:2:")

    def test_a_file_is_named_with_the_place(self):
        path = self.write("web.yaml", MACHINE.replace("machineClassRef", "machineClasRef"))
        self.assertSays(self.ctl("apply", "-f", path), 2, f"{path}:7:", "machineClasRef", 'did you mean "machineClassRef"?')

    def test_unknown_kind_and_version_name_the_nearest(self):
        self.refused(MACHINE.replace("kind: Machine", "kind: Machin"), 2, "Machin", "Machine")
        self.refused(MACHINE.replace("v1alpha1", "v9"), 2, "v9")
        self.refused("metadata: {name: x}\n", 2, "apiVersion")

    def test_unknown_fields_name_the_nearest(self):
        self.refused(MACHINE + "  powr: On\n", 2, "spec.powr", 'did you mean "power"?')

    def test_wrong_types_name_the_field(self):
        self.refused(MACHINE.replace("{name: small}", "small"), 2, "spec.machineClassRef")
        self.refused(MACHINE.replace("1Gi", "lots"), 2, "spec.volumes[0].localDisk.sizeLimit")
        self.refused(MACHINE + "  power: Sideways\n", 2, "spec.power", "On")

    def test_illegal_names_name_the_field(self):
        self.refused(MACHINE.replace("name: web-1", "name: Web_1"), 2, "metadata.name")
        self.refused(MACHINE.replace("name: web-1", "name: " + "x" * 64), 2, "metadata.name")

    def test_nothing_of_a_file_with_an_unreadable_document_is_applied(self):
        self.refused(CLASS + "---\n" + MACHINE + "  powr: On\n", 2, "spec.powr")

    def test_nothing_of_a_file_with_a_wrong_document_is_applied_or_created(self):
        wrong = MACHINE.replace("web-1", "web-2").replace("sizeLimit: 1Gi", "sizeLimit: -1")
        for text, code, named in ((CLASS + "---\n" + wrong, 2, "sizeLimit"),
                                  (CLASS + "---\n" + MACHINE.replace("name: web-1", "name: web-1\n  namespace: nowhere"), 1, "namespace nowhere does not exist")):
            self.refused(text, code, "standard input:", named)
            self.assertSays(self.ctl("create", "-f", "-", stdin=text), code, named)
            self.assertEqual(self.ok("get", "machineclasses,machines", "-A", "-o", "name"), "")
        self.ok("apply", "-f", "-", stdin=CLASS)
        self.assertSays(self.ctl("create", "-f", "-", stdin=MACHINE + "---\n" + CLASS), 1, "machineclass/small exists already")
        self.assertSays(self.ctl("create", "-f", "-", stdin=MACHINE + "---\n" + MACHINE), 2, "twice")
        self.assertEqual(self.ok("get", "machines", "-o", "name"), "")
        self.assertSays(self.apply(MACHINE + "---\n" + CLASS.replace("256Mi", "512Mi")), 2, "cannot be changed")
        self.assertEqual(self.ok("get", "machines", "-o", "name"), "")
        # What a file brings with it counts.
        namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n"
        self.ok("apply", "-f", "-", stdin=namespace + "---\n" + MACHINE.replace("name: web-1", "name: web-1\n  namespace: team"))

    def test_immutable_fields_stay(self):
        self.assertSays(self.apply(CLASS + "---\n" + MACHINE), 0)
        self.refused(MACHINE.replace("{name: small}", "{name: large}"), 2, "spec.machineClassRef", "cannot be changed")
        self.refused(CLASS.replace("256Mi", "512Mi"), 2, "capabilities", "cannot be changed")

    def test_an_oversized_object_is_refused(self):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "big", "annotations": {"a": "x" * (1700 * 1024)}}}
        self.refused(json.dumps(secret), 1, "1.5 MiB")
        data = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "big"}, "data": {"a": base64.b64encode(bytes(1100 * 1024)).decode()}}
        self.refused(json.dumps(data), 2, "data")

    def test_a_stale_resource_version_is_a_conflict(self):
        self.assertSays(self.apply(CLASS + "---\n" + MACHINE), 0)
        stale = self.get("machine", "web-1")["metadata"]["resourceVersion"]
        self.ok("power", "off", "web-1")
        other = MACHINE.replace("name: web-1", "name: web-1\n  uid: 11111111-1111-4111-8111-111111111111")
        self.assertSays(self.ctl("apply", "-f", "-", stdin=other), 1, "another one now")
        gone = MACHINE.replace("name: web-1", "name: web-9\n  resourceVersion: '1'")
        self.assertSays(self.ctl("apply", "-f", "-", stdin=gone), 1, "web-9", "is not there")
        pipe = self.directory / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_text, args=(MACHINE,))
        writer.start()
        self.assertIn("machine/web-1", self.ok("apply", "-f", pipe))
        writer.join()
        late = MACHINE.replace("name: web-1", f"name: web-1\n  resourceVersion: '{stale}'\n  labels: {{a: b}}")
        result = self.apply(late)
        self.assertSays(result, 1, "machine/web-1")
        self.assertEqual(self.get("machine", "web-1")["spec"]["power"], "Off")

    def test_missing_files_and_empty_directories_are_named(self):
        self.assertSays(self.ctl("apply", "-f", self.directory / "none.yaml"), 1, "none.yaml")
        empty = self.directory / "empty"
        empty.mkdir()
        self.assertSays(self.ctl("apply", "-f", empty), 2, "no .yaml")
        self.assertSays(self.apply("# nothing\n"), 2, "no object")

    def test_a_number_out_of_all_bounds_is_refused(self):
        self.refused(CLASS.replace('cpu: "1"', "cpu: 1e99999999999"), 2, "capabilities[cpu]")

    def test_a_misspelt_kind_or_version_has_its_place(self):
        self.refused("apiVersion: v1\nKind: Secret\nmetadata: {name: s}\n", 2, "standard input:2:1: Kind", 'did you mean "kind"?')
        self.refused("kind: Secret\napiversion: v1\nmetadata: {name: s}\n", 2, "standard input:2:1: apiversion", 'did you mean "apiVersion"?')

    def test_an_object_too_large_to_be_remembered_is_told_so(self):
        variables = [{"name": f"v{i}", "value": "x" * 1024} for i in range(300)]
        machine = json.dumps({"apiVersion": "compute.ironcore.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "large"},
                              "spec": {"machineClassRef": {"name": "small"}, "efiVars": variables}})
        self.refused(machine, 1, "too large for apply", "use create, and edit")
        self.ok("create", "-f", "-", stdin=machine)
        self.assertEqual(len(self.get("machine", "large")["spec"]["efiVars"]), 300)
        data = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "large"}, "data": {"a": base64.b64encode(bytes(900 * 1024)).decode()}}
        self.assertEqual(self.ok("apply", "-f", "-", stdin=json.dumps(data)), "secret/large created\n")

    def test_too_deep_and_too_large_text_is_refused(self):
        self.refused("a: " + "[" * 100 + "]" * 100, 2, "standard input:")
        self.assertSays(self.apply("a: " + "x" * (5 << 20)), 1, "4 MiB")


class Apply(WithServer):
    def test_twice_is_unchanged(self):
        text = CLASS + "---\n" + MACHINE
        self.assertEqual(self.ok("apply", "-f", "-", stdin=text), "machineclass/small created\nmachine/web-1 created\n")
        revision = self.get("machine", "web-1")["metadata"]["resourceVersion"]
        self.assertEqual(self.ok("apply", "-f", "-", stdin=text), "machineclass/small unchanged\nmachine/web-1 unchanged\n")
        self.assertEqual(self.get("machine", "web-1")["metadata"]["resourceVersion"], revision)

    def test_what_others_set_stays_and_what_is_taken_out_goes(self):
        labelled = MACHINE.replace("name: web-1", "name: web-1\n  labels: {a: '1', b: '2'}")
        self.ok("apply", "-f", "-", stdin=labelled)
        self.ok("power", "off", "web-1")
        self.ok("apply", "-f", "-", stdin=labelled.replace(", b: '2'", ""))
        machine = self.get("machine", "web-1")
        self.assertEqual(machine["metadata"]["labels"], {"a": "1"})
        self.assertEqual(machine["spec"]["power"], "Off")

    def test_directories_json_and_lists_are_taken(self):
        folder = self.directory / "manifests"
        folder.mkdir()
        (folder / "1.yaml").write_text(CLASS)
        (folder / "2.json").write_text(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}))
        (folder / "notes.txt").write_text("not a manifest")
        self.assertEqual(self.ok("apply", "-f", folder), "machineclass/small created\nnamespace/team created\n")
        listed = self.ok("get", "machineclasses,namespaces", "-o", "json")
        self.assertNotIn("created", self.ok("apply", "-f", "-", stdin=listed))
        # A list is one, whatever is in it; what was asked for by its name is itself.
        for kind, names in (("machineclasses", ["small"]), ("machines", [])):
            of_kind = self.get(kind)
            self.assertEqual((of_kind["kind"], [one["metadata"]["name"] for one in of_kind["items"]]), ("List", names))
        self.assertNotIn("created", self.ok("apply", "-f", "-", stdin=self.ok("get", "machineclasses", "-o", "json")))
        self.assertEqual(self.get("machineclass", "small")["kind"], "MachineClass")

    def test_a_secret_is_applied_unchanged_and_never_shown(self):
        text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: very-secret-text}\n"
        self.ok("apply", "-f", "-", stdin=text)
        self.assertEqual(self.ok("apply", "-f", "-", stdin=text), "secret/s unchanged\n")
        hidden = [b"very-secret-text", base64.b64encode(b"very-secret-text")]
        for command in (["get", "secrets"], ["get", "secrets", "-o", "wide"], ["describe", "secret", "s"], ["get", "secrets", "-o", "name"]):
            shown = self.ok(*command).encode()
            self.assertFalse(any(secret in shown for secret in hidden), shown)
        secret = self.get("secret", "s")
        self.assertEqual(secret["data"], {"key": hidden[1].decode()})
        self.assertNotIn(hidden[1].decode(), json.dumps(secret["metadata"]))
        self.assertIn("16 bytes", self.ok("describe", "secret", "s"))

    def test_a_secret_may_have_keys_without_a_text(self):
        self.ok("apply", "-f", "-", stdin="apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a:\n  b: c\n")
        self.assertEqual(self.get("secret", "s")["data"], {"b": base64.b64encode(b"c").decode()})

    def test_numbers_keep_their_digits(self):
        text = CLASS.replace('cpu: "1"', "cpu: 1.5, deci: 1234567890.123456789, big: 9007199254740993")
        self.ok("apply", "-f", "-", stdin=text)
        shown = self.get("machineclass", "small")["capabilities"]
        self.assertEqual((shown["cpu"], shown["deci"], shown["big"]), ("1500m", "1234567890123456789n", "9007199254740993"))
        self.assertEqual(self.ok("apply", "-f", "-", stdin=text), "machineclass/small unchanged\n")
        self.assertIn("9007199254740993", self.get("machineclass", "small")["metadata"]["annotations"]["ironcore.dev/last-applied"])

    def test_a_machine_of_the_original_is_applied_unchanged(self):
        self.ok("apply", "-f", "-", stdin=ORIGINAL)
        spec = self.get("machine", "webapp")["spec"]
        interface = spec["networkInterfaces"][0]["ephemeral"]["networkInterfaceTemplate"]["spec"]
        self.assertEqual(interface["ips"][0]["ephemeral"]["prefixTemplate"]["spec"]["prefixLength"], 32)
        self.assertEqual(spec["tolerations"], [{"key": "a"}])
        self.assertEqual(self.ok("apply", "-f", "-", stdin=ORIGINAL), "machine/webapp unchanged\n")
        wrong = ORIGINAL.replace("parentRef:", "prefixLength: 24\n                  parentRef:")
        self.assertSays(self.apply(wrong), 2, "ips[0].ephemeral.prefixTemplate.spec.prefixLength", "single address")

    def test_create_refuses_what_exists_and_generates_names(self):
        self.ok("create", "-f", "-", stdin=CLASS)
        self.assertSays(self.ctl("create", "-f", "-", stdin=CLASS), 1, "small", "exists")
        generated = MACHINE.replace("name: web-1", "generateName: web-")
        self.assertRegex(self.ok("create", "-f", "-", stdin=generated), r"^machine/web-[a-z0-9]{5,} created\n$")
        self.assertSays(self.apply(generated), 2, "metadata.name is missing")

    def test_a_manifest_goes_into_the_namespace_of_the_flag(self):
        self.ok("apply", "-f", "-", stdin="apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n")
        self.ok("apply", "-n", "team", "-f", "-", stdin=MACHINE)
        self.assertEqual(self.get("machine", "web-1", "-n", "team")["metadata"]["namespace"], "team")
        self.assertSays(self.apply(MACHINE.replace("name: web-1", "name: web-1\n  namespace: nowhere")), 1, "nowhere")


class Get(WithServer):
    def setUp(self):
        super().setUp()
        self.ok("apply", "-f", "-", stdin=CLASS + "---\n" + MACHINE.replace("name: web-1", "name: web-1\n  labels: {app: web}"))

    def test_tables_have_the_columns_of_the_reference(self):
        lines = self.ok("get", "machines").splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "MACHINECLASSREF", "IMAGE", "MACHINEPOOLREF", "STATE", "AGE"])
        self.assertEqual(lines[1].split()[:2] + lines[1].split()[4:5], ["web-1", "small", "Pending"])
        self.assertEqual(self.ok("get", "mc").splitlines()[0].split(), ["NAME", "CPU", "MEMORY", "AGE"])
        self.assertEqual(self.ok("get", "machines", "-A").splitlines()[0].split()[0], "NAMESPACE")

    def test_kinds_are_known_by_every_name(self):
        for word in ("machines", "machine", "m", "Machine", "MACHINES", "machines.compute.ironcore.dev"):
            self.assertEqual(self.ok("get", word, "-o", "name"), "machine/web-1\n")
        self.assertEqual(self.ok("get", "machine/web-1", "mc/small", "-o", "name"), "machine/web-1\nmachineclass/small\n")

    def test_selectors_choose(self):
        self.assertEqual(self.ok("get", "machines", "-l", "app=web", "-o", "name"), "machine/web-1\n")
        self.assertIn("no machines in namespace default", self.ctl("get", "machines", "-l", "app=db").err)
        self.assertEqual(self.ok("get", "machines", "--field-selector", "spec.machineClassRef.name=small", "-o", "name"), "machine/web-1\n")
        self.assertSays(self.ctl("get", "machines", "-l", "a=b=c"), 2, "a=b=c")

    def test_yaml_can_be_applied_again(self):
        text = self.ok("get", "machineclasses,machines", "-o", "yaml")
        self.assertIn("\n---\n", text)
        self.assertNotIn("created", self.ok("apply", "-f", "-", stdin=text))

    def test_what_is_not_there_is_named_after_what_is(self):
        result = self.ctl("get", "machine", "web-1", "web-2", "-o", "name")
        self.assertEqual((result.code, result.out), (1, "machine/web-1\n"))
        self.assertIn("web-2", result.err)

    def test_watch_ends_when_nobody_reads_any_more(self):
        with background("ironcorectl", "get", "machines", "-w", environment={"IRONCORE_SERVER": self.endpoint}) as watch:
            self.assertIn("NAME", watch.stdout.readline())
            watch.stdout.close()
            self.assertEqual(watch.wait(20), 0)
            self.assertEqual(watch.stderr.read(), "")
            watch.stdout = open(os.devnull)

    def test_objects_that_cannot_be_written_are_an_error(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([str(cloud.program("ironcorectl")), "get", "machines", "-o", "yaml", "--server", self.endpoint], stdout=full,
                                    stderr=subprocess.PIPE, text=True)
        self.assertEqual((result.returncode, result.stderr), (1, "error: write the output: no space left on device: make room\n"))

    def test_columns_of_changes_stand_below_their_headers(self):
        with background("ironcorectl", "get", "machines", "-w", environment={"IRONCORE_SERVER": self.endpoint}) as watch:
            header = watch.stdout.readline()
            watch.stdout.readline()
            self.ok("power", "off", "web-1")
            changed = watch.stdout.readline()
            self.assertEqual(header.index("NAME"), changed.index("web-1"))

    def test_a_state_that_never_comes_names_the_nearest(self):
        self.assertSays(self.ctl("get", "machines", "--field-selector", "status.state=Runing"), 2, '"Runing"', 'did you mean "Running"')
        self.assertSays(self.ctl("get", "machines", "--field-selector", "status.state=Running"), 0)

    def test_watch_shows_every_change_in_order(self):
        with background("ironcorectl", "get", "machines", "-w", environment={"IRONCORE_SERVER": self.endpoint}) as watch:
            lines = []
            reader = threading.Thread(target=lambda: lines.extend(iter(watch.stdout.readline, "")))
            reader.start()
            cloud.wait_until("the first table", lambda: len(lines) >= 2)
            self.ok("power", "off", "web-1")
            self.ok("delete", "machine", "web-1", "--now")
            cloud.wait_until("the changes", lambda: any(line.startswith("deleted") for line in lines))
            watch.terminate()
            self.assertEqual(watch.wait(10), 0)
            reader.join()
        changes = [line.split()[0] for line in lines[2:]]
        self.assertEqual((changes[0], changes[-1]), ("modified", "deleted"), lines)

    def test_a_table_fits_the_terminal(self):
        def look(terminal):
            chunks = b""
            while select.select([terminal], [], [], 20)[0]:
                try:
                    chunk = os.read(terminal, 65536)
                except OSError:
                    break
                if not chunk:
                    break
                chunks += chunk
            return chunks.decode()

        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(IRONCORE_SERVER=self.endpoint)
            os.execl("/bin/sh", "sh", "-c", f"stty cols 50; exec {cloud.program('ironcorectl')} get machines -o wide")
        text = look(terminal)
        os.waitpid(child, 0)
        os.close(terminal)
        lines = text.replace("\r", "").splitlines()
        self.assertTrue(lines and all(len(line) <= 50 for line in lines), lines)
        self.assertIn("…", text)


ORIGINAL = """
apiVersion: compute.ironcore.dev/v1alpha1
kind: Machine
metadata:
  name: webapp
spec:
  machineClassRef:
    name: small
  networkInterfaces:
  - name: primary
    ephemeral:
      networkInterfaceTemplate:
        spec:
          networkRef:
            name: my-network
          ipFamilies:
          - IPv4
          ips:
          - ephemeral:
              prefixTemplate:
                spec:
                  parentRef:
                    name: p
          virtualIP:
            ephemeral:
              virtualIPTemplate:
                spec:
                  type: Public
                  ipFamily: IPv4
  volumes:
  - name: root
    ephemeral:
      volumeTemplate:
        spec:
          volumeClassRef: {name: fast}
          resources: {storage: 10Gi}
          volumePoolSelector: {a: b}
          dataSource: {osImage: {image: x}}
          encryption: {secretRef: {name: s}}
  tolerations:
  - key: a
    operator: ""
    effect: ""
"""


@unittest.skipUnless((cloud.BUILD / "bindings/python").exists(), "built without Python")
class MembersOfLaterVersions(WithServer):
    """An object that a later version wrote has members, and numbers, that this one does not know."""

    def setUp(self):
        super().setUp()
        self.server.stop()
        sys.path.insert(0, str(cloud.BUILD / "bindings/python"))
        import ironcore
        store = ironcore.Store.sqlite(str(self.directory / "state/ironcored.db"))
        store.create({"apiVersion": "compute.ironcore.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "web-1", "namespace": "default"},
                      "spec": {"machineClassRef": {"name": "small"}}})
        store.patch("machine", "web-1", '{"spec":{"big":1e99999999999,"later":[{"size":1234567890.123456789}]}}')
        del store
        gc.collect()
        self.start_server()

    def test_they_survive_every_command(self):
        self.assertIn("1e99999999999", self.ok("describe", "machine", "web-1"))
        waited = self.ctl("wait", "machine/web-1", "--for", "condition=Ready", "--timeout", "100ms")
        self.assertEqual(waited.code, 1, waited)
        self.assertIn("error: machine/web-1 did not reach condition=Ready in time", waited.err)
        self.ok("edit", "machine", "web-1", environment={"EDITOR": "sed -i 's/power: .*/power: \"Off\"/'"})
        printed = self.ok("get", "machine", "web-1", "-o", "yaml")
        self.assertIn("power: \"Off\"", printed)
        self.ok("apply", "-f", "-", stdin=printed.replace("power: \"Off\"", "power: \"On\""))
        machine = self.ok("get", "machine", "web-1", "-o", "yaml")
        for text in ("power: \"On\"", "big: 1e99999999999\n", "size: 1234567890.123456789\n"):
            self.assertIn(text, machine)
        self.assertSays(self.apply(printed.replace("  later:", "  latter:")), 2, "spec.latter")
        self.assertSays(self.ctl("create", "-f", "-", stdin=printed), 2, "spec.big")


class OtherCommands(WithServer):
    def setUp(self):
        super().setUp()
        self.ok("apply", "-f", "-", stdin=CLASS + "---\n" + MACHINE)

    def test_wait_succeeds_times_out_and_names_the_last_state(self):
        self.assertEqual(self.ok("wait", "machine/web-1", "--for", "spec.power=On"), "machine/web-1 spec.power=On\n")
        self.assertEqual(self.ok("wait", "machine", "web-1", "--for", "jsonpath={.spec.power}=On"), "machine/web-1 jsonpath={.spec.power}=On\n")
        result = self.ctl("wait", "machine/web-1", "--for", "state=Running", "--timeout", "300ms")
        self.assertEqual(result.code, 1, result)
        self.assertIn("error: machine/web-1 did not reach state=Running in time; it is: Pending", result.err)
        self.assertSays(self.ctl("wait", "machine/web-2", "--for", "state=Running"), 1, "web-2", "not found")
        self.assertSays(self.ctl("wait", "machine/web-1", "--for", "running"), 2, "--for")

    def test_wait_refuses_what_never_comes(self):
        self.assertSays(self.ctl("wait", "machine/web-1", "--for", "state=Runing"), 2, 'did you mean "Running"')
        self.assertSays(self.ctl("wait", "machine/web-1", "--for", "condition=Redy"), 2, 'did you mean "Ready"')
        self.assertSays(self.ctl("wait", "machine/web-1", "--for", "condition=Ready=true"), 2, 'did you mean "True"')
        self.assertSays(self.ctl("wait", "machine/web-1", "--for", "spec.powr=On"), 2, "--for", 'did you mean "power"')
        self.assertSays(self.ctl("wait", "machine/web-1", "--for", "=On"), 2, "--for")
        self.assertSays(self.ctl("wait", "machine/web-1", "--for", "spec..=On"), 2, "--for")
        self.assertSays(self.ctl("wait", "machine/web-1"), 2, "--for WHAT is missing")

    def test_wait_for_two_things_needs_both(self):
        self.assertEqual(self.ok("wait", "machine/web-1", "--for", "exists", "--for", "spec.power=On"), "machine/web-1 exists and spec.power=On\n")
        for conditions in (("--for", "exists", "--for", "state=Running"), ("--for", "state=Running", "--for", "exists")):
            result = self.ctl("wait", "machine/web-1", *conditions, "--timeout", "200ms")
            self.assertEqual(result.code, 1, result)
            self.assertIn("did not reach", result.err)
        self.assertSays(self.ctl("wait", "machine/web-1", "--for", "delete", "--for", "exists"), 2, "stands alone")

    def test_wait_sees_a_change_that_comes_later(self):
        environment = {"IRONCORE_SERVER": self.endpoint}
        with background("ironcorectl", "wait", "machine/web-1", "--for", "spec.power=Off", environment=environment) as waiting:
            time.sleep(0.3)  # not needed for the result: makes it likely that the change comes while it waits
            self.ok("power", "off", "web-1")
            self.assertEqual(waiting.wait(20), 0)
        with background("ironcorectl", "wait", "machine/web-1", "--for", "delete", environment=environment) as waiting:
            self.ok("delete", "machine", "web-1")
            self.assertEqual(waiting.wait(20), 0)

    def test_explain_says_that_the_pool_of_a_machine_does_not_exist(self):
        self.apply(MACHINE.replace("name: web-1", "name: lost").replace("spec:", "spec:\n  machinePoolRef: {name: nopool}", 1))
        self.assertIn("nopool, which does not exist: start libvirt-providerd with --pool-name nopool", self.ok("explain", "machine", "lost"))

    def test_explain_says_what_makes_the_missing_pool_of_a_volume_or_bucket(self):
        for kind, others in (("Volume", ", resources: {storage: 1Gi}"), ("Bucket", "")):
            word = kind.lower()
            self.ok("apply", "-f", "-", stdin=f"""
apiVersion: storage.ironcore.dev/v1alpha1
kind: {kind}
metadata: {{name: lost}}
spec: {{{word}ClassRef: {{name: fast}}, {word}PoolRef: {{name: nopool}}{others}}}
""")
            self.assertIn(f"nopool, which does not exist: start ceph-providerd with --{word}-pool nopool", self.ok("explain", word, "lost"))

    def test_explain_says_why_not(self):
        self.assertIn("no machine pools", self.ok("explain", "machine", "web-1"))
        pool = "apiVersion: compute.ironcore.dev/v1alpha1\nkind: MachinePool\nmetadata: {name: p1}\nspec: {providerID: 'x://p1'}\n"
        self.ok("apply", "-f", "-", stdin=pool)
        shown = self.ok("explain", "machine/web-1")
        self.assertRegex(shown, r"p1 +no +\d+ +.*Ready")
        self.assertSays(self.ctl("explain", "mc", "small"), 2, "explain takes a machine, a volume or a bucket")

    def test_explain_says_why_volumes_and_buckets_wait(self):
        self.ok("apply", "-f", cloud.ROOT / "examples" / "storage.yaml")
        self.assertEqual(self.ok("explain", "volume", "data"), "volume/data is not placed: no volume pools\n")
        self.assertEqual(self.ok("explain", "bucket", "pictures"), "bucket/pictures is not placed: no bucket pools\n")
        self.ok("delete", "-f", cloud.ROOT / "examples" / "storage.yaml")

    def test_describe_and_events_show_why_it_waits(self):
        cloud.wait_until("the event", lambda: "OutOfCapacity" in self.ctl("events", "web-1").out)
        shown = self.ok("describe", "machine", "web-1")
        for text in ("Name:", "web-1", "Machine Class Ref:", "OutOfCapacity"):
            self.assertIn(text, shown)
        self.assertNotIn("last-applied", shown)
        self.assertRegex(shown, r"Creation Timestamp: +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n")

    def test_edit_writes_what_was_changed(self):
        result = self.ctl("edit", "machine", "web-1", environment={"EDITOR": "sed -i 's/power: .*/power: \"Off\"/'"})
        self.assertSays(result, 0, "edited", stream="out")
        self.assertEqual(self.get("machine", "web-1")["spec"]["power"], "Off")
        self.assertSays(self.ctl("edit", "machine", "web-1", environment={"EDITOR": "true"}), 0, "unchanged", stream="out")

    def test_edit_keeps_what_others_changed_meanwhile(self):
        editor = self.write("editor", f"#!/bin/sh\n{cloud.program('ironcorectl')} power off web-1 >/dev/null\n"
                                      "sed -i 's/^  name: web-1/  labels: {edited: \"yes\"}\\n  name: web-1/' \"$1\"\n")
        editor.chmod(0o755)
        self.ok("edit", "machine", "web-1", environment={"EDITOR": str(editor)})
        machine = self.get("machine", "web-1")
        self.assertEqual((machine["spec"]["power"], machine["metadata"]["labels"]), ("Off", {"edited": "yes"}))

    def test_a_refused_edit_is_kept_in_a_file(self):
        result = self.ctl("edit", "machine", "web-1", environment={"EDITOR": "sed -i 's/power: .*/power: Sideways/'", "TMPDIR": str(self.directory)})
        self.assertSays(result, 1, "spec.power", "kept in")
        kept = list(self.directory.glob("ironcorectl-edit-*"))
        self.assertEqual(len(kept), 1)
        self.assertIn("Sideways", kept[0].read_text())
        self.assertSays(self.ctl("edit", "machine", "web-1", environment={"EDITOR": "false"}), 1, "nothing was changed")

    def wrong_editor(self):
        """Writes something wrong each time, and each time something else; how often stands in `count`."""
        count = self.directory / "count"
        editor = self.write("editor", f"#!/bin/sh\necho >>{count}\nsed -i \"s/power: .*/power: Sideways$(wc -l <{count})/\" \"$1\"\n")
        editor.chmod(0o755)
        return {"EDITOR": str(editor), "TMPDIR": str(self.directory)}, lambda: len(count.read_text()) if count.exists() else 0

    def test_an_edit_without_a_terminal_is_tried_once(self):
        environment, count = self.wrong_editor()
        self.assertSays(self.ctl("edit", "machine", "web-1", environment=environment, seconds=20), 1, "spec.power", "kept in")
        self.assertEqual(count(), 1)

    def test_an_edit_at_a_terminal_goes_on_until_a_signal(self):
        environment, count = self.wrong_editor()
        master, terminal = pty.openpty()
        self.addCleanup(os.close, master)
        process = subprocess.Popen([str(cloud.program("ironcorectl")), "edit", "machine", "web-1"], stdin=terminal, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"], "IRONCORE_SERVER": self.endpoint, **environment})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.close(terminal)
        cloud.wait_until("the editor comes again", lambda: count() >= 3)
        process.terminate()
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out), (1, ""), err)
        self.assertIn("kept in", err)

    def test_what_is_being_deleted_can_be_edited(self):
        self.ok("apply", "-f", "-", stdin="""
apiVersion: storage.ironcore.dev/v1alpha1
kind: Bucket
metadata: {name: pictures, finalizers: [example.org/kept]}
""")
        self.ok("delete", "bucket", "pictures", "--now")
        change = "sed -i 's/^  annotations:/&\\n    storage.ironcore.dev\\/remove-content: \"true\"/'"
        self.ok("edit", "bucket", "pictures", "-n", "default", environment={"EDITOR": change})
        self.assertEqual(self.get("bucket", "pictures")["metadata"]["annotations"]["storage.ironcore.dev/remove-content"], "true")

    def test_delete_says_what_it_did(self):
        self.assertEqual(self.ok("delete", "machine", "web-1"), "machine/web-1 deleted\n")
        self.assertSays(self.ctl("delete", "machine", "web-1"), 1, "web-1", "does not exist")
        self.ok("delete", "machine", "web-1", "--ignore-not-found")
        self.ok("apply", "-f", "-", stdin=CLASS + "---\n" + MACHINE)
        self.assertEqual(self.ok("delete", "-f", "-", stdin=CLASS + "---\n" + MACHINE), "machine/web-1 deleted\nmachineclass/small deleted\n")
        self.assertEqual(self.ctl("get", "machines").out, "")

    def test_a_class_in_use_waits_and_says_for_whom(self):
        result = self.ctl("delete", "machineclass", "small", "--timeout", "1s")
        self.assertEqual(result.code, 1, result)
        self.assertIn("it is: being deleted: held by finalizer compute.ironcore.dev/machineclass; used by machine/web-1 in namespace default", result.err)
        self.assertSays(self.apply(CLASS), 1, "standard input:", "machineclass/small is being deleted: wait until it is gone")
        self.ok("delete", "machine", "web-1")
        self.ok("wait", "machineclass/small", "--for", "delete")

    def test_a_volume_and_a_class_of_storage_in_use_wait_and_say_for_whom(self):
        self.ok("apply", "-f", cloud.ROOT / "examples" / "storage.yaml")
        result = self.ctl("delete", "volumeclass", "fast", "--timeout", "1s")
        self.assertIn("held by finalizer storage.ironcore.dev/volumeclass; used by volume/data in namespace default", result.err)
        claim = {"apiVersion": "storage.ironcore.dev/v1alpha1", "kind": "Volume", "metadata": {"name": "claimed"},
                 "spec": {"claimRef": {"name": "web-1", "uid": json.loads(self.ok("get", "machine", "web-1", "-o", "json"))["metadata"]["uid"]}}}
        self.ok("apply", "-f", "-", stdin=json.dumps(claim))
        result = self.ctl("delete", "volume", "claimed", "--timeout", "1s")
        self.assertIn("held by finalizer storage.ironcore.dev/volume-claim; used by machine/web-1", result.err)
        self.ok("delete", "machine", "web-1")
        for gone in ("volume/claimed", "volumeclass/fast"):
            self.ok("delete", "volume", "data", "--ignore-not-found")
            self.ok("wait", gone, "--for", "delete")
        self.ok("delete", "-f", cloud.ROOT / "examples" / "storage.yaml", "--ignore-not-found")

    def test_the_kinds_of_storage_are_applied_shown_and_refused(self):
        storage = (cloud.ROOT / "examples" / "storage.yaml").read_text()
        self.ok("apply", "-f", "-", stdin=storage)
        self.assertRegex(self.ok("get", "volumeclasses"), r"^NAME +TPS +IOPS +AGE\nfast +200Mi +15k ")
        self.assertRegex(self.ok("get", "vol"), r"^NAME +VOLUMEPOOLREF +IMAGE +VOLUMECLASS +STATE +AGE\ndata +<none> +<none> +fast +Pending ")
        self.assertRegex(self.ok("get", "volumesnapshots"), r"^NAME +VOLUMEREF +STATE +AGE\ndata-before-upgrade +data +Pending ")
        self.assertRegex(self.ok("get", "buckets"), r"^NAME +BUCKETPOOLREF +BUCKETCLASS +STATE +AGE\npictures +<none> +standard +Pending ")
        self.assertEqual(self.ok("get", "bucketclasses,bucketpools,volumepools", "-o", "name"), "bucketclass/standard\n")
        self.ok("apply", "-f", "-", stdin=storage.replace("10Gi", "11Gi"))
        self.assertSays(self.apply(storage), 2, "spec.resources[storage]", "cannot shrink from 11Gi to 10Gi")
        self.assertSays(self.ctl("get", "buckets", "--field-selector", "status.state=Availabel"), 2, 'did you mean "Available"?')
        self.ok("delete", "-f", "-", stdin=storage.replace("10Gi", "11Gi"))

    def test_version_names_the_server(self):
        self.assertRegex(self.ok("version"), rf"^client  \d+\.\d+\.\d+\nserver  ironcored \d+\.\d+\.\d+ at {self.endpoint}, revision \d+\n$")

    def test_names_of_commands_are_names_of_objects_too(self):
        help_text = self.ok("--help").partition("\nCommands:\n")[2].partition("\n\n")[0]
        commands = [line.split()[0] for line in help_text.splitlines()]
        self.assertIn("delete", commands)
        for command in commands:
            with self.subTest(command):
                # As a kind it is unknown, as a name it is not there: neither runs the command.
                self.assertSays(self.ctl("get", command, "machine/web-1"), 2)
                self.assertSays(self.ctl("get", "machine", command), 1, command, "not")
                result = self.ctl("events", "machine", command, "--now")
                self.assertSays(result, 2, "--now")
                self.ok("events", "-n", command)
        self.ok("get", "machine", "web-1")
        self.ok("apply", "-f", "-", stdin=MACHINE.replace("web-1", "delete"))
        self.assertEqual(self.ok("get", "machine", "delete", "-o", "name"), "machine/delete\n")

    def test_a_wrong_name_among_machines_changes_none_of_them(self):
        self.assertSays(self.ctl("power", "off", "web-1", "nosuch"), 1, "nosuch")
        self.assertSays(self.ctl("reboot", "web-1", "nosuch"), 1, "nosuch")
        machine = self.get("machine", "web-1")
        self.assertEqual(machine["spec"]["power"], "On")
        self.assertNotIn("compute.ironcore.dev/reboot", machine["metadata"].get("annotations", {}))

    def test_a_machine_that_is_off_is_not_rebooted_but_explained(self):
        self.ok("power", "off", "web-1")
        self.assertSays(self.ctl("reboot", "web-1", "--wait"), 1, "machine/web-1 is off", "ironcorectl power on web-1")

    def test_a_console_of_a_machine_that_waits_says_for_what(self):
        for command in ("console", "logs"):
            self.assertSays(self.ctl(command, "web-1"), 1, "machine/web-1 is pending, on no host yet", "ironcorectl explain machine web-1")

    def test_a_second_apply_after_binding_changes_nothing(self):
        pool = "apiVersion: compute.ironcore.dev/v1alpha1\nkind: MachinePool\nmetadata: {name: p1}\nspec: {providerID: 'x://p1'}\n"
        bound = MACHINE.replace("web-1", "web-2") + "  machinePoolRef: {name: p1}\n"
        self.ok("apply", "-f", "-", stdin=pool + "---\n" + bound)
        before = self.get("machine", "web-2")
        # As the scheduler does: the manifest that was applied does not name the pool.
        unbound = MACHINE.replace("web-1", "web-3")
        self.ok("apply", "-f", "-", stdin=unbound)
        self.ok("edit", "machine", "web-3", environment={"EDITOR": "sed -i 's/^  power:/  machinePoolRef: {name: p1}\\n  power:/'"})
        self.assertEqual(self.get("machine", "web-3")["spec"]["machinePoolRef"], {"name": "p1"})
        for text in (pool, bound, unbound, CLASS):
            said = self.ok("apply", "-f", "-", stdin=text)
            self.assertTrue(said.endswith(" unchanged\n"), said)
        self.assertEqual(self.get("machine", "web-2")["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"])


if __name__ == "__main__":
    cloud.main("ironcorectl", "ironcored")
