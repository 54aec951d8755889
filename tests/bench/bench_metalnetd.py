#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What metalnetd costs when nothing happens, with a port for a guest and one on a network interface. One JSON line per figure; as root.

bench_metalnetd.py BUILD_DIR SUPPORT_DIR
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

BUILD, SUPPORT = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
sys.path.insert(0, str(SUPPORT))
sys.dont_write_bytecode = True

from daemons import Daemon, resident_mb  # noqa: E402

SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK")


def figure(name, value, unit, **params):
    print(json.dumps({"bench": name, "value": float(f"{value:.4g}"), "unit": unit, "params": params}), flush=True)


def processor_seconds(pid):
    """Of all its threads, since they began."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main():
    subprocess.run(["ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1"], check=True)
    for end in "wire0", "wire1":
        subprocess.run(["ip", "link", "set", end, "mtu", "1600", "up"], check=True)
    with tempfile.TemporaryDirectory(prefix="ironcore-bench-") as name:
        directory = pathlib.Path(name)
        metalnetd = Daemon("metalnetd", [
            BUILD / "daemons" / "metalnetd" / "metalnetd", "--underlay", "2001:db8:0:1::/64",
            "--uplink", "wire,router=02:00:00:00:00:01,device=af_packet:wire0",
            "--port", f"machine=vhost:{directory}/machine.sock",
            "--listen", f"ipc://{directory}/dataplane.sock", "--keep", "nothing", "--dpdk-prefix", f"bench-{os.getpid()}", "--keep", "nothing"], directory)
        try:
            metalnetd.wait_ready()
            time.sleep(2)
            before, start = processor_seconds(metalnetd.pid), time.monotonic()
            time.sleep(SECONDS)
            share = (processor_seconds(metalnetd.pid) - before) / (time.monotonic() - start)
            figure("dataplane.idle.cpu", share, "cores", ports="vhost without a guest, af_packet", seconds=SECONDS)
            figure("dataplane.idle.mb", resident_mb(metalnetd.pid), "MiB", connections=1_000_000)
        finally:
            metalnetd.stop()


if __name__ == "__main__":
    if os.environ.get("IRONCORE_BENCH_NAMESPACE") is None:
        os.environ["IRONCORE_BENCH_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    main()
