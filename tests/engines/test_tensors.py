from __future__ import annotations

import numpy as np
import pytest

from engines.errors import BundleError
from engines.tensors import decode_tensors, encode_tensors

ARRAYS = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "one": np.asarray([np.pi], np.float32),
    "none": np.empty((0, 5), np.float32),
}


def test_arrays_come_back_as_they_were() -> None:
    found = decode_tensors(encode_tensors(ARRAYS), "file")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_format_is_that_of_the_safetensors_package() -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    theirs = safetensors.load(encode_tensors(ARRAYS))
    ours = decode_tensors(safetensors.save(ARRAYS), "file")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name], array)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 40,
        encode_tensors(ARRAYS)[:-4],
        b"\x10" + bytes(7) + b'{"a": "nonsense"}',
        (lambda text: len(text).to_bytes(8, "little") + text + bytes(8))(
            b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}'
        ),
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="expected a safetensors file of float32 arrays"):
        decode_tensors(data, "file")
