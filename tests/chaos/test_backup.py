"""A backup is restored, and hosts have versions that it does not: with a new epoch they take what it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.cli import main
from tests.chaos.history import violations
from tests.chaos.host import until
from tests.chaos.the_record import recorded
from tests.chaos.world import World, probe, world


@pytest.fixture(scope="module")
def losing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own: its record loses versions."""
    with world(tmp_path_factory.mktemp("losing")) as it, it.started(it.host("far", workers=1)):
        yield it


def burgee(*arguments: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, f"{arguments}: {done.output}"


def lose_what_came_after_a_backup(it: World, file: Path, *options: str) -> int:
    """Published, backed up, published, restored. The newest version that hosts have."""
    burgee("backup", str(file), "--database", it.database)
    with it.run() as history:
        before = len(history.published)
        until(lambda: len(history.published) > before + 3, "publishes that the backup does not have")
    assert violations(history) == []
    newest = it.newest()
    it.near.kill()
    it.hosts.remove(it.near)
    burgee("restore", str(file), "--database", it.database, "--replace", *options)
    kept = recorded(it.database, "shop/web", "production").generations
    it.restored = True
    it.lost_with_the_backup |= {each.version for each in it.published if each.version} - kept.keys()
    assert len(it.lost_with_the_backup) >= 3
    return newest


def test_with_a_new_epoch_all_hosts_take_what_was_restored(losing: World, tmp_path: Path) -> None:
    it = losing
    lose_what_came_after_a_backup(it, tmp_path / "backup")
    with it.run(publishing=False) as history:
        it.near.start()
        it.hosts.append(it.near)
        seconds = it.settle(history)
    assert violations(history) == []
    print(f"\na backup with a new epoch: converged {seconds:.2f} s after the control plane is up")
    with it.run() as history:
        time.sleep(0.5)
    assert violations(history) == []


def test_without_one_hosts_stay_at_what_they_have_until_the_record_has_passed_it(losing: World, tmp_path: Path) -> None:
    it = losing
    had = lose_what_came_after_a_backup(it, tmp_path / "backup", "--keep-epoch")
    (far,) = it.hosts
    it.near.start()
    until(lambda: far.metric("burgee_sync_refused_total") > 0, "an older record is refused")
    seen = probe(far, it.server_key)
    assert seen is not None and {each.version for each in seen} == {had}, "it went back"
    it.hosts.append(it.near)
    publisher = it.publisher()
    while publisher.version() <= had + 1:
        publisher.publish(it.published[-1].generation + 1)
    with it.run() as history:
        time.sleep(0.5)
    assert violations(history) == []
