#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the programs cost when nothing happens, and how soon ironcored serves 10,000 objects. One JSON line per figure.

bench_programs.py BUILD_DIR LIBVIRTD_SCRIPT
"""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BUILD, LIBVIRTD = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
sys.path.insert(0, str(LIBVIRTD.parent))
sys.dont_write_bytecode = True

from daemons import Daemon, resident_mb, wait_until  # noqa: E402

OBJECTS = 10_000
PER_FILE = 1000  # a manifest has at most 100,000 values
ROUNDS = 5


def figure(name, value, unit, **params):
    print(json.dumps({"bench": name, "value": float(f"{value:.4g}"), "unit": unit, "params": params}), flush=True)


def program(name):
    return BUILD / "daemons" / name / name


def ironcored(directory):
    return Daemon("ironcored", [program("ironcored"), "--state-directory", directory / "state", "--listen",
                                f"ipc://{directory}/api.sock"], directory)


def ctl(directory, *arguments, stdin=""):
    return subprocess.run([program("ironcorectl"), *arguments, "--server", f"ipc://{directory}/api.sock"], input=stdin,
                          text=True, capture_output=True, check=True).stdout


def settled_mb(daemon):
    """Resident memory once it has not moved for a second."""
    seen = [resident_mb(daemon.pid)]

    def is_settled():
        seen.append(resident_mb(daemon.pid))
        return len(seen) > 10 and max(seen[-10:]) - min(seen[-10:]) < 0.05
    wait_until("memory is settled", is_settled, 60, pause=0.1)
    return seen[-1]


def machines(numbers):
    """Machines without a class that exists: they wait, and nothing touches them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "compute.ironcore.dev/v1alpha1", "kind": "Machine",
         "metadata": {"name": f"machine-{i}", "labels": {"app": f"app-{i % 100}"}},
         "spec": {"machineClassRef": {"name": "small"}, "volumes": [{"name": "root", "localDisk": {"sizeLimit": "10Gi"}}]}}
        for i in numbers]})


def bench_ironcored(directory):
    server = ironcored(directory).wait_ready()
    try:
        figure("ironcored.idle.rss.mb", settled_mb(server), "MiB", objects=0, to_reach=25)
        begin = time.monotonic()
        for first in range(0, OBJECTS, PER_FILE):
            ctl(directory, "apply", "-f", "-", stdin=machines(range(first, first + PER_FILE)))
        figure("ironcorectl.apply.s", time.monotonic() - begin, "s", objects=OBJECTS, objects_per_file=PER_FILE)
        times = []
        for _ in range(ROUNDS):
            server.stop()
            begin = time.monotonic()
            server = ironcored(directory)
            wait_until("ironcored is ready", server.ready_file.exists, 30, pause=0.001)
            times.append(time.monotonic() - begin)
        figure("ironcored.ready.s", statistics.median(times), "s", objects=OBJECTS, rounds=ROUNDS, to_reach=0.3)
        figure("ironcored.loaded.rss.mb", settled_mb(server), "MiB", objects=OBJECTS)
    finally:
        server.kill()


def bench_provider(directory):
    folder = directory / "libvirt"
    folder.mkdir(mode=0o755)
    libvirtd = subprocess.Popen([LIBVIRTD, "run", folder], stdout=subprocess.PIPE, text=True)
    daemons = []
    try:
        uri = libvirtd.stdout.readline().strip()
        if not uri:
            sys.exit(libvirtd.wait())
        daemons.append(ironcored(directory).wait_ready())
        daemons.append(Daemon("libvirt-providerd", [
            program("libvirt-providerd"), "--pool-name", "bench", "--server", f"ipc://{directory}/api.sock", "--libvirt-uri", uri,
            "--directory", directory / "provider"], directory).wait_ready())
        ctl(directory, "wait", "machinepool/bench", "--for", "condition=Ready", "--timeout", "30s")
        figure("libvirt-providerd.idle.rss.mb", settled_mb(daemons[-1]), "MiB", to_reach=25)
    finally:
        for daemon in reversed(daemons):
            daemon.kill()
        libvirtd.kill()
        libvirtd.wait()


def main():
    for bench in (bench_ironcored, bench_provider):
        with tempfile.TemporaryDirectory(prefix="ic-", dir="/var/tmp") as folder:
            pathlib.Path(folder).chmod(0o711)
            bench(pathlib.Path(folder))


if __name__ == "__main__":
    main()
