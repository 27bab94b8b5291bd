"""What Python sees of the engine. Every `now` is milliseconds since the epoch; left out, the wall clock at the call."""

from collections.abc import Mapping
from os import PathLike
from typing import Any, Literal, final

from engine.explain import Explanation

class SnapshotError(ValueError):
    """The blob is not a snapshot this engine can load: torn, altered, of another format version, or malformed."""

@final
class Evaluation:
    """The answer for one flag and one context. Immutable."""

    @property
    def value(self) -> Any: ...  # None where there is no variant
    @property
    def variant(self) -> str | None: ...
    @property
    def reason(self) -> str: ...  # STATIC DEFAULT TARGETING_MATCH SPLIT DISABLED ERROR
    @property
    def error_code(self) -> str | None: ...  # FLAG_NOT_FOUND TARGETING_KEY_MISSING
    @property
    def metadata(
        self,
    ) -> Mapping[str, Any]: ...  # flagSetId, version (as text), cause and prerequisite where they apply

@final
class PreparedContext:
    """A context classified once, for this snapshot only."""

@final
class Snapshot:
    @classmethod
    def from_bytes(cls, blob: bytes) -> Snapshot: ...  # raises SnapshotError
    @classmethod
    def map(cls, path: str | PathLike[str]) -> Snapshot: ...  # raises SnapshotError, OSError
    @property
    def environment(self) -> str: ...
    @property
    def flag_set_id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def digest(self) -> str: ...  # 64 hexadecimal digits
    @property
    def size(self) -> int: ...  # bytes
    @property
    def flag_keys(self) -> tuple[str, ...]: ...  # in the order of bulk answers
    def __contains__(self, flag_key: object, /) -> bool: ...
    def __len__(self) -> int: ...  # flags
    def evaluate(
        self, flag_key: str, context: Mapping[str, Any] | PreparedContext, *, now: int | None = None
    ) -> Evaluation:
        """One flag.

        Raises TypeError if `context` is neither a mapping nor prepared, ValueError if prepared for another snapshot.
        """
    def evaluate_all(
        self, context: Mapping[str, Any] | PreparedContext, *, now: int | None = None
    ) -> dict[str, Evaluation]: ...
    def prepare(self, context: Mapping[str, Any]) -> PreparedContext:
        """Not to be shared by threads that ask at different times (`now`)."""
    def evaluate_json(
        self,
        body: bytes,
        flag_key: str | None = None,
        *,
        client: bool = False,
        now: int | None = None,
        stale: int | None = None,
    ) -> bytes:
        """An OFREP request body in, an OFREP answer out: bulk, or single with `flag_key`.

        `client` keeps to flags that are client-visible (another is as if it did not exist). A body that cannot be
        evaluated gives an OFREP failure body; see `error_code_of`.

        `stale`: whole seconds since this snapshot was last known to be current, given once that is too long. Then every
        answer but an error has the reason STALE, and the reply's metadata has `ageSeconds`. Raises ValueError if it is
        not within 0 … 2^53 - 1.
        """
    def evaluate_json_if_changed(
        self,
        body: bytes,
        etag: str | None,
        *,
        client: bool = False,
        now: int | None = None,
        stale: int | None = None,
    ) -> tuple[str, bytes | None]:
        """The bulk answer with its ETag (quoted), or no answer when `etag`, an If-None-Match value, names that.

        A body that cannot be evaluated gives its failure with an empty ETag. A stale answer's ETag is another than that
        of a fresh one, and the same whatever the seconds: with a 304 the `ageSeconds` of the kept answer are older.
        """
    def evaluate_batch(
        self,
        body: bytes,
        *,
        encoding: Literal["json", "msgpack"] = "json",
        client: bool = False,
        now: int | None = None,
        stale: int | None = None,
    ) -> bytes:
        """The batch endpoint: `{"contexts": [{…}], "flags": [keys]?, "format": "full" | "compact"?}`, docs/batch.md."""
    @property
    def evaluated(self) -> int:
        """Evaluations that the three calls above have answered since the snapshot was loaded.

        One flag is 1, unless there is no such flag; bulk, the flags in the answer; a batch, contexts times flags in the
        answer, those that do not exist included. A refused body and a 304 are 0.
        """
    def start_counting(self) -> None:
        """From now on, count what the three calls above answer. Takes 8 bytes for each outcome a flag may have."""
    def take_counts(self) -> list[tuple[str, str | None, int]]:
        """(flag key, variant, evaluations) since the last call, none that is 0, in the order of `flag_keys`.

        The variant is None for the code default and for errors. A flag that does not exist is not counted. Empty unless
        `start_counting` was called.
        """
    def explain(self, flag_key: str, context: Mapping[str, Any], *, now: int | None = None) -> Explanation: ...
    def describe(self) -> dict[str, Any]:
        """What is in the snapshot: sizes of its sections, readings and their classes, flags and their trees."""

def error_code_of(reply: bytes) -> str | None:
    """The OpenFeature error code of an answer of evaluate_json or evaluate_batch that failed as a whole, else None."""

def hash64(data: bytes) -> int:
    """XXH64, seed 0."""

def bucket_of(bucketing_key: str, salt: str) -> int:
    """0 … 99,999; docs/semantics.md."""

def id_table(texts: list[bytes], classes: bytes) -> tuple[int, bytes, bytes, bytes]:
    """The id table of these distinct texts, for the compiler: (bits, starts, tags, classes), sections of core/format.h.

    `classes` holds one little-endian uint16 per text. Raises ValueError where many texts have nearly the same hash.
    """
