"""Other flag engines that run inside a Python process, given the flags of benchmarks/flags.py as their own documents.

    load("eppo", specs(1_000)).answer_all(prepared)    every flag for one context, by its fastest public call

Adapters lean towards the peer: its document is loaded, its client started and its form of the context made before
the clock runs, and answers are turned into booleans after it stops. None touches the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from benchmarks.flags import Context, FlagSpec

PEERS = ("eppo", "statsig", "datalogic", "yggdrasil", "flagd", "launchdarkly", "growthbook", "flagsmith")


@dataclass(frozen=True, slots=True)
class Peer:
    distribution: str  # on PyPI
    kind: Literal["flag engine", "rule engine"]  # a rule engine answers no flags by itself: no variants, no reasons
    call: str  # what is timed
    prepare: Callable[[Context], Any]  # untimed: the context as this engine takes it
    answer_all: Callable[[Any], Any]  # timed: a prepared context in, the engine's answers out
    values: Callable[[Any], Sequence[bool]]  # untimed: these answers as booleans, in the order of the flags
    close: Callable[[], object] = lambda: None


def load(name: str, specs: Sequence[FlagSpec]) -> Peer:
    """Raises ImportError where the peer is not installed."""
    loaded = import_module(f"benchmarks.peers.{name}").load(specs)
    assert isinstance(loaded, Peer)
    return loaded
