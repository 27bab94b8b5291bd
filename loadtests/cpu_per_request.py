"""CPU per request of a server process, beside two controls in the same run.

    python loadtests/cpu_per_request.py            (needs wrk: apt install wrk)

For each of a few rounds, one after the other: a uvloop protocol that writes constant bytes, this server answering one
flag for one context, and a plain aiohttp handler. CPU is user plus system time of the server process, per request done:
it holds when load generator and server share cores, where requests a second do not. The controls are run from
BURGEE_LIMITS (default: ../shared/limits beside the checkout).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTROLS = Path(os.environ.get("BURGEE_LIMITS", ROOT.parent / "shared" / "limits")) / "control_server.py"
KEY = "burgee_server_DemoShopServer00_ADemoKeyThatEverybodyKnows000000000000000002e3IFk"
PATH = "/ofrep/v1/evaluate/flags/new-checkout"
REQUEST = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer %s"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"context": {"targetingKey": "u-1", "country": "DE"}}'
local depth = %d
init = function()
  local one = wrk.format("POST", wrk.path)
  whole = string.rep(one, depth)
end
request = function() return whole end
"""


def seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def process(*command: str, port: int) -> Iterator[int]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield started.pid
    finally:
        started.terminate()
        started.wait(20)


def load(port: int, pid: int, script: str, seconds: int) -> tuple[float, float]:
    """(microseconds of CPU per request, requests a second)"""
    before = seconds_of(pid)
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}{PATH}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    done = re.search(r"(\d+) requests in ([\d.]+)s", printed)
    if done is None or "Non-2xx" in printed:
        raise SystemExit(f"the load failed:\n{printed}")
    return (seconds_of(pid) - before) / int(done[1]) * 1e6, int(done[1]) / float(done[2])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3, help="of load per figure and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pipeline", type=int, default=1, help="requests written at once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not shutil.which("wrk") or not CONTROLS.exists():
        raise SystemExit(f"needs wrk (apt install wrk) and {CONTROLS}")
    ports = {name: free_port() for name in ("constant", "burgee", "aiohttp", "management")}
    serve = [
        "-m",
        "server.cli",
        "serve",
        "--tenants",
        str(ROOT / "examples" / "tenants"),
        "--port",
        str(ports["burgee"]),
    ]
    figures: dict[str, list[tuple[float, float]]] = {"constant": [], "burgee": [], "aiohttp": []}
    with ExitStack() as stack, tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(REQUEST % (KEY, options.pipeline))
        script.flush()
        pids = {
            name: stack.enter_context(process(str(CONTROLS), name, str(ports[name]), port=ports[name]))
            for name in ("constant", "aiohttp")
        }
        pids["burgee"] = stack.enter_context(
            process(*serve, "--management-port", str(ports["management"]), port=ports["burgee"])
        )
        time.sleep(3)  # compiling the samples
        for _ in range(options.rounds):
            for name in figures:
                figures[name].append(load(ports[name], pids[name], script.name, options.seconds))
    best = {name: min(cpu for cpu, _ in each) for name, each in figures.items()}
    rate = {name: statistics.median(per_second for _, per_second in each) for name, each in figures.items()}
    if options.json:
        print(json.dumps({"cpu_us_per_request": best, "requests_per_second": rate}))
        return
    for name in figures:
        print(f"{name:9} {best[name]:6.2f} us of CPU per request, {rate[name]:9,.0f} requests/s")
    constant, burgee, aiohttp = best["constant"], best["burgee"], best["aiohttp"]
    print(f"burgee is {burgee / constant:.2f} x the constant bytes; aiohttp is {aiohttp / burgee:.1f} x burgee")


if __name__ == "__main__":
    main()
