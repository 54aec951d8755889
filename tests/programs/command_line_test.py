# SPDX-License-Identifier: Apache-2.0
"""Command lines, help, completion and config files: everything that needs no server."""
import os
import shutil
import signal
import subprocess

import cloud
from cloud import TempDirectory, run


class CommandLine(TempDirectory):
    def test_an_unknown_command_names_the_nearest(self):
        self.assertSays(run("ironcorectl", "gte", "machines"), 2, 'unknown command "gte"', 'did you mean "get"')

    def test_an_unknown_flag_names_the_nearest(self):
        self.assertSays(run("ironcorectl", "get", "machines", "--ouput", "json"), 2, "unknown flag --ouput", "--output")
        self.assertSays(run("ironcored", "--state-dir", "x"), 2, "unknown flag --state-dir", "--state-directory")

    def test_a_wrong_value_says_what_was_expected(self):
        self.assertSays(run("ironcorectl", "get", "machines", "-o", "jsn"), 2, "--output", "table, wide, json, yaml or name", '"jsn"')
        self.assertSays(run("ironcorectl", "wait", "machine/a", "--for", "exists", "--timeout", "soon"), 2, "--timeout", "90s")
        self.assertSays(run("libvirt-providerd", "--accelerator", "fast"), 2, "--accelerator", "auto, kvm or tcg")
        self.assertSays(run("libvirt-providerd", "--reserved-memory", "much"), 2, "--reserved-memory", "512Mi")

    def test_missing_words_are_named(self):
        self.assertSays(run("ironcorectl"), 2, "a command is missing")
        self.assertSays(run("ironcorectl", "get"), 2, "KIND")
        self.assertSays(run("ironcorectl", "apply"), 2, "-f FILE is missing")
        self.assertSays(run("ironcorectl", "delete", "machine"), 2, "which machine")
        self.assertSays(run("libvirt-providerd"), 2, "pool-name is missing")

    def test_an_unknown_kind_names_the_nearest(self):
        self.assertSays(run("ironcorectl", "get", "machnes"), 2, "machnes", "machines")

    def test_a_selector_with_files_is_refused(self):
        self.assertSays(run("ironcorectl", "delete", "-f", "x.yaml", "-l", "app=x"), 2, "-f takes neither -l nor --all")
        self.assertSays(run("ironcorectl", "delete", "-f", "x.yaml", "--all"), 2, "-f takes neither -l nor --all")

    def test_two_dashes_abort_nothing(self):
        for name in ("ironcored", "libvirt-providerd", "ceph-providerd", "ironcorectl"):
            for words in (["--", "x"], ["---"], ["--", "--"]):
                with self.subTest(name, words=words):
                    self.assertEqual(run(name, *words).code, 2)

    def test_output_that_cannot_be_written_is_an_error(self):
        for name, *arguments in (("ironcorectl", "version", "--client"), ("ironcorectl", "get", "--help"), ("ironcored", "--help"),
                                 ("libvirt-providerd", "--print-config")):
            with self.subTest(name), open("/dev/full", "w") as full:
                result = subprocess.run([str(cloud.program(name)), *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
                self.assertEqual((result.returncode, result.stderr), (1, "error: write the output: no space left on device: make room\n"))

    def test_help_and_version_are_found_where_people_look(self):
        self.assertEqual(run("ironcorectl", "help").out, run("ironcorectl", "--help").out)
        self.assertEqual(run("ironcorectl", "help", "get").out, run("ironcorectl", "get", "--help").out)
        self.assertRegex(run("ironcorectl", "--version").out, r"^ironcorectl \d+\.\d+\.\d+\n$")
        self.assertIn("Exit codes: 0 ", run("ironcorectl", "--help").out)

    def test_illegal_names_are_refused_before_anything_is_sent(self):
        self.assertSays(run("ironcorectl", "get", "machine", "Web_1"), 2, "Web_1", "lower-case")
        self.assertSays(run("libvirt-providerd", "--pool-name", "Host 1"), 2, "pool-name")

    def test_help_teaches_by_example(self):
        for name in ("ironcored", "libvirt-providerd", "ceph-providerd", "ironcorectl"):
            result = run(name, "--help")
            self.assertEqual((result.code, result.err), (0, ""), result)
            self.assertIn("Examples:\n  " + name, result.out)
        for command in ("apply", "get", "delete", "wait", "console", "power", "explain", "dataplane", "routes", "version", "completion"):
            result = run("ironcorectl", command, "--help")
            self.assertEqual(result.code, 0, result)
            self.assertIn(f"ironcorectl {command}", result.out)

    def test_every_program_says_its_version(self):
        for name in ("ironcored", "libvirt-providerd", "ceph-providerd"):
            result = run(name, "--version")
            self.assertRegex(result.out, rf"^{name} \d+\.\d+\.\d+\n$")
        self.assertRegex(run("ironcorectl", "version", "--client").out, r"^client +\d+\.\d+\.\d+\n$")

    def test_a_closed_output_is_an_error_and_nobody_elses_file(self):
        for descriptor in (0, 1, 2):
            result = subprocess.run(["sh", "-c", f'exec "$0" version --client {descriptor}>&-', str(cloud.program("ironcorectl"))], text=True,
                                    capture_output=True)
            self.assertEqual(result.returncode, 1 if descriptor == 1 else 0, result)
            if descriptor == 1:
                self.assertIn("error: write the output: bad file descriptor", result.stderr)

    def test_no_server_is_an_error_that_names_the_endpoint(self):
        result = run("ironcorectl", "get", "machines", "--server", f"ipc://{self.directory}/nobody.sock")
        self.assertSays(result, 1, "nobody.sock")

    def test_completion_scripts_are_accepted_by_their_shells(self):
        for shell, check in (("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])):
            result = run("ironcorectl", "completion", shell)
            self.assertEqual(result.code, 0, result)
            script = self.write(f"completion.{shell}", result.out)
            if shutil.which(shell):
                subprocess.run([*check, str(script)], check=True)
        self.assertSays(run("ironcorectl", "completion", "csh"), 2, "bash, zsh or fish")

    def test_bash_completes_commands_kinds_and_flags(self):
        script = self.write("completion.bash", run("ironcorectl", "completion", "bash").out)

        def complete(*words):
            line = f"source {script}; COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _ironcorectl; echo \"${{COMPREPLY[@]}}\""
            return subprocess.run(["bash", "-c", line], check=True, text=True, capture_output=True).stdout.split()

        self.assertEqual(complete("ironcorectl", "desc"), ["describe"])
        self.assertEqual(complete("ironcorectl", "get", "machinep"), ["machinepools"])
        self.assertEqual(complete("ironcorectl", "get", "volumesn"), ["volumesnapshots"])
        self.assertEqual(complete("ironcorectl", "get", "machines", "--watc"), ["--watch"])
        self.assertEqual(complete("ironcorectl", "-n", "x", "get", "-o", "wi"), ["wide"])
        self.assertEqual(complete("ironcorectl", "power", "o"), ["on", "off"])
        self.assertEqual(complete("ironcorectl", "get", "--output", "=", "ya"), ["yaml"])
        self.assertEqual(complete("ironcorectl", "logs", "-f", "--tai"), ["--tail"])
        self.assertEqual(complete("ironcorectl", "dataplane", "open"), ["open-port"])
        self.assertEqual(complete("ironcorectl", "dataplane", "get", "rou"), ["routes"])
        self.assertEqual(complete("ironcorectl", "dataplane", "watch", "routes", "tar"), ["targets"])
        self.assertEqual(complete("ironcorectl", "dataplane", "watch", "--cou"), ["--count", "--counters"])
        self.assertEqual(complete("ironcorectl", "dataplane", "capture", "st"), ["start", "stop"])
        self.assertEqual(complete("ironcorectl", "dataplane", "explain", "web-1", "s"), ["sctp"])
        self.assertEqual(complete("ironcorectl", "dataplane", "apply", ""), [])
        self.assertEqual(complete("ironcorectl", "routes", "st"), ["status"])
        self.assertEqual(complete("ironcorectl", "routes", "status", ""), [])
        self.assertEqual(complete("ironcorectl", "routes", "dump", "100", "--from", ""), ["everywhere", "here", "peers"])
        self.assertEqual(complete("ironcorectl", "completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(complete("ironcorectl", "completion", "bash", ""), [])

    def test_bash_asks_the_dataplane_of_the_line(self):
        script = self.write("completion.bash", run("ironcorectl", "completion", "bash").out)
        asked = self.directory / "asked"
        self.write("ironcorectl", f"#!/bin/sh\nprintf '%s\\n' \"$*\" >>{asked}\necho rule web-1 http\n").chmod(0o755)

        def complete(*words):
            line = f"source {script}; COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _ironcorectl; echo \"${{COMPREPLY[@]}}\""
            environment = dict(os.environ, PATH=f"{self.directory}:{os.environ['PATH']}")
            return subprocess.run(["bash", "-c", line], check=True, text=True, capture_output=True, env=environment).stdout.split()

        self.assertIn("vnis", complete("ironcorectl", "dataplane", "get", ""))
        self.assertIn("vnis", complete("ironcorectl", "dataplane", "watch", "v"))
        self.assertNotIn("vnis", complete("ironcorectl", "dataplane", "delete", "v"))
        self.assertEqual(complete("ironcorectl", "dataplane", "delete", "rule", ""), ["web-1"])
        self.assertEqual(complete("ironcorectl", "dataplane", "--dataplane", "ipc:///x", "delete", "rule", "web-1", ""), ["http"])
        self.assertEqual(complete("ironcorectl", "dataplane", "get", "rules", "--interface", "w"), ["web-1"])
        self.assertEqual(complete("ironcorectl", "dataplane", "close-port", ""), ["web-1"])
        self.assertEqual(asked.read_text().splitlines(), ["dataplane get rule -o name", "dataplane get rule -o name --dataplane ipc:///x",
                                                          "dataplane get interfaces -o name", "dataplane ports -o name"])

    def test_bash_asks_the_server_and_the_namespace_of_the_line(self):
        script = self.write("completion.bash", run("ironcorectl", "completion", "bash").out)
        asked = self.directory / "asked"
        self.write("ironcorectl", f"#!/bin/sh\nprintf '%s\\n' \"$*\" >>{asked}\necho machine/web-1\n").chmod(0o755)

        def complete(*words):
            line = f"source {script}; COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _ironcorectl; echo \"${{COMPREPLY[@]}}\""
            environment = dict(os.environ, PATH=f"{self.directory}:{os.environ['PATH']}")
            return subprocess.run(["bash", "-c", line], check=True, text=True, capture_output=True, env=environment).stdout.split()

        self.assertEqual(complete("ironcorectl", "-n", "prod", "logs", "-f", ""), ["web-1"])
        self.assertEqual(complete("ironcorectl", "wait", "--server", "=", "ipc:///x", "machine/w"), ["machine/web-1"])
        self.assertEqual(complete("ironcorectl", "get", "m", "we"), ["web-1"])
        self.assertEqual(asked.read_text().splitlines(), ["-n prod get machines -o name", "--server ipc:///x get machine -o name", "get m -o name"])


class ConfigFile(TempDirectory):
    def check(self, text, *arguments, name="libvirt-providerd"):
        return run(name, "--config", self.write("config.yaml", text), "--check-config", *arguments)

    def test_keys_are_flags_and_flags_win(self):
        config = self.write("config.yaml", "pool-name: a\nshutdown:\n  grace: 2m\nlabel: {rack: r1}\nmachine-class: [small, large]\n")
        result = run("libvirt-providerd", "--config", config, "--print-config", "--pool-name", "b")
        self.assertEqual(result.code, 0, result)
        for line in ("pool-name: b", "shutdown-grace: 2m", "  rack: r1", "  - small"):
            self.assertIn(line, result.out)

    def test_what_is_printed_can_be_read(self):
        printed = run("libvirt-providerd", "--pool-name", "a", "--label", "x=1", "--print-config").out
        again = run("libvirt-providerd", "--config", self.write("again.yaml", printed), "--print-config")
        self.assertEqual(again.out, printed, again)

    def test_an_unknown_key_names_place_and_nearest(self):
        self.assertSays(self.check("pool-name: a\nacelerator: kvm\n"), 2, "config.yaml:2:1", 'unknown key "acelerator"', "accelerator")

    def test_wrong_values_and_forms_name_the_place(self):
        self.assertSays(self.check("pool-name: a\nworkers: many\n"), 2, "config.yaml:2:10", "workers", "whole number")
        self.assertSays(self.check("pool-name: [a, b]\n"), 2, "config.yaml:1:12", "one value")
        self.assertSays(self.check("pool-name: a\npool-name: b\n"), 2, "given twice")
        self.assertSays(self.check("- a\n"), 2, "expected a mapping")
        self.assertSays(self.check("pool-name: {\n"), 2, "config.yaml:")
        self.assertSays(run("ironcored", "--config", self.directory / "none.yaml"), 2, "none.yaml")

    def test_printing_needs_nothing_that_is_required(self):
        result = run("libvirt-providerd", "--print-config")
        self.assertEqual(result.code, 0, result)
        self.assertIn("pool-name: \"\"", result.out)

    def test_what_cannot_work_is_not_right(self):
        key, identities = self.directory / "server.key", self.write("identities.json", '{"identities": []}')
        self.assertEqual(run("ironcored", "keygen", key).code, 0)
        for listen, *more in (("ipc://",), ("ipc://api.sock",), ("ipc:///" + "x" * 100,), ("tcp://127.0.0.1:65535", f"key-file: {key}"),
                              ("tcp://127.0.0.1:7400", "key-file: /none", f"identities-file: {identities}"),
                              ("tcp://127.0.0.1:7400", f"key-file: {key}", "identities-file: /none")):
            with self.subTest(listen, more=more):
                self.assertEqual(self.check("\n".join([f'listen: ["{listen}"]', *more]), name="ironcored").code, 2)
        self.assertSays(self.check(f'listen: ["tcp://127.0.0.1:7400"]\nkey-file: {key}\nidentities-file: {identities}\n', name="ironcored"),
                        0, "right", stream="out")
        for setting, named in (("server: http://foo", "server"), ("server: tcp://10.0.0.1:7400", "key-file"), ("machine-class: [Small_1]", "Small_1"),
                               ("libvirt-uri: foo", "libvirt-uri"), ("libvirt-uri: test:///file.xml", "libvirt-uri"), ("workers: 1000000", "workers"), ("workers: 0", "workers"),
                               ("heartbeat: 0s", "heartbeat"), ("shutdown-repeat: 0s", "shutdown-repeat"), ("console-log-size: 1", "console-log-size"),
                               ("server: tcp://10.0.0.1:7400\nkey-file: /none\nserver-key: short", "server-key")):
            with self.subTest(setting):
                self.assertSays(self.check("pool-name: a\n" + setting), 2, named)
        if os.geteuid() == 0:
            self.assertSays(self.check("pool-name: a\nlibvirt-uri: qemu:///session"), 2, "libvirt-uri", "qemu:///system")
        self.assertEqual(self.check("retention-age: 0s\n", name="ironcored").code, 2)

    def test_a_relative_directory_is_made_absolute(self):
        result = self.check("pool-name: a\ndirectory: here\n", "--print-config")
        self.assertEqual(result.code, 0, result)

    def test_settings_are_checked_as_a_whole(self):
        self.assertSays(self.check("pool-name: a\nheartbeat: 30s\n"), 2, "lease", "twice")
        self.assertSays(self.check("pool-name: a\naddress: [IP=10.0.0.1]\n"), 2, "IP=10.0.0.1", "InternalIP")
        self.assertSays(self.check("pool-name: a\naddress: [InternalIP=10.0.0.1]\n"), 0, "right", stream="out")
        self.assertSays(self.check("listen: [\"tcp://127.0.0.1:7400\"]\n", name="ironcored"), 2, "key-file")
        self.assertSays(self.check("listen: [\"http://x\"]\n", name="ironcored"), 2, "http://x", "ipc:///path")
        self.assertSays(self.check("key-file: x\n", name="ironcored"), 2, "tcp")

    def test_a_right_file_is_said_to_be_right(self):
        self.assertSays(self.check("pool-name: a\n"), 0, "right", stream="out")


if __name__ == "__main__":
    cloud.main("ironcorectl", "ironcored", "libvirt-providerd", "ceph-providerd")
