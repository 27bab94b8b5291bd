"""Messages that HTTP implementations disagree about, and a way to make many more of them.

    mutated(random.Random(1))  ->  b"POST /v1/evaluate HTTP/1.1\\r\\nHost : flags…"

What smuggles a request past a proxy is a message of which two parsers see different ends: these are known kinds (RFC
9112 section 11.2; James Kettle, "HTTP Desync Attacks", 2019; the http-garden), each around an evaluate request.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.server.running import BATCH, BULK, SHOP

FLAG = f"{BULK}/new-checkout"
ONE = b'{"context":{"targetingKey":"u-1","country":"DE"}}'
MANY = b'{"contexts":[{"targetingKey":"u-1"},{"country":"DE"}]}'
SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: x\r\nX-API-Key: {SHOP}\r\n\r\n".encode()


def message(path: str = FLAG, body: bytes = ONE, *more: str, key: str = SHOP, length: bool = True) -> bytes:
    """A request that is answered with 200, with `more` header lines."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}"]
    lines += ["Content-Type: application/json", *([f"Content-Length: {len(body)}"] if length else []), *more, "", ""]
    return "\r\n".join(lines).encode() + body


def chunks(body: bytes, *more: str) -> bytes:
    one = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return b"%b0\r\n%b\r\n" % (one, b"".join(f"{line}\r\n".encode() for line in more))


def chunked(header: str = "Transfer-Encoding: chunked", framed: bytes = chunks(ONE), path: str = FLAG) -> bytes:
    return message(path, framed, header, length=False)


VALID = (
    message(),
    message(BULK),
    message(BATCH, MANY),
    message(BATCH, MANY, "Accept: application/msgpack"),
    message(BULK, ONE, 'If-None-Match: "abc", W/"d"', "User-Agent: curl/8", "Accept: */*"),
    message(FLAG, ONE, "Connection: keep-alive", "X-Request-Id:  spaced\t out ", "Empty:"),
    message(FLAG, ONE, "Burgee-Environment: production"),
    message(FLAG, b""),
    message(BULK, b"{"),
    message(f"{BULK}/nope"),
    # what aiohttp answers
    message(FLAG, ONE, "TE: x"),
    message(f"{BULK}?flagConfigLastModified=1"),
    message(f"{BULK}/a%2Fb"),
    message(key="burgee_server_x_y"),
    message(FLAG, ONE, "Expect: 100-continue"),
    message(FLAG, ONE, "Content-Encoding: gzip"),
    chunked(),
    b"GET /v1/evaluate HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
)


def _lengths() -> Iterator[tuple[str, bytes]]:
    """Content-Length: twice, with others' spellings, or beside Transfer-Encoding."""
    for name, first, second in (
        ("same", len(ONE), len(ONE)),
        ("less", len(ONE), 0),
        ("more", 0, len(ONE)),
        ("much more", len(ONE), 100_000),
    ):
        yield (
            f"two lengths: {name}",
            message(FLAG, ONE, f"Content-Length: {first}", f"Content-Length: {second}", length=False),
        )
    for spelling in ("+49", "-1", "0x31", "4 9", "49, 49", "49,0", "49;", " 49\t", "049", "4_9", "", "1e2", "４９"):
        yield f"length {spelling!r}", message(FLAG, ONE, f"Content-Length: {spelling}", length=False)
    for digits in (8, 9, 18, 19, 20, 21, 40):
        yield f"length of {digits} digits", message(FLAG, ONE, f"Content-Length: {'9' * digits}", length=False)
    yield "length, folded", message(FLAG, ONE, "Content-Length:\r\n 49", length=False)
    yield "length, bare CR", message(FLAG, ONE, "Content-Length: 4\r9", length=False)
    yield "length, null", message(FLAG, ONE, "Content-Length: 49\0", length=False)


def _encodings() -> Iterator[tuple[str, bytes]]:
    """Transfer-Encoding beside Content-Length, and disguised."""
    framed = b"0\r\n\r\n" + SMUGGLED
    yield "CL.TE", message(FLAG, framed, "Transfer-Encoding: chunked")
    yield "TE.CL", message(FLAG, chunks(SMUGGLED), "Transfer-Encoding: chunked", "Content-Length: 4", length=False)
    for disguise in (
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked ",
        "Transfer-Encoding: CHUNKED",
        'Transfer-Encoding: "chunked"',
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\0: chunked",
        " Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "transfer-encoding: chunked\r\nTransfer-Encoding: chunked",
    ):
        yield f"{disguise!r} and a length", message(FLAG, framed, disguise)
        yield f"{disguise!r}", chunked(disguise)
        yield f"{disguise!r}, with a request inside", chunked(disguise, framed)
    yield "chunked in HTTP/1.0", chunked().replace(b"HTTP/1.1", b"HTTP/1.0")


def _chunks() -> Iterator[tuple[str, bytes]]:
    """Chunk sizes, extensions, ends and trailers."""
    size = b"%x" % len(ONE)
    whole = chunks(ONE)
    for name, framed in (
        ("extension", whole.replace(b"\r\n", b";a=b\r\n", 1)),
        ("quoted extension", whole.replace(b"\r\n", b';a="\r\n0\r\n\r\n"\r\n', 1)),
        ("extension, bare LF", whole.replace(b"\r\n", b";a\nb\r\n", 1)),
        ("extension, bare CR", whole.replace(b"\r\n", b";a\rb\r\n", 1)),
        ("long extension", whole.replace(b"\r\n", b";" + b"a" * 20_000 + b"\r\n", 1)),
        ("space before the end", whole.replace(b"\r\n", b" \r\n", 1)),
        ("leading zeros", b"0" * 30 + whole),
        ("upper case", whole.replace(size, size.upper(), 1)),
        ("0x", b"0x" + whole),
        ("minus", b"-" + whole),
        ("plus", b"+" + whole),
        ("size beyond 64 bits", b"1" + b"0" * 16 + b"\r\n" + ONE),
        ("size of 2^64 - 1", b"f" * 16 + b"\r\n" + ONE),
        ("no size", b"\r\n" + ONE),
        ("not a size", b"zz\r\n" + ONE),
        ("bare LF", whole.replace(b"\r\n", b"\n")),
        ("bare CR", whole.replace(b"\r\n", b"\r")),
        ("too long", size + b"\r\n" + ONE + b"X\r\n0\r\n\r\n"),
        ("too short", size + b"\r\n" + ONE[:-1] + b"\r\n0\r\n\r\n"),
        ("no end of data", size + b"\r\n" + ONE + b"0\r\n\r\n"),
        ("trailer", chunks(ONE, "X-Trailer: y")),
        ("trailer with a length", chunks(ONE, "Content-Length: 3", "Transfer-Encoding: chunked")),
        ("trailer with a key", chunks(ONE, f"Authorization: Bearer {SHOP}")),
        ("trailer, bare LF", chunks(ONE, "X: y\nZ: a")),
        ("trailer without colon", chunks(ONE, "nothing")),
        ("huge trailer", chunks(ONE, *(f"X-{n}: y" for n in range(3_000)))),
        ("one byte each", b"".join(b"1\r\n%c\r\n" % each for each in ONE) + b"0\r\n\r\n"),
        ("empty", b"0\r\n\r\n"),
        ("never ends", size + b"\r\n" + ONE + b"\r\n"),
    ):
        yield f"chunk: {name}", chunked(framed=framed)


def _heads() -> Iterator[tuple[str, bytes]]:
    """Request lines, line ends, names, values, hosts, versions, sizes."""
    whole = message()
    for name, old, new in (
        ("bare LF", b"\r\n", b"\n"),
        ("bare CR", b"\r\n", b"\r"),
        ("CR CR LF", b"\r\n", b"\r\r\n"),
        ("LF CR", b"\r\n", b"\n\r"),
        ("space before the colon", b"Host:", b"Host :"),
        ("tab before the colon", b"Content-Length:", b"Content-Length\t:"),
        ("null before the colon", b"Content-Length:", b"Content-Length\0:"),
        ("folded", b"Host: localhost", b"Host: local\r\n host"),
        ("folded first", b"Host: localhost", b" Host: localhost"),
        ("null in a value", b"Host: localhost", b"Host: local\0host"),
        ("control in a value", b"Host: localhost", b"Host: local\x01host"),
        ("DEL in a value", b"Host: localhost", b"Host: local\x7fhost"),
        ("CR in a value", b"Host: localhost", b"Host: local\rhost"),
        ("high bytes in a value", b"Host: localhost", b"Host: l\xc3\xb6\xff\xfecal"),
        ("high bytes in a name", b"Host:", b"H\xf6st:"),
        ("high bytes in the key", b"Bearer burgee", b"Bearer \xff\xfeburgee"),
        ("high bytes in the type", b"application/json", b"application/json; charset=\xff\xfe"),
        ("broken type", b"application/json", b'application/json; charset="'),
        ("type with a comment", b"application/json", b"application/(json)json;;;=;="),
        ("no name", b"Host:", b":"),
        ("no colon", b"Host: localhost", b"Host localhost"),
        ("two hosts", b"Host: localhost", b"Host: localhost\r\nHost: other"),
        ("no host", b"Host: localhost\r\n", b""),
        ("empty host", b"Host: localhost", b"Host:"),
        ("strange host", b"Host: localhost", b"Host: a@b:c/d?e#[f"),
        ("half an IPv6 host", b"Host: localhost", b"Host: [::1"),
        ("host with a bad port", b"Host: localhost", b"Host: a:99999999"),
        ("HTTP/1.0", b"HTTP/1.1", b"HTTP/1.0"),
        ("HTTP/2.0", b"HTTP/1.1", b"HTTP/2.0"),
        ("HTTP/0.9", b"HTTP/1.1", b"HTTP/0.9"),
        ("HTTP/1.2", b"HTTP/1.1", b"HTTP/1.2"),
        ("HTTP/01.1", b"HTTP/1.1", b"HTTP/01.1"),
        ("http/1.1", b"HTTP/1.1", b"http/1.1"),
        ("no version", b" HTTP/1.1", b""),
        ("two spaces", b" HTTP/1.1", b"  HTTP/1.1"),
        ("a tab", b" HTTP/1.1", b"\tHTTP/1.1"),
        ("space at the end", b"HTTP/1.1\r\n", b"HTTP/1.1 \r\n"),
        ("more words", b"HTTP/1.1", b"HTTP/1.1 HTTP/1.1"),
        ("lower-case method", b"POST", b"post"),
        ("HEAD", b"POST", b"HEAD"),
        ("CONNECT", b"POST", b"CONNECT"),
        ("CONNECT to a host", b"POST " + FLAG.encode(), b"CONNECT flags:80"),
        ("long method", b"POST", b"P" * 300),
        ("null method", b"POST", b"PO\0ST"),
        ("absolute form", b"POST /", b"POST http://other/"),
        ("absolute form, other scheme", b"POST /", b"POST ftp://a:b@[::1]:0/"),
        ("absolute form, broken", b"POST /", b"POST http://[::1/"),
        ("absolute form, bad port", b"POST /", b"POST http://a:b/"),
        ("two slashes", b"POST /", b"POST //"),
        ("backslash", b"POST /", b"POST \\"),
        ("no slash", b"POST /", b"POST "),
        ("asterisk", b"POST " + FLAG.encode(), b"POST *"),
        ("fragment", b"new-checkout", b"new-checkout#x"),
        ("null in the path", b"new-checkout", b"new\0checkout"),
        ("high bytes in the path", b"new-checkout", b"new\xff\xfecheckout"),
        ("surrogate in the path", b"new-checkout", b"%ED%A0%80"),
        ("half an escape", b"new-checkout", b"%4"),
        ("escaped line end", b"new-checkout", b"a%0d%0aX:%20y"),
        ("parent", b"new-checkout", b"../flags/new-checkout"),
        ("escaped parent", b"new-checkout", b"%2e%2e"),
        ("long key", b"new-checkout", b"k" * 9_000),
        ("bad query", b"new-checkout", b"new-checkout?a=%ff&b=%&=&;"),
        ("upgrade", b"Host:", b"Connection: upgrade\r\nUpgrade: websocket\r\nHost:"),
        (
            "upgrade to h2c",
            b"Host:",
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nHost:",
        ),
        ("hop by hop", b"Host:", b"Connection: close, keep-alive, content-length, authorization\r\nHost:"),
        ("many headers", b"Host:", b"".join(b"X-%d: y\r\n" % n for n in range(2_000)) + b"Host:"),
        ("large header", b"Host:", b"X: " + b"y" * 70_000 + b"\r\nHost:"),
        ("large name", b"Host:", b"X" * 70_000 + b": y\r\nHost:"),
        ("expectation", b"Host:", b"Expect: 200-ok\r\nHost:"),
        ("two expectations", b"Host:", b"Expect: 100-continue\r\nExpect: 100-continue\r\nHost:"),
        ("bad tag", b"Host:", b'If-None-Match: \xff\xfe"\r\nHost:'),
        ("bad environment", b"Host:", b"Burgee-Environment: \xff\xfe\r\nHost:"),
        ("bad accept", b"Host:", b"Accept: \xff;q=nan, application/msgpack;q=1e999\r\nHost:"),
        ("cookies", b"Host:", b"Cookie: \xff=;;=a\r\nHost:"),
        ("forwarded", b"Host:", b'Forwarded: for="\r\nX-Forwarded-For: \0\r\nHost:'),
    ):
        assert old in whole
        yield name, whole.replace(old, new, 1 if old != b"\r\n" else -1)
    yield "bad tag, all flags", message(BULK).replace(b"Host:", b"If-None-Match: \xff\xfe\r\nHost:")
    yield "empty lines first", b"\r\n\r\n\r\n" + whole
    yield "bare LF first", b"\n" + whole
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 30
    yield "HTTP/0.9", b"GET /\r\n"
    yield "proxy protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + whole
    yield "nulls", b"\0" * 1_000
    yield (
        "GET with a body",
        b"GET /v1/evaluate HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
        % (
            len(SMUGGLED),
            SMUGGLED,
        ),
    )


SMUGGLING: dict[str, bytes] = {}
for _kind in (_lengths, _encodings, _chunks, _heads):
    SMUGGLING.update(_kind())

_LARGE = tuple(each for each in SMUGGLING.values() if len(each) >= 2_000)
_SMALL = tuple(each for each in SMUGGLING.values() if len(each) < 2_000)
_PIECES = (
    *(b"\r\n", b"\n", b"\r", b": ", b":", b" ", b"\t", b"\0", b"\x0b", b"\x7f", b"\x80", b"\xff", b"/", b"..", b"%2e"),
    *(b"%", b";", b",", b"0", b"1", b"9" * 20, b"chunked", b"close", b"keep-alive", b"HTTP/1.1", b"HTTP/1.0"),
    *(b"\r\n\r\n", b"0\r\n\r\n", b"\r\n x: y", b"{", b'"', b"\\ud800"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Host: b\r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n"),
    b"Content-Encoding: br\r\n",
)


def mutated(rng: random.Random) -> bytes:
    """One of the messages above, changed in none to four places."""
    kind = rng.random()
    whole = bytearray(rng.choice(VALID if kind < 0.65 else _SMALL if kind < 0.995 else _LARGE))
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 2, 3, 4))):
        at = int(rng.random() * len(whole))
        match int(rng.random() * 10):
            case 0:
                whole[at : at + 1] = bytes((int(rng.random() * 256),))
            case 1:
                del whole[at : at + 1 + int(rng.random() * 4)]
            case 2 | 3:
                whole[at:at] = rng.choice(_PIECES)
            case 4:
                whole[at : at + 1] = bytes((whole[at] ^ (1 << int(rng.random() * 8)),)) if at < len(whole) else b""
            case 5:
                whole[at:at] = whole[at : at + int(rng.random() * 40)]
            case 6:  # two messages, spliced
                other = rng.choice(_SMALL)
                whole[at:] = other[int(rng.random() * len(other)) :]
            case 7:  # cut off
                if rng.random() < 0.2:
                    del whole[at:]
            case _:  # a line twice, elsewhere, or not at all
                lines = bytes(whole).split(b"\r\n")
                line = lines[int(rng.random() * len(lines))]
                if rng.random() < 0.5:
                    lines.remove(line)
                if rng.random() < 0.7:
                    lines.insert(int(rng.random() * len(lines)), line)
                whole = bytearray(b"\r\n".join(lines))
        if not whole:
            return b"\r\n"
    return bytes(whole)


def sliced(whole: bytes, rng: random.Random) -> list[bytes]:
    """The same bytes in two to six parts."""
    cuts = sorted(int(rng.random() * len(whole)) for _ in range(rng.choice((1, 1, 2, 3, 5))))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]
