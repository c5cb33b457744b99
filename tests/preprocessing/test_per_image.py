import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rdm import ImagePairs
from sklearn_rdm.preprocessing import PerImage, SubjectPooling


def test_unfitted(dissim, pairs):
    with pytest.raises(NotFittedError):
        SubjectPooling().transform(dissim)
    with pytest.raises(NotFittedError):
        PerImage(StandardScaler()).transform(pairs)


def test_per_image_fits_on_the_used_images_each_once(pairs):
    train = pairs[(pairs.index < 5).all(axis=1)][:7]  # image 0 in 4 pairs, image 4 in 2
    scaler = PerImage(StandardScaler()).fit(train).transformer_
    expected = StandardScaler().fit(pairs.images[:5])
    np.testing.assert_array_equal(scaler.mean_, expected.mean_)
    np.testing.assert_array_equal(scaler.scale_, expected.scale_)


def test_per_image_does_not_see_a_poisoned_held_out_image(pairs):
    train = pairs[(pairs.index < 7).all(axis=1)]
    before = PerImage(StandardScaler()).fit(train)
    train.images[7] = 1e30
    after = PerImage(StandardScaler()).fit(train)
    np.testing.assert_array_equal(before.transformer_.mean_, after.transformer_.mean_)
    np.testing.assert_array_equal(before.transformer_.var_, after.transformer_.var_)


def test_per_image_keeps_pairs_groups_and_dtype(pairs):
    transformed = PerImage(StandardScaler()).fit_transform(pairs[3:9])
    assert isinstance(transformed, ImagePairs)
    np.testing.assert_array_equal(transformed.index, pairs.index[3:9])
    np.testing.assert_array_equal(transformed.image_groups, pairs.image_groups)
    assert transformed.images.shape == pairs.images.shape
    assert transformed.images.dtype == np.float32
    assert transformed.images is not pairs.images


def test_per_image_transforms_arrays_of_images_and_of_pairs(pairs, rng):
    per_image = PerImage(PCA(2)).fit(pairs)
    images = rng.normal(size=(3, 5))
    expected = per_image.transformer_.transform(images)
    np.testing.assert_array_equal(per_image.transform(images), expected)
    two_per_sample = per_image.transform(images[[[0, 1], [2, 0]]])
    np.testing.assert_array_equal(two_per_sample.index, [[0, 1], [2, 0]])
    np.testing.assert_allclose(two_per_sample.images, expected)


def test_per_image_flattens_images(rng):
    images = rng.integers(0, 255, (4, 3, 2, 3), dtype=np.uint8)
    pairs = ImagePairs(images, [[0, 1], [1, 2], [0, 2]])
    per_image = PerImage(StandardScaler()).fit(pairs)
    assert per_image.n_features_in_ == 18
    assert per_image.transform(pairs).images.shape == (4, 18)
    assert per_image.transform(images[:2]).shape == (2, 18)


def test_images_of_two_rows_are_not_taken_for_pairs(rng):
    images = rng.normal(size=(4, 2, 3))
    per_image = PerImage(StandardScaler()).fit(ImagePairs(images, [[0, 1], [1, 2], [0, 2]]))
    assert per_image.transform(images).shape == (4, 6)


def test_per_image_refuses_another_number_of_features(pairs, rng):
    with pytest.raises(ValueError, match="have 4 features each, .* images of 5 features"):
        PerImage(StandardScaler()).fit(pairs).transform(rng.normal(size=(3, 4)))


def test_per_image_parameters_are_nested_and_cloned(pairs):
    per_image = PerImage(make_pipeline(StandardScaler(), PCA(3)))
    per_image.set_params(transformer__pca__n_components=2)
    assert clone(per_image).get_params()["transformer__pca__n_components"] == 2
    assert per_image.fit_transform(pairs).images.shape == (8, 2)
    assert not hasattr(per_image.transformer.named_steps["pca"], "components_")


def test_per_image_reads_a_memmap(pairs, tmp_path):
    np.save(tmp_path / "images.npy", pairs.images)
    mapped = ImagePairs(np.load(tmp_path / "images.npy", mmap_mode="r"), pairs.index)
    expected = PerImage(StandardScaler()).fit_transform(pairs).images
    np.testing.assert_array_equal(PerImage(StandardScaler()).fit_transform(mapped).images, expected)
