"""SIGTERM while callers with open connections keep asking: every request that was sent is answered."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
from pathlib import Path
from threading import Thread

from tests.server.running import BULK, SAMPLES, SHOP, Running, running, until


def test_callers_on_open_connections_lose_nothing(tmp_path: Path) -> None:
    lost: list[Exception] = []
    answered = [0] * 4

    def ask(caller: int, server: Running) -> None:
        connection = http.client.HTTPConnection(*server.address, timeout=60)
        body = json.dumps({"context": {"targetingKey": "u-1"}})
        headers = {"Authorization": f"Bearer {SHOP}", "Content-Type": "application/json"}
        try:
            while True:
                connection.request("POST", BULK, body, headers)
                answer = connection.getresponse()
                assert answer.status == 200
                answer.read()
                answered[caller] += 1
                if answer.headers["Connection"] == "close":
                    return
        except Exception as error:
            lost.append(error)
        finally:
            connection.close()

    with running(Path(shutil.copytree(SAMPLES, tmp_path / "tenants"))) as server:
        callers = [Thread(target=ask, args=(n, server)) for n in range(4)]
        for each in callers:
            each.start()
        until(lambda: all(count > 20 for count in answered))
        server.process.send_signal(signal.SIGTERM)
        for each in callers:
            each.join()
        assert server.process.wait(60) == 0
    assert lost == []
