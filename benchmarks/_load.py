"""
Load on an HTTP server, from a process of its own: wrk if it is there, else Python.

Run as a program, this is the load generator in Python: one thread, many kept
connections, each of which sends its next request when it has the answer.
"""

from __future__ import annotations

import json
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

CONNECTIONS = 16

# wrk has 2 s by default, counts what is answered later as failed, and leaves it out of
# its percentiles: on a machine that stood still for a moment, both would be wrong.
LATE = 60  # seconds after which a request has failed

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
SCRIPT = """
wrk.method = {method}
wrk.body = {body}
"""
TOTALS = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %f %d\\n", summary.requests, summary.duration,
    latency:percentile(99.0), e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Request(NamedTuple):
    """What is asked for, again and again."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: str = ""


class Load(NamedTuple):
    """What came of it."""

    per_second: float
    p99: float  # seconds
    failed: int  # requests without an answer, or with one of 400 and more


def generator() -> str:
    """Name what makes the load."""
    return "wrk" if shutil.which("wrk") else "Python"


def load(request: Request, seconds: float) -> Load:
    """Ask for *request* on many connections for some *seconds*."""
    if shutil.which("wrk"):
        return _with_wrk(request, seconds)
    given = json.dumps([list(request), seconds])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._load", given],
        capture_output=True,
        text=True,
        check=True,
    )
    return Load(*json.loads(done.stdout))


def _with_wrk(request: Request, seconds: float) -> Load:
    """Have wrk make the load."""
    with tempfile.TemporaryDirectory() as name:
        script = Path(name) / "load.lua"
        told = SCRIPT.format(
            method=json.dumps(request.method), body=json.dumps(request.body)
        )
        script.write_text(told + TOTALS)
        span = max(1, round(seconds))  # wrk takes whole ones
        command: list[str | Path] = [
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{span}s",
            f"--timeout={LATE}s",
            "-s",
            script,
        ]
        for header, value in request.headers.items():
            command += ["-H", f"{header}: {value}"]
        done = subprocess.run(
            [*command, request.url], capture_output=True, text=True, check=True
        )
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) (\d+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk said nothing: {done.stdout}{done.stderr}")
    requests, micros, p99, failed = map(float, found.groups())
    return Load(requests / (micros / 1e6), p99 / 1e6, int(failed))


# -- in Python -------------------------------------------------------------------------


class Connection:
    """One kept connection."""

    def __init__(self, address: tuple[str, int], sent: bytes) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._sent = sent
        self._got = b""
        self.began = 0.0

    def send(self) -> None:
        """Send the request."""
        self._got = b""
        self.began = time.perf_counter()
        self.socket.send(self._sent)

    def read(self) -> int | None:
        """Read on; return the status once the answer is whole, 0 if it never is."""
        part = self.socket.recv(65_536)
        self._got += part
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not part:
            return 0
        if not end:
            return None
        status = int(head[9:12])
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        whole = length is None or len(body) >= int(length[1])
        return status if whole else None


def _in_python(request: Request, seconds: float) -> Load:
    """Make the load here."""
    found = re.fullmatch(r"http://([^/:]+):(\d+)(/.*)", request.url)
    assert found is not None, request.url
    address = (found[1], int(found[2]))
    headers = {"Host": f"{address[0]}:{address[1]}", **request.headers}
    if request.body:
        headers["Content-Length"] = str(len(request.body))
    lines = [f"{request.method} {found[3]} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    sent = ("\r\n".join(lines) + "\r\n\r\n" + request.body).encode()
    times, failed = [], 0
    with selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            connection = Connection(address, sent)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send()
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            for key, _ in selector.select(1.0):
                status = key.data.read()
                if status is None:
                    continue
                times.append(time.perf_counter() - key.data.began)
                failed += status == 0 or status >= 400
                if status:
                    key.data.send()
                else:
                    selector.unregister(key.fileobj)
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    times.sort()
    p99 = times[int(len(times) * 0.99)] if times else float("inf")
    return Load(len(times) / (now - began), p99, failed)


if __name__ == "__main__":
    (url, method, headers, body), span = json.loads(sys.argv[1])
    print(json.dumps(_in_python(Request(url, method, headers, body), span)))
