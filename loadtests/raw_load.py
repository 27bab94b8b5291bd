"""wrk against a server process: requests a second, and the CPU that each of them took the server.

    raw_load(server, question, seconds=3)  ->  Raw(requests=512345, seconds=3.1, cpu=4.4, worker_cpu=4.4, …)

CPU per request holds when load generator and server share cores, where requests a second do not. What is asked was
answered rightly before (questions.settled); afterwards the server's own counts say that all answers had the right
status.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from loadtests.processes import Server, Unavailable, usage
from loadtests.questions import Question, WrongAnswer

SCRIPTS = Path(__file__).resolve().parent / "wrk"
CONNECTIONS = 16
_COUNTED = re.compile(r'^burgee_http_requests_total\{route="(\w+)",status="(\d+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Raw:
    requests: int
    seconds: float
    cpu: float  # seconds, of all processes of the server
    worker_cpu: float
    evaluations: int  # of flags

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_us_per_request(self) -> float:
        return self.cpu / self.requests * 1e6

    @property
    def worker_cpu_us_per_request(self) -> float:
        return self.worker_cpu / self.requests * 1e6


def raw_load(
    server: Server, asked: Question, *, seconds: int, depth: int = 1, connections: int = CONNECTIONS, threads: int = 1
) -> Raw:
    """Raises Unavailable without wrk, WrongAnswer when the answers are not all what they must be."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise Unavailable("there is no wrk (hint: make tools, or apt-get install wrk)")
    script = SCRIPTS / ("pipelined.lua" if depth > 1 else "post.lua")
    command = [wrk, f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(script), server.data + asked.path]
    with tempfile.NamedTemporaryFile(prefix="burgee-body-") as body:
        body.write(asked.body)
        body.flush()
        environment = {
            **os.environ,
            "BURGEE_KEY": asked.headers.get("Authorization", "").removeprefix("Bearer "),
            "BURGEE_BODY": body.name,
            "BURGEE_DEPTH": str(depth),
        }
        if tag := asked.headers.get("If-None-Match"):
            environment["BURGEE_ETAG"] = tag
        counted, before = _counts(server), usage(server.pid)
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds + 60)
        used = usage(server.pid).since(before)
    done = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", ran.stdout)
    if done is None or int(done[1]) == 0 or ran.returncode or "Non-2xx" in ran.stdout or "Socket errors" in ran.stdout:
        raise WrongAnswer(f"the load failed: {' '.join(command)}\n{ran.stdout}{ran.stderr}")
    requests = int(done[1])
    _check_counts(server, counted, asked, requests, in_flight=connections * depth)
    unit = {"ms": 0.001, "s": 1.0, "m": 60.0}[done[3]]
    return Raw(requests, float(done[2]) * unit, used.seconds, used.worker_seconds, requests * asked.evaluations)


def _check_counts(
    server: Server, before: Counter[tuple[str, str]], asked: Question, requests: int, *, in_flight: int
) -> None:
    """wrk does not count what is in flight when it ends, and an earlier load's may be answered during this one."""
    if not server.management:
        return
    more = _counts(server) - before
    right = sum(count for (_, status), count in more.items() if status == str(asked.status))
    if more.total() - right > in_flight or right < requests - in_flight:
        raise WrongAnswer(f"{requests} x {asked.path} were not all answered with {asked.status}: {dict(more)}")


def _counts(server: Server) -> Counter[tuple[str, str]]:
    """Requests by route and status, as the server counts them; none of a control."""
    if not server.management:
        return Counter()
    with urllib.request.urlopen(f"{server.management}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return Counter({(route, status): int(float(count)) for route, status, count in _COUNTED.findall(text)})
