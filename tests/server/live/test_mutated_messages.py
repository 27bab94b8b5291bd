"""Whatever arrives at a live server, it neither dies nor fails nor hangs, and others are answered right meanwhile.

8,000 mutated messages by default, 100,000 with BURGEE_PROFILE=long, 1,000,000 with BURGEE_PROFILE=nightly. Every
message of the corpus also arrives cut in two (nightly at every byte), and byte by byte.
"""

from __future__ import annotations

import asyncio
import os
import random

import uvloop

from tests.server.live.conftest import BODY_TIMEOUT, HEAD_TIMEOUT, KEEPALIVE_TIMEOUT
from tests.server.live.corpus import ONE, SMUGGLING, VALID, message
from tests.server.live.processes import descendants, descriptors, megabytes
from tests.server.live.traffic import exchange, storm
from tests.server.running import BULK, PATIENCE, SHOP, Running, until

PROFILE = os.environ.get("BURGEE_PROFILE", "ci")
MESSAGES = {"nightly": 1_000_000, "long": 100_000}.get(PROFILE, 8_000)
LARGEST_CUT = 1_500  # bytes of a message that is cut at every byte
CUTS = {"nightly": 10_000, "long": 200}.get(PROFILE, 8)  # for each message


def test_mutated_messages(impatient: Running) -> None:
    before, open_before = descendants(impatient.process.pid), descriptors(impatient.process.pid)
    memory = megabytes(impatient.process.pid)
    outcome = uvloop.run(storm(impatient.address, MESSAGES, seed=random.randrange(1 << 32)))
    assert outcome.sent == MESSAGES
    assert outcome.asked >= 3
    assert {200, 400, 401, 404, 405, 408, 413, 415} <= outcome.statuses.keys()  # or these were not the messages meant
    assert outcome.longest < HEAD_TIMEOUT + BODY_TIMEOUT + KEEPALIVE_TIMEOUT + PATIENCE
    assert descendants(impatient.process.pid) == before  # nobody died and was replaced
    until(lambda: descriptors(impatient.process.pid) <= open_before + 8)  # files that are looked at
    assert megabytes(impatient.process.pid) < memory + 64
    assert impatient.post(f"{BULK}/new-checkout", ONE, key=SHOP).status == 200


def agree(one: list[int], other: list[int]) -> bool:
    """The same answers, but for where the end of a connection was noticed: aiohttp drops what came in one read with
    bytes that are not HTTP, and answers 400 for all of it; and what follows a last request may be read or not."""
    if 400 not in (*one[-1:], *other[-1:]):
        return one == other
    answered = [each[:-1] if each[-1:] == [400] else each for each in (one, other)]
    shorter, longer = sorted(answered, key=len)
    return longer[: len(shorter)] == shorter


def test_sliced_messages_get_the_answers_of_whole_ones(impatient: Running) -> None:
    rng = random.Random(8)
    last = message(f"{BULK}/reviews", ONE, "Connection: close")

    async def check(whole: bytes, limit: asyncio.Semaphore) -> None:
        async with limit:
            expected = await exchange(impatient.address, [whole])
        cuts = range(1, len(whole))
        chosen = rng.sample(cuts, CUTS) if len(cuts) > CUTS else cuts
        ways = [[whole[:cut], whole[cut:]] for cut in chosen]
        ways.append([bytes([each]) for each in whole])
        await asyncio.gather(*(check_sliced(parts, expected, limit) for parts in ways))

    async def check_sliced(parts: list[bytes], expected: list[int], limit: asyncio.Semaphore) -> None:
        async with limit:
            found = await exchange(impatient.address, parts)
        assert agree(expected, found), (expected, found, parts)

    async def check_all() -> None:
        limit = asyncio.Semaphore(400)
        wholes = [each + last for each in (*VALID, *SMUGGLING.values()) if len(each) < LARGEST_CUT]
        await asyncio.gather(*(check(each, limit) for each in wholes))

    uvloop.run(check_all())
