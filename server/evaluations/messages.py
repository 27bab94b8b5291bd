"""What a worker tells the agent of its counts: one datagram through its door.

    Counted(worker=…, number=17, at=1795356000, environments=(("shop/web/production", (("checkout", "new", 41),)),))

becomes `E` and one MessagePack array of at most LARGEST bytes.
"""

from __future__ import annotations

import msgspec

LARGEST = 1 << 16  # bytes of a message; a worker stops filling one at half of that
_TAG = b"E"

Row = tuple[str, str | None, int]  # flag, variant, evaluations


class Counted(msgspec.Struct, frozen=True, array_like=True):
    worker: int  # one number for each process there ever was
    number: int  # of the message, rising
    at: int  # seconds since the epoch
    environments: tuple[tuple[str, tuple[Row, ...]], ...] = ()
    lost: int = 0  # evaluations since the message before that are in no count
    lost_events: int = 0  # of telemetry, since the message before
    versions: tuple[int, ...] = ()  # that counted, for each of `environments`


_decode = msgspec.msgpack.Decoder(Counted).decode
_encode = msgspec.msgpack.Encoder().encode


def encoded(message: Counted) -> bytes:
    return _TAG + _encode(message)


def decoded(datagram: bytes) -> Counted | None:
    """None for what is no such message."""
    if not datagram.startswith(_TAG):
        return None
    try:
        return _decode(memoryview(datagram)[1:])
    except msgspec.MsgspecError:
        return None
