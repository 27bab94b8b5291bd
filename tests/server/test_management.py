"""The management port: health, readiness, metrics, and the status of every environment."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.running import BANK, BATCH, BULK, ROOT, SHOP, SHOP_BOTH, Running, running


def test_health_and_readiness(server: Running) -> None:
    for path in ("/healthz", "/readyz"):
        assert server.manage(path).status == 200
        assert server.manage(path, "HEAD").status == 200
        assert server.manage(path, "POST").status == 405


def test_nothing_is_evaluated_here_and_nothing_is_managed_there(server: Running) -> None:
    assert server.manage(BULK, "POST").status == 404
    for path in ("/healthz", "/readyz", "/metrics", "/status", "/evaluations"):
        assert server.request("GET", path).status == 404


def test_status_lists_every_environment(server: Running) -> None:
    status = server.manage("/status").json
    assert (status["ready"], status["draining"], status["lastError"], status["next"]) == (True, False, None, None)
    assert [row["environment"] for row in status["environments"]] == [
        "bank/mobile/production",
        "bank/mobile/test",
        "game/backend/live",
        "shop/web/production",
        "shop/web/staging",
    ]
    for row in status["environments"]:
        assert row["state"] == "valid"
        assert re.fullmatch("[0-9a-f]{64}", row["digest"])
        assert row["flags"] > 10 and row["sizeBytes"] > 1000 and row["version"] > 0 and row["ageSeconds"] >= 0


def test_status_comes_in_pages_and_by_tenant(server: Running) -> None:
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = server.manage(f"/status?limit=2&after={after}").json
        seen += [row["environment"] for row in page["environments"]]
        after = page["next"]
    assert seen == [row["environment"] for row in server.manage("/status").json["environments"]]
    assert [row["environment"] for row in server.manage("/status?tenant=game").json["environments"]] == [
        "game/backend/live"
    ]
    assert server.manage("/status?tenant=gam").json["environments"] == []


def test_status_by_state(server: Running) -> None:
    assert len(server.manage("/status?state=valid").json["environments"]) == 5
    assert server.manage("/status?state=stale").json["environments"] == []
    assert server.manage("/status?state=odd").status == 400


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1001", "", "9" * 30, "\u0663"])
def test_a_page_has_a_sensible_size(server: Running, limit: str) -> None:
    assert server.manage(f"/status?limit={quote(limit)}").status == 400


LABELS = {"route", "status", "why", "source", "outcome", "le", "version", "worker", "limit", "reason"}


def test_metrics_name_no_tenant_and_are_all_documented(server: Running) -> None:
    server.post(BULK, {"context": {}}, key=SHOP)
    server.post("/nobody/knows/this/path", {})
    text = server.manage("/metrics").body.decode()
    page = (ROOT / "docs" / "operations.md").read_text()
    families = {each.name: each for each in text_string_to_metric_families(text) if each.name.startswith("burgee_")}
    for name, family in families.items():
        if not name.endswith("_created"):
            assert f"`{name}" in page or f"`{name}_total" in page
        for sample in family.samples:
            assert set(sample.labels) <= LABELS
    assert "shop" not in text and "nobody" not in text
    assert families["burgee_environments"].samples[0].value == 5
    assert families["burgee_http_requests"].samples


def test_every_series_is_there_before_it_counts(samples: Path, tmp_path: Path) -> None:
    def series() -> dict[str, float]:
        families = text_string_to_metric_families(server.manage("/metrics").body.decode())
        return {
            f"{each.name}{sorted(each.labels.items())}": each.value for family in families for each in family.samples
        }

    limits = ("--tenant-requests", "1", "--state", str(tmp_path / "state"))
    with running(samples, *limits) as server:
        before = series()
        for more in ({}, {"TE": "x"}):  # by the front, and by aiohttp
            for path, body in ((BULK, {"context": {}}), (f"{BULK}/nothing", {"context": {}}), (BATCH, {"contexts": 3})):
                for key in (SHOP, BANK, SHOP_BOTH, None, "junk"):
                    server.post(path, body, key=key, headers=more)
            server.post("/nowhere", {}, headers=more)
            server.request("PUT", BULK, None, more)
            server.request("GET", "/ofrep/v1/events", None, more)
        after = series()
        assert {"burgee_http_requests_total[('route', 'none'), ('status', '404')]"} <= after.keys()
        assert after["burgee_limited_total[('limit', 'requests')]"] > 0
        assert after["burgee_http_refused_keys_total[('why', 'missing')]"] > 0
    assert after.keys() == before.keys()
