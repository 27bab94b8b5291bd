"""A host in a network namespace of its own, cut off from the control plane: it serves on, and catches up."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.chaos.history import violations
from tests.chaos.host import scaled
from tests.chaos.relay import relay
from tests.chaos.world import World

FAR = "burgee-far"
CALLERS, CONTROL = ("10.203.1.1", "10.203.1.2"), ("10.203.2.1", "10.203.2.2")  # here and there: two cables


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def namespace() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root makes network namespaces")
    try:
        run("ip", "netns", "add", FAR)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    try:
        try:
            run("ip", "-n", FAR, "link", "set", "lo", "up")
            for name, (here, there) in {"bgcall": CALLERS, "bgctl": CONTROL}.items():
                run("ip", "link", "add", f"{name}0", "type", "veth", "peer", "name", f"{name}1", "netns", FAR)
                run("ip", "addr", "add", f"{here}/24", "dev", f"{name}0")
                run("ip", "link", "set", f"{name}0", "up")
                run("ip", "-n", FAR, "addr", "add", f"{there}/24", "dev", f"{name}1")
                run("ip", "-n", FAR, "link", "set", f"{name}1", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"links between namespaces cannot be made here: {error.stderr.decode()}")
        yield
    finally:
        subprocess.run(["ip", "netns", "del", FAR], check=False, capture_output=True)


def cable(state: str) -> None:
    """Pulled: packets vanish, and no connection is told."""
    run("ip", "link", "set", "bgctl0", state)


def test_a_host_that_is_cut_off_serves_on_and_catches_up(embedded: World) -> None:
    it = embedded
    with namespace(), relay(it.control_port, (CONTROL[0], 0)) as between:
        far = it.host("apart", upstream=between.url, address=CALLERS[1], inside=("ip", "netns", "exec", FAR), workers=1)
        with it.started(far):
            for _ in range(scaled(1, 5)):
                with it.run() as history:
                    time.sleep(0.5)
                    cable("down")
                    time.sleep(scaled(4, 60))
                    behind = it.newest()
                    cable("up")
                    seconds = it.settle(history, least=behind)
                assert violations(history) == []
                print(f"\nthe cable is in again: converged in {seconds:.2f} s; {len(history.answers)} evaluations")
