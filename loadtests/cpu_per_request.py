"""CPU per request of a server process, beside two controls in the same run.

    python loadtests/cpu_per_request.py            (needs wrk: make tools)

For each of a few rounds, one after the other: a uvloop protocol that writes constant bytes, this server answering one
flag for one context, and a plain aiohttp handler. CPU is user plus system time of the server and its descendants, per
request done. The controls are run from BURGEE_LIMITS (default: ../shared/limits beside the checkout). Each worker has
the same load, however many there are. More kinds of requests: throughput.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script

from loadtests.processes import ROOT, Unavailable, add_server_options, control, end_on_sigterm, server_options, serving
from loadtests.questions import Question, WrongAnswer, settled
from loadtests.raw_load import CONNECTIONS, Raw, raw_load

KEY = "burgee_server_DemoShopServer00_ADemoKeyThatEverybodyKnows000000000000000002e3IFk"
ASKED = Question(
    "single",
    "/ofrep/v1/evaluate/flags/new-checkout",
    b'{"context": {"targetingKey": "u-1", "country": "DE"}}',
    evaluations=1,
    headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    is_right=lambda body: b'"reason":"SPLIT"' in body,
)
NAMES = ("constant", "burgee", "aiohttp")


def measure(options: argparse.Namespace) -> dict[str, list[Raw]]:
    figures: dict[str, list[Raw]] = {name: [] for name in NAMES}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="burgee-cpu-")))
        tenants = shutil.copytree(ROOT / "examples" / "tenants", folder / "tenants")
        servers = {name: stack.enter_context(control(name)) for name in NAMES if name != "burgee"}
        words = server_options(options)
        servers["burgee"] = stack.enter_context(serving(tenants, *words, log=folder / "server.log"))
        asked = settled(ASKED, servers["burgee"].data)
        for _ in range(options.rounds):
            for name in NAMES:
                # The constant bytes are written once for every read: pipelined requests would wait for more.
                depth = 1 if name == "constant" else options.pipeline
                workers = options.workers if name == "burgee" else 1
                load = {"seconds": options.seconds, "connections": CONNECTIONS * workers, "threads": workers}
                figures[name].append(raw_load(servers[name], asked, depth=depth, **load))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3, help="of load per figure and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pipeline", type=int, default=1, help="requests written at once")
    parser.add_argument("--json", action="store_true")
    add_server_options(parser)
    options = parser.parse_args()
    end_on_sigterm()
    try:
        figures = measure(options)
    except (Unavailable, WrongAnswer) as error:
        raise SystemExit(f"error: {error}") from None
    best = {name: min(each.cpu_us_per_request for each in runs) for name, runs in figures.items()}
    rate = {name: statistics.median(each.rate for each in runs) for name, runs in figures.items()}
    if options.json:
        print(json.dumps({"cpu_us_per_request": best, "requests_per_second": rate}))
        return
    for name in NAMES:
        print(f"{name:9} {best[name]:6.2f} us of CPU per request, {rate[name]:9,.0f} requests/s")
    constant, burgee, aiohttp = best["constant"], best["burgee"], best["aiohttp"]
    print(f"burgee is {burgee / constant:.2f} x the constant bytes; aiohttp is {aiohttp / burgee:.1f} x burgee")


if __name__ == "__main__":
    main()
