"""HR images with the LR image that belongs to each, where a dataset's LR is not what HR needs."""

from __future__ import annotations

import numpy as np
import pytest

from srkit.engine.data.pairs import Pairs
from srkit.errors import InputRejected


class Images:
    """One image, and LR of a shape beside it."""

    def __init__(self, shape, lr=None):
        self.shape, self.lr_shape = shape, lr

    def __len__(self):
        return 1

    def name(self, index):
        return "baby"

    def size(self, index):
        return self.shape[:2]

    def read(self, index, window=None):
        return np.zeros(self.shape, np.uint8)

    def lr(self, scale):
        return Images(self.lr_shape)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((24, 20, 6), "the dataset's LR gives uint8 [24, 20, 6], and an image here is uint8 or uint16 [24, 20, 3]"),
        ((24, 20), "the dataset's LR gives uint8 [24, 20], and an image here is uint8 or uint16 [24, 20, 3]"),
        ((24, 21, 3), "LR is 21x24, but HR at scale 2 needs 20x24"),
    ],
)
def test_lr_of_another_shape_is_told_by_what_is_wrong_with_it(shape, told):
    pairs = Pairs(Images((48, 40, 3), shape), 2, degradation=None, made_by="files", files=True)
    with pytest.raises(InputRejected) as error:
        pairs.read(0)
    assert str(error.value) == f"baby: {told}"
