"""From a change of a document to the first answer from it, on every worker.

    python loadtests/reload.py --flags 1000

A document is replaced by renaming again and again, while a caller on each worker asks one flag without a pause. Of each
change: the time until each worker answers from it, since the renaming, and since the agent wrote it to the journal (the
modification time of that file: it is then synced, and the position moves).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.flags import document  # noqa: E402
from loadtests.processes import serving  # noqa: E402
from loadtests.ten_thousand import Client, client_of_each_worker, fill, percentile  # noqa: E402


class Caller:
    """Asks without a pause, and notes when the answer became another."""

    def __init__(self, client: Client, pause: float) -> None:
        self._client = client
        self._pause = pause
        self.seen: dict[bool, float] = {}  # the latest time that this answer came after the other one
        self.stop = Event()

    def work(self) -> None:
        last = None
        while not self.stop.is_set():
            value = json.loads(self._client.ask(0, "/ofrep/v1/evaluate/flags/marker")[1])["value"]
            if value != last:
                self.seen[value] = time.time()
                last = value
            time.sleep(self._pause)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flags", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--changes", type=int, default=30)
    parser.add_argument("--pause", type=float, default=0.0005, help="seconds between an answer and the next request")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tenants = fill(folder, 1, options.flags)
        path = tenants / "t00000" / "app.json"
        put(path, options.flags, False)
        server = stack.enter_context(
            serving(tenants, "--workers", str(options.workers), "--poll-interval", "0.05", "--settle-time", "0")
        )
        callers = [Caller(each, options.pause) for each in client_of_each_worker(stack, server)]
        threads = [Thread(target=each.work) for each in callers]
        for thread in threads:
            thread.start()
        since_rename, since_commit = [], []
        for number in range(options.changes):
            value = number % 2 == 0
            for each in callers:
                each.seen.pop(value, None)
            renamed = put(path, options.flags, value)
            while not all(value in each.seen for each in callers):
                time.sleep(0.005)
            (journal,) = (folder / "state").glob("journal.*")
            committed = journal.stat().st_mtime
            since_rename += [each.seen[value] - renamed for each in callers]
            since_commit += [each.seen[value] - committed for each in callers]
            time.sleep(0.2)
        for each in callers:
            each.stop.set()
        for thread in threads:
            thread.join()
    for what, taken in (("the document was renamed", since_rename), ("the journal was written", since_commit)):
        print(
            f"since {what}, {len(callers)} workers, {options.flags} flags: p50 {1e3 * percentile(taken, 0.5):.1f} ms,"
            f" p99 {1e3 * percentile(taken, 0.99):.1f} ms"
        )


def put(path: Path, flags: int, value: bool) -> float:
    """Replaces the document; the time of the renaming."""
    content = document(flags)
    marker = {"type": "boolean", "variants": {"on": True, "off": False}, "fallthrough": "on" if value else "off"}
    content["flags"]["marker"] = {**marker, "offVariant": "off"}
    temporary = path.with_name(".new")
    temporary.write_text(json.dumps(content))
    temporary.rename(path)
    return time.time()


if __name__ == "__main__":
    main()
