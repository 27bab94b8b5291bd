"""What Python sees of the shared memory. Times are CLOCK_MONOTONIC in seconds, which all processes of a host share."""

from collections.abc import Mapping
from typing import final

ROUTE_NAMES: tuple[str, ...]
STATUS_CODES: tuple[int, ...]
KEY_REASONS: tuple[str, ...]
LIMITS: tuple[str, ...]
BOUNDS: tuple[float, ...]  # seconds: upper bounds of the buckets of durations

@final
class Page:
    """Anonymous memory that children share once it was made; `blocks` processes may count in it."""

    def __init__(self, blocks: int) -> None: ...
    @property
    def block_count(self) -> int: ...
    position: int  # of the journal; server/state/journal.py
    confirmed_at: float
    ready: bool
    draining: bool
    def block(self, index: int) -> Block: ...
    def cell(self, name: str) -> Cell:
        """The one of this tenant or project, in every process. After some 250,000 names, one that others have too."""
    def streams_of(self, cell: Cell) -> int: ...  # of all processes
    def bytes_of(self, cell: Cell) -> int: ...

@final
class Block:
    """What one process counts. Only that process writes; everybody reads."""

    @property
    def index(self) -> int: ...
    pid: int
    position: int
    started_at: float  # seconds since the epoch
    heartbeat: float
    connections: int
    in_flight: int
    streams: int
    mapped: int  # snapshots
    mapped_bytes: int
    evaluations: int
    maps: int
    map_failures: int
    evictions: int
    overloaded: bool  # it sheds, now
    slot: int  # of a worker, from 0; it says which side of a canary it is on
    def begin(self) -> None:
        """For a new process: what is `now` starts from zero, what is counted goes on."""
    def end(self) -> None: ...
    def count(self, route: str, status: int, more: int = 1) -> None: ...
    def observe(self, route: str, seconds: float) -> None: ...
    def refuse_key(self, why: str) -> None: ...
    def shed(self, route: str) -> None: ...
    def hold(self, cell: Cell, *, bytes: int = 0, streams: int = 0) -> None:
        """This process has so many more (or fewer) bytes of bodies or streams of a tenant."""
    def requests(self) -> Mapping[tuple[str, int], int]: ...  # those that are not 0; so in the next ones
    def durations(self) -> Mapping[str, tuple[list[int], float]]: ...  # by route: counts per bucket, seconds
    def refused_keys(self) -> Mapping[str, int]: ...
    def limited(self) -> Mapping[str, int]: ...
    def sheds(self) -> Mapping[str, int]: ...

@final
class Cell:
    """What all processes know of a tenant or a project."""

    @property
    def index(self) -> int: ...
    behind_since: float  # 0: its source says what is served
