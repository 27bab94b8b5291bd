"""A user that asks tenants who they are, so that an answer from another tenant's flags cannot pass.

self.who("small tenants", "t-00042")     POST …/flags/who with the key of t-00042 must say "t-00042"
"""

from __future__ import annotations

from typing import Any

import msgspec

from loadtests.caller import Caller, keys
from loadtests.questions import SINGLE

KNOWN = b'{"context":{"targetingKey":"u-1","plan":"known"}}'


class Who(Caller):
    abstract = True

    def who(self, name: str, tenant: str, *, may_be_refused: bool = False) -> None:
        def check(answer: Any) -> str | None:
            if answer.status_code == 429:
                after = answer.headers.get("Retry-After") or ""
                return None if after.isdigit() else f"429 with Retry-After {after!r}"
            given = msgspec.json.decode(answer.content)
            flag_set = given["metadata"]["flagSetId"]
            right = given["value"] == tenant and flag_set.startswith(f"{tenant}/")
            return None if right else f"the answer of {flag_set}: {given['value']!r}"

        wanted = (200, 429) if may_be_refused else 200
        self.ask(name, f"{SINGLE}who", KNOWN, keys()[tenant]["server"], check, status=wanted)
