# SPDX-License-Identifier: Apache-2.0
"""A Ceph cluster of a test's own, made by tests/support/ceph-cluster: gone with this process, however that ends."""
import pathlib
import subprocess
import sys

PROGRAM = pathlib.Path(__file__).resolve().parent / "ceph-cluster"


class CephCluster:
    """In `directory`, which must not exist. If Ceph is not installed the process ends with code 77, as tests do that skip."""

    def __init__(self, directory, *options):
        self.directory = pathlib.Path(directory)
        self._holder = subprocess.Popen([PROGRAM, "run", self.directory, *options], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, text=True)
        env = self._holder.stdout.readline().strip()
        if not env:
            sys.exit(self._holder.wait())  # it has said why
        self.env = dict(line.split("=", 1) for line in pathlib.Path(env).read_text().splitlines())

    def processes(self):
        """Name -> pid and start time, of each daemon that was started and not ended by request, and of "holder"."""
        lines = (self.directory / "processes").read_text().splitlines()
        return {name: (int(pid), int(started)) for name, pid, started in map(str.split, lines)}

    def do(self, verb, *arguments):
        """A fault or its end: "stop", "osd.0" or "fill", "full" ...; back when it is so."""
        subprocess.run([PROGRAM, verb, self.directory, *arguments], check=True, timeout=300)

    def tool_environment(self):
        """With which Ceph's programs find this cluster."""
        return {"PATH": "/usr/bin:/bin", "CEPH_CONF": self.env["CEPH_CONF"]}

    def tool(self, *command, seconds=60):
        """What one of Ceph's programs prints when told of this cluster."""
        result = subprocess.run([*map(str, command)], text=True, capture_output=True, timeout=seconds,
                                env=self.tool_environment())
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: code {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def close(self):
        """Ends every process and removes the directory."""
        self._holder.terminate()
        self._holder.wait()
        self._holder.stdout.close()
