"""Banks for networks that compare and are not trained: patches of good parts, few enough for the time of a cycle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.bank import Bank
from trainer.anoco import AnchoredNormals
from trainer.memory_bank import MemoryBank, Progress, choose_patches
from trainer.methods import Method

# With 784 patches a photograph the search is then 1.2 GMAC, about what resnet18 takes up to level 3, and the bundle
# grows by 6 MB. PatchCore's own share, a tenth of all patches, is 15 times that for 762 photographs.
BANK_SIZE = 4096


def collect(
    method: Method,
    patches: NDArray[np.float16],
    seed: int = 0,
    images: NDArray[np.intp] | None = None,
    progress: Progress | None = None,
    size: int = BANK_SIZE,
) -> Bank:
    """The bank of `patchcore` or `anoco`: at most `size` of the patches `(N, P, C)`, as `choose_patches` takes them."""
    vectors = choose_patches(patches, size, seed, images, progress)
    return (MemoryBank if method == "patchcore" else AnchoredNormals)(vectors).to_head()
