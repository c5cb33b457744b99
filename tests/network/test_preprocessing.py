"""Photographs become a network's input; what is no photograph is refused."""

import numpy as np
import pytest
import torch

from sklearn_rdm._network._preprocessing import Preprocessing
from tests.network.test_backbones import photographs


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_in_0_to_1_mean_the_same_as_bytes(dtype):
    images = photographs()
    preprocessing = Preprocessing((50, 50))
    floats = preprocessing((images / 255).astype(dtype))
    assert floats.dtype == torch.float32
    torch.testing.assert_close(floats, preprocessing(images), rtol=0, atol=0.02)


def test_preprocessing_leaves_the_images_alone_and_takes_read_only_ones():
    images = photographs(height=50, width=50)
    copy = images.copy()
    images.flags.writeable = False
    result = Preprocessing((50, 50))(images)
    result += 1
    assert np.array_equal(images, copy)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8), np.uint8), r"shape \(n_images, height, width, 3\), got \(2, 8, 8\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), "move a leading channel axis last"),
        (np.zeros((2, 8, 8, 1), np.uint8), "Repeat a grey channel three times"),
        (np.zeros((2, 8, 8, 3), np.int64), "uint8 or float in 0..1, got int64"),
        (np.full((2, 8, 8, 3), 255.0), r"0\.\.1, got 255\.\.255: divide by 255"),
        (np.full((2, 8, 8, 3), -0.1), "divide by 255"),
        (np.full((2, 8, 8, 3), np.nan), r"got nan\.\.nan"),
    ],
)
def test_what_is_no_photograph_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing()(images)
