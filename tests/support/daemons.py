# SPDX-License-Identifier: Apache-2.0
"""Starts our daemons for tests and the quickstart, waits until they serve, and ends them."""
import ctypes
import os
import pathlib
import signal
import subprocess
import time

_PR_SET_PDEATHSIG = 1


def _die_with_parent():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start_time(pid):
    """When a process started, in clock ticks since boot: with the pid it names a process for ever. None = no such process."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def resident_mb(pid):
    """Resident memory in MiB."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def wait_until(what, condition, seconds=30, pause=0.02):
    """Polls until the condition is true; the last value it had is in the error."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s (last: {value!r})")
        time.sleep(pause)


class Daemon:
    """One running program. Its standard error goes to a file; it is ready when its ready file is there."""

    def __init__(self, name, argv, directory, outlives_us=False):
        self.name = name
        self.directory = pathlib.Path(directory)
        self.ready_file = self.directory / f"{name}.ready"
        self.log = self.directory / f"{name}.log"
        self.ready_file.unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*map(str, argv), "--ready-file", str(self.ready_file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=None if outlives_us else _die_with_parent)

    @property
    def pid(self):
        return self.process.pid

    def identity(self):
        return [self.pid, start_time(self.pid)]

    def wait_ready(self, seconds=30):
        def look():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with code {self.process.returncode}:\n{self.tail()}")
            return self.ready_file.exists()
        wait_until(f"{self.name} is ready", look, seconds)
        return self

    def tail(self, lines=15):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, seconds=30):
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} did not stop within {seconds} s of SIGTERM:\n{self.tail()}") from None

    def kill(self):
        """As a crash would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def end_process(identity, signals=(signal.SIGTERM, signal.SIGKILL), seconds=20):
    """Ends a process of an earlier run, named by pid and start time; does nothing when it is another one by now."""
    pid, started = identity
    for number in signals:
        if started is None or start_time(pid) != started:
            return
        os.kill(pid, number)
        try:
            wait_until(f"process {pid} ends", lambda: start_time(pid) != started, seconds)
        except TimeoutError:
            continue
