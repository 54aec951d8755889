#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What BIRD 2 takes to reflect routes: the peer of the bursts of bench_routing. One JSON line per figure; as root.

bench_bird.py SUPPORT_DIR [CASE...]     a case is, for example, distinct/100k.10sub; without one: all

Each bird is a process: one reflects (iBGP, all others are its clients), one announces, 1 or 10 read. They talk over TCP on the loopback of a network
namespace that ends with this program, without passwords. The routes are IPv4 /32; their next hops, one shared or one for each
route, resolve through one route of the underlay that every bird has: if each were an address of an announced
route, BIRD's time would grow with the square of their number.

Nothing is polled to get a time. It begins with the microseconds of the line that the announcing bird logs when it is told to enable its routes,
which are configured by then, while all sessions are up and empty. It ends with the last of the lines "hits route import limit" of the readers: with
a limit one below the number of routes, BIRD logs it when it takes the last route into its table (action `warn`, which does nothing else). Both
stamps are of one clock and taken when the line is written. That each reader has all routes is asked afterwards.

cpu_s is what the reflector's only thread ran from before that until all had been read, to the nanosecond; rss_mb what it holds then.
"""
import contextlib
import ctypes
import ipaddress
import json
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SUPPORT = pathlib.Path(sys.argv[1]).resolve()
sys.path.insert(0, str(SUPPORT))
sys.dont_write_bytecode = True

from daemons import resident_mb, wait_until  # noqa: E402

SKIPPED = 77
NEW_NETWORK_NAMESPACE = 0x40000000
ROUNDS = 3
PATIENCE = 60  # seconds for the routes of one round
SIZES = {"10k": 10_000, "100k": 100_000}
REFLECTOR, ORIGIN = "127.0.1.1", "127.0.1.2"
FIRST_ROUTE = int(ipaddress.ip_address("10.0.0.0"))
UNDERLAY = ipaddress.ip_network("172.16.0.0/12")


def figure(name, value, unit, **params):
    print(json.dumps({"bench": name, "value": float(f"{value:.4g}"), "unit": unit, "params": params}), flush=True)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def session(name, own, peer, options, channel):
    return f"""protocol bgp {name} {{
  local {own} as 65000; neighbor {peer} as 65000;
  multihop; strict bind yes; connect delay time 1; connect retry time 1; {options}
  ipv4 {{ {channel} }};
}}
"""


def routes(count, next_hops):
    """Not announced until it is enabled."""
    hops = range(1, count + 1) if next_hops == "distinct" else [1] * count
    lines = [f"  route {ipaddress.ip_address(FIRST_ROUTE + i)}/32 blackhole {{ bgp_next_hop = {UNDERLAY[hop]}; }};\n" for i, hop in enumerate(hops)]
    return "protocol static burst {\n  disabled;\n  ipv4;\n" + "".join(lines) + "}\n"


class Bird:
    """A running bird. Its log has one line per event: seconds since 1970 and the words."""

    def __init__(self, directory, name, address, protocols):
        self.name = name
        self.log, self.socket = directory / f"{name}.log", directory / f"{name}.sock"
        configuration = directory / f"{name}.conf"
        configuration.write_text(
            f'log "{self.log}" all;\ntimeformat log "%s.%6f";\nrouter id {address};\nprotocol device {{}}\n'
            f'protocol static underlay {{ ipv4; route {UNDERLAY} via "lo"; }}\n' + protocols)
        self.errors = directory / f"{name}.err"
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(["bird", "-f", "-c", configuration, "-s", self.socket], stdin=subprocess.DEVNULL,
                                            stdout=errors, stderr=errors, preexec_fn=die_with_parent)

    def close(self):
        self.process.kill()
        self.process.wait()

    def lines(self):
        if self.process.poll() is not None:
            sys.exit(f"{self.name} ended with code {self.process.returncode}: {self.errors.read_text()}")
        return self.log.read_text().splitlines() if self.log.exists() else []

    def time_of(self, words):
        """When it logged such a line first; None = not yet."""
        return next((float(line.split()[0]) for line in self.lines() if words in line), None)

    def ask(self, *command):
        return subprocess.run(["birdcl", "-s", self.socket, *command], capture_output=True, text=True, check=True).stdout

    def sessions(self):
        """How many are up."""
        return self.ask("show", "protocols").count("Established") if self.lines() and self.socket.exists() else 0

    def cpu_s(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9


def burst(directory, count, readers, next_hops):
    """Seconds, the reflector's processor seconds and its MiB; None = not within PATIENCE."""
    addresses = {f"reader{i}": f"127.0.2.{i + 1}" for i in range(readers)}
    clients = {"origin": ORIGIN, **addresses}
    reflects = "import all; export where source = RTS_BGP;"
    with contextlib.ExitStack() as stack:
        def start(*words):
            bird = Bird(directory, *words)
            stack.callback(bird.close)
            return bird
        middle = start("reflector", REFLECTOR, "".join(session(name, REFLECTOR, address, "passive; rr client;", reflects)
                                                       for name, address in clients.items()))
        reading = [start(name, address, session("reflector", address, REFLECTOR, "", f"import limit {count - 1} action warn; import all; export none;"))
                   for name, address in addresses.items()]
        origin = start("origin", ORIGIN, session("reflector", ORIGIN, REFLECTOR, "", 'import none; export where proto = "burst"; next hop keep;')
                       + routes(count, next_hops))
        wait_until("all sessions are up", lambda: middle.sessions() == len(clients) and all(bird.sessions() == 1 for bird in (origin, *reading)), 30, 0.1)

        cpu = middle.cpu_s()
        origin.ask("enable", "burst")
        end = time.monotonic() + PATIENCE
        ends = []
        while len(ends) < readers:
            if time.monotonic() > end:
                return None
            time.sleep(0.02)
            ends = [at for at in (bird.time_of("hits route import limit") for bird in reading) if at is not None]
        cpu, size = middle.cpu_s() - cpu, resident_mb(middle.process.pid)
        for bird in reading:
            if not re.search(rf"Routes: +{count} imported", bird.ask("show", "protocols", "all", "reflector")):
                sys.exit(f"{bird.name} has not the {count} routes that it said it has")
        return max(ends) - origin.time_of("Enabling protocol burst"), cpu, size


def bench(next_hops, size, readers, version):
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="ic-bird-") as name:
            measured = burst(pathlib.Path(name), SIZES[size], readers, next_hops)
        if measured is None:
            break
        rounds.append(measured)
    base = f"routing/bird/burst/{size}.{readers}sub"
    params = {"next_hops": next_hops, "bird": version}
    if len(rounds) < ROUNDS:
        figure(f"{base}.s", PATIENCE, "s", **params, outcome="not yet: a round was given up")
        return
    seconds, cpus, sizes = zip(*rounds)
    figure(f"{base}.s", statistics.median(seconds), "s", **params, best=round(min(seconds), 6), worst=round(max(seconds), 6))
    figure(f"{base}.cpu_s", statistics.median(cpus), "s", **params)
    figure(f"{base}.rss_mb", statistics.median(sizes), "MiB", **params)


def main():
    if not shutil.which("bird") or not shutil.which("birdcl"):
        print("skipped: no bird here; ./dev setup tools", file=sys.stderr)
        sys.exit(SKIPPED)
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE) != 0:
        print("skipped: no network namespace of its own; run it as root", file=sys.stderr)
        sys.exit(SKIPPED)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    said = subprocess.run(["bird", "--version"], capture_output=True, text=True, check=True)
    version = (said.stdout + said.stderr).split()[-1]
    cases = {f"{next_hops}/{size}.{readers}sub": (next_hops, size, readers)
             for next_hops in ("shared", "distinct") for size in SIZES for readers in (1, 10)}
    wanted = sys.argv[2:] or list(cases)
    if unknown := [name for name in wanted if name not in cases]:
        sys.exit(f"no case {' '.join(unknown)}; known: {' '.join(cases)}")
    for name in wanted:
        bench(*cases[name], version)


if __name__ == "__main__":
    main()
