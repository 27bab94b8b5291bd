"""Golden files: parts of `=== name`, what goes in, `---`, what comes out; `pytest --update-golden` writes that."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "golden"


class Golden(NamedTuple):
    file: Path
    name: str
    given: str
    expected: str

    def check(self, result: str, update: bool) -> None:
        if not update:
            assert result.strip() == self.expected.strip()
            return
        parts = [each._replace(expected=result) if each.name == self.name else each for each in golden(self.file.stem)]
        self.file.write_text(
            "\n".join(f"=== {each.name}\n{each.given}---\n{each.expected.strip()}\n" for each in parts)
        )


def golden(stem: str) -> list[Golden]:
    file = FOLDER / f"{stem}.txt"
    found = []
    for part in ("\n" + file.read_text()).split("\n=== ")[1:]:
        name, _, rest = part.partition("\n")
        given, _, expected = f"{rest}\n".partition("---\n")
        found.append(Golden(file, name, given, expected.strip()))
    assert len({each.name for each in found}) == len(found)
    return found
