"""Named float32 arrays as safetensors, read and written with numpy alone: a station has no package for it.

The format: the length of a JSON header as 8 bytes, little endian; the header, which gives type, shape and place of
every array; the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.errors import BundleError

_PREFIX = 8


class _Entry(msgspec.Struct, frozen=True):
    dtype: Literal["F32"]
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def encode_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return the bytes of a safetensors file; arrays are stored as float32, sorted by name."""
    header: dict[str, _Entry] = {}
    blocks: list[bytes] = []
    place = 0
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name], "<f4")
        blocks.append(array.tobytes())
        header[name] = _Entry("F32", array.shape, (place, place + array.nbytes))
        place += array.nbytes
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % _PREFIX)
    return b"".join([len(text).to_bytes(_PREFIX, "little"), text, *blocks])


def decode_tensors(data: bytes, name: str) -> dict[str, NDArray[np.float32]]:
    """Decode a safetensors file of float32 arrays; `name` is for the message. Raises BundleError."""
    start = _PREFIX + int.from_bytes(data[:_PREFIX], "little")
    try:
        header = msgspec.json.decode(data[_PREFIX:start], type=dict[str, _Entry])
        return {key: _array(entry, data[start:]) for key, entry in header.items()}
    except (msgspec.DecodeError, ValueError) as error:
        raise BundleError(f"{name}: expected a safetensors file of float32 arrays ({error}); calibrate again") from None


def _array(entry: _Entry, data: bytes) -> NDArray[np.float32]:
    first, last = entry.data_offsets
    if not 0 <= first <= last <= len(data):
        raise ValueError("an array lies beyond the end of the file")
    return np.frombuffer(data[first:last], "<f4").reshape(entry.shape)
