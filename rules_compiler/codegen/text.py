"""TEXT: everything with a place and a length; names once, however often they are used.

intern(b"country")   ->   Extent(at=4711, length=7), and again the same
"""

from __future__ import annotations

from rules_compiler.codegen.layout import Extent

_END = bytes(64)  # a reader may look this far past any text


class TextPool:
    def __init__(self) -> None:
        self._content: list[bytes] = []
        self._length = 0
        self._known: dict[bytes, Extent] = {}

    def append(self, content: bytes) -> int:
        """Where it is; never shared."""
        at = self._length
        self._content.append(content)
        self._length += len(content)
        return at

    def intern(self, text: bytes) -> Extent:
        extent = self._known.get(text)
        if extent is None:
            extent = self._known[text] = Extent(self.append(text), len(text))
        return extent

    def finish(self) -> bytes:
        return b"".join((*self._content, _END))
