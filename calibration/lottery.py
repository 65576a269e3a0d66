"""Which of the parts that are kept for certain count as if they had been drawn, too.

Good parts that a person confirmed may calibrate a threshold where their scores had no say in whether they were looked
at. Parts that pass are drawn with some share, but rejected ones are all looked at, which is far more often. So that
they do not outweigh the others, a draw of their own takes the same share of them. It is made from the part's key, hence
always the same, and nobody can draw again until the result pleases.
"""

from __future__ import annotations

import hashlib

_BITS = 64


def drawn(key: int, share: float) -> bool:
    """Whether the part with this key, 0 or larger, is among a `share`, 0 to 1, of all parts."""
    number = int.from_bytes(hashlib.sha256(b"%d" % key).digest()[: _BITS // 8], "big")
    return number < share * 2**_BITS
