"""A server under measurement and a generator beside it, for the scripts in this folder.

Judges nothing: what a figure may be is for `siege` and `soak`.
"""

import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RELEASE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")
GENERATOR = os.path.join(RELEASE, "roomcast-loadtest")


def build():
    """Builds server and generator."""
    subprocess.run(["cargo", "build", "--quiet", "--release", "--bin", "roomcast"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "roomcast-loadtest"], cwd=ROOT, check=True)


def pinned(cpus, command):
    """The command on these processors, as `taskset -c` reads them; any, if there are none."""
    return ["taskset", "-c", cpus, *command] if cpus else command


class Server:
    """A server of our own on a free port, until the end of a `with`."""

    def __init__(self, flags, cpus=""):
        binary = os.environ.get("ROOMCAST_BIN", os.path.join(RELEASE, "roomcast"))
        self.command = [binary, "--rate-limit", "off", "--log-level", "error", *flags]
        self.process = subprocess.Popen(pinned(cpus, self.command), stdout=subprocess.PIPE, text=True)
        # The first line says where it listens.
        line = self.process.stdout.readline()
        port = re.search(r"http://[^/]*:(\d+)/", line)
        if not port:
            raise SystemExit(f"the server does not start: {line.strip() or self.process.wait()}")
        self.port = int(port[1])
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def is_alive(self):
        return self.process.poll() is None

    def status(self, name):
        """A line of the kernel's `status` in KiB: `VmRSS`, or `VmHWM`, the most that there ever was."""
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def metrics(self):
        """All samples by their names with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))}

    def total(self, prefix):
        """The sum of all samples whose names begin so."""
        return sum(value for name, value in self.metrics().items() if name.startswith(prefix))

    def descriptors_fall_to(self, number, patience_s):
        """Waits until no more descriptors are open than these; how many there are then."""
        end = time.monotonic() + patience_s
        while self.descriptors() > number and time.monotonic() < end:
            time.sleep(0.1)
        return self.descriptors()


class Run:
    """A run of the generator, under way."""

    def __init__(self, server, scenario, url=None, cpus=""):
        self.out = tempfile.NamedTemporaryFile(suffix=".json")
        command = [GENERATOR, *scenario, "--url", url or f"ws://127.0.0.1:{server.port}", "--pid", str(server.pid),
                   "--quiet", "--json", self.out.name]
        self.process = subprocess.Popen(pinned(cpus, command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True)

    def outcome(self):
        """Waits for the end: the generator's JSON, or with a verdict of its own where there is none."""
        _, said = self.process.communicate()
        try:
            with open(self.out.name, encoding="utf-8") as file:
                return json.load(file)
        except ValueError:
            return {"verdict": "failed", "failures": [said.strip() or "no outcome"], "doubts": []}

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
