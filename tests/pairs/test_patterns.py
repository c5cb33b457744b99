"""Response patterns against rsatoolbox, and as a container that scikit-learn slices."""

import pickle

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.model_selection import KFold, train_test_split
from sklearn.utils import _safe_indexing, check_consistent_length, indexable

from sklearn_rdm import ImagePairs, ResponsePatterns

rsatoolbox = pytest.importorskip("rsatoolbox")
N_IMAGES, N_CHANNELS, N_RUNS = 9, 6, 3


def reference(patterns, method, noise=None):
    """RDM of runs by images by channels, as rsatoolbox computes it."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    n_runs, n_images, n_channels = patterns.shape
    data = Dataset(
        patterns.reshape(-1, n_channels),
        obs_descriptors={  # floats: rsatoolbox makes arrays of NaN of their type
            "image": np.tile(np.arange(float(n_images)), n_runs),
            "run": np.repeat(np.arange(float(n_runs)), n_images),
        },
    )
    options = {"noise": noise} if method in ("mahalanobis", "crossnobis") else {}
    if method == "crossnobis":
        options["cv_descriptor"] = "run"
    return calc_rdm(data, method=method, descriptor="image", **options).get_matrices()[0]


def precision(rng, n_channels=N_CHANNELS):
    return np.linalg.inv(np.cov(rng.standard_normal((4 * n_channels, n_channels)).T))


@pytest.mark.parametrize("metric", ["correlation", "euclidean", "mahalanobis", "crossnobis"])
@pytest.mark.parametrize("offset", [0, 1000])
def test_equals_rsatoolbox(metric, offset, rng):
    x = rng.standard_normal((N_RUNS, N_IMAGES, N_CHANNELS)) + offset
    noise = precision(rng) if metric in ("mahalanobis", "crossnobis") else None
    y = ResponsePatterns(x, metric, layout="run image channel", noise_precision=noise)
    expected = reference(x, metric, noise)
    np.testing.assert_allclose(y.to_rdms(), expected[np.newaxis], rtol=0, atol=1e-9)
    index = np.array([[1, 0], [3, 8]])
    np.testing.assert_allclose(
        y.dissimilarities(index)[:, 0], expected[tuple(index.T)], rtol=0, atol=1e-9
    )
    assert y.dissimilarities().shape == (N_IMAGES * (N_IMAGES - 1) // 2, 1)


def test_crossnobis_without_noise_is_the_mean_over_couples_of_runs(rng):
    x = rng.standard_normal((N_RUNS, N_IMAGES, N_CHANNELS))
    difference = x[:, 2] - x[:, 5]
    couples = [difference[r] @ difference[q] for r in range(3) for q in range(3) if r != q]
    y = ResponsePatterns(x, "crossnobis")
    assert y.dissimilarities([[2, 5]]).item() == pytest.approx(np.mean(couples) / N_CHANNELS)
    assert y.dissimilarities().min() < 0  # signed


def test_cosine(rng):
    x = rng.standard_normal((N_IMAGES, N_CHANNELS))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    got = ResponsePatterns(x, "cosine").to_rdms()[0]
    np.testing.assert_allclose(got, 1 - unit @ unit.T, rtol=0, atol=1e-14)


def test_noise_as_covariance_and_as_residuals(rng):
    from rsatoolbox.data.noise import cov_from_residuals

    x = rng.standard_normal((N_IMAGES, N_CHANNELS))
    residuals = rng.standard_normal((40, N_CHANNELS)) @ rng.standard_normal((N_CHANNELS,) * 2)

    def rdms(**noise):
        return ResponsePatterns(x, "mahalanobis", **noise).to_rdms()

    covariance = np.cov(residuals.T)
    of_precision = rdms(noise_precision=np.linalg.inv(covariance))
    np.testing.assert_allclose(rdms(noise_covariance=covariance), of_precision, rtol=1e-9)
    for shrinkage, method in [("diagonal", "shrinkage_diag"), ("identity", "shrinkage_eye")]:
        expected = rdms(noise_covariance=cov_from_residuals(residuals, method=method))
        got = rdms(noise_residuals=residuals, shrinkage=shrinkage)
        np.testing.assert_allclose(got, expected, rtol=1e-9)
    own = rdms(noise_residuals=residuals, shrinkage="identity")
    np.testing.assert_allclose(
        own, rdms(noise_covariance=ledoit_wolf(residuals)[0] * 40 / 39), rtol=1e-9
    )


@pytest.mark.parametrize("metric", ["correlation", "crossnobis"])
def test_time_points_and_their_mean(metric, rng):
    x = rng.standard_normal((N_RUNS, N_IMAGES, N_CHANNELS, 4))
    y = ResponsePatterns([x, x[:, :, :5]], metric)
    assert y.n_times == 4
    dissim, rdms = y.dissimilarities(), y.to_rdms()
    assert dissim.shape == (36, 2, 4)
    assert rdms.shape == (2, 4, N_IMAGES, N_IMAGES)
    one = ResponsePatterns(x[..., 2], metric, layout="run image channel")
    np.testing.assert_allclose(dissim[:, 0, 2], one.dissimilarities()[:, 0], atol=1e-12)
    np.testing.assert_allclose(rdms[0, 2], one.to_rdms()[0], atol=1e-12)
    mean = ResponsePatterns([x, x[:, :, :5]], metric, time_average=True)
    np.testing.assert_allclose(mean.dissimilarities(), dissim.mean(axis=2), atol=1e-12)
    np.testing.assert_allclose(mean.to_rdms(), rdms.mean(axis=1), atol=1e-12)


def test_images_not_seen_are_nan(rng):
    x = rng.standard_normal((2, N_IMAGES, N_CHANNELS))
    expected = ResponsePatterns(list(x)).to_rdms()
    seen = np.ones((2, N_IMAGES), dtype=bool)
    seen[1, [2, 3]] = False
    masked = ResponsePatterns(list(x), seen=seen)
    holes = x.copy()
    holes[1, [2, 3]] = np.nan
    for y in (masked, ResponsePatterns(list(holes))):
        rdms = y.to_rdms()
        np.testing.assert_allclose(rdms[0], expected[0], atol=1e-14)
        kept = np.ix_(seen[1], seen[1])
        np.testing.assert_allclose(rdms[1][kept], expected[1][kept], atol=1e-14)
        assert np.isnan(rdms[1, 2, [0, 3]]).all()
        assert (np.diagonal(rdms, axis1=1, axis2=2) == 0).all()
        dissim = y.dissimilarities([[2, 3], [0, 1], [0, 2]])
        assert np.isnan(dissim).tolist() == [[False, True], [False, False], [False, True]]


def test_mean_over_the_runs_that_have_an_image(rng):
    x = rng.standard_normal((2, N_IMAGES, N_CHANNELS))
    x[0, 4] = np.nan
    y = ResponsePatterns(x, "euclidean", layout="run image channel")
    expected = ResponsePatterns(np.nanmean(x, axis=0), "euclidean")
    np.testing.assert_allclose(y.to_rdms(), expected.to_rdms(), atol=1e-14)
    with pytest.raises(ValueError, match="image 4 of subject 0 has no pattern in run 0"):
        ResponsePatterns(x, "crossnobis")


def test_sequence_of_images(rng):
    x = [rng.standard_normal((N_IMAGES, 5)), rng.standard_normal((N_IMAGES, 7))]
    y, whole = ResponsePatterns(x), ResponsePatterns(x).to_rdms()
    rows = np.array([7, 0, 3])
    bools = np.isin(np.arange(N_IMAGES), rows)
    for key, kept in [
        (rows, rows), (rows.tolist(), rows), (slice(2, 6), np.arange(2, 6)),
        (bools, np.sort(rows)), ((rows, Ellipsis), rows), (4, np.array([4])), (-1, np.array([8])),
    ]:  # fmt: skip
        part = y[key]
        assert len(part) == len(kept) == part.shape[0]
        assert all(a is b for a, b in zip(part.patterns, y.patterns, strict=True))
        np.testing.assert_allclose(part.to_rdms(), whole[:, kept][:, :, kept], atol=1e-13)
    again = y[rows][[2, 0]]
    assert again.rows.tolist() == [3, 7]
    repeated = y[[1, 1, 2]].to_rdms()
    assert (np.abs(repeated[:, 0, 1]) < 1e-14).all()
    with pytest.raises(TypeError, match="one axis"):
        y[1, 2]
    with pytest.raises(TypeError, match="whole numbers"):
        y[[0.5]]
    with pytest.raises(TypeError, match="not an array"):
        np.asarray(y)


def test_container_contract(rng):
    y = ResponsePatterns(rng.standard_normal((N_IMAGES, N_CHANNELS)))
    images = np.zeros((N_IMAGES, 2))
    check_consistent_length(images, y)
    assert indexable(images, y)[1] is y
    assert isinstance(_safe_indexing(y, [1, 2]), ResponsePatterns)
    assert [len(part) for part in train_test_split(images, y, test_size=3)] == [6, 3, 6, 3]
    train, _ = next(KFold(3).split(images, y))
    assert len(y[train]) == 6
    assert not {"fit", "iloc", "device", "dtype"} & {*dir(y)}
    copied = pickle.loads(pickle.dumps(y[2:5]))
    np.testing.assert_array_equal(copied.to_rdms(), y[2:5].to_rdms())
    assert y.__sizeof__() > y.patterns[0].nbytes


class Stored:
    """An array as zarr's: orthogonal selection, and a count of the numbers read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.n_read, self.oindex = 0, self

    def __getitem__(self, key):
        part = self.array[key]
        self.n_read += part.size
        return part


def test_arrays_on_disk_are_read_by_rows(tmp_path, rng):
    h5py = pytest.importorskip("h5py")
    x = rng.standard_normal((2, 60, N_CHANNELS)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    file = h5py.File(tmp_path / "x.h5", "w")
    dataset = file.create_dataset("a/betas", data=x)
    file.flush()
    stored = Stored(x)
    rows = [50, 3, 3, 4, 20]
    expected = ResponsePatterns(x, "crossnobis")[rows].to_rdms()
    memmap = np.load(tmp_path / "x.npy", mmap_mode="r")
    for array in (memmap, dataset, stored):
        y = ResponsePatterns(array, "crossnobis")
        assert "read from disk" in repr(y)
        np.testing.assert_array_equal(y[rows].to_rdms(), expected)
        assert y[rows].dissimilarities([[0, 1]]).item() == pytest.approx(expected[0, 0, 1])
    assert stored.n_read < x.size / 4
    file.close()
    reopened = h5py.File(tmp_path / "x.h5", "r")
    y = pickle.loads(pickle.dumps(ResponsePatterns(reopened["a/betas"], "crossnobis")))
    reopened.close()
    np.testing.assert_array_equal(y[rows].to_rdms(), expected)


def test_few_pairs_of_many_images_equal_the_matrix(rng):
    y = ResponsePatterns(rng.standard_normal((3, 200, 4)), "crossnobis")
    index = rng.permutation(200)[:100].reshape(-1, 2)
    np.testing.assert_allclose(
        y.dissimilarities(index)[:, 0], y.to_rdms()[0][tuple(index.T)], atol=1e-12
    )


def test_pairs_of_images(rng):
    x = rng.standard_normal((2, 4, 5))
    x[:, 3] = np.nan
    y, images = ResponsePatterns(list(x)), rng.random((4, 8, 8, 3))
    pairs, dissim = y.to_pairs(images)
    same, expected = ImagePairs.from_rdms(images, y.to_rdms())
    np.testing.assert_array_equal(pairs.index, same.index)
    np.testing.assert_allclose(dissim, expected, atol=1e-14)
    assert pairs.n_left_out == 3
    with pytest.raises(ValueError, match="got 3 images and response patterns to 4"):
        y.to_pairs(images[:3])
    with pytest.raises(TypeError, match="samples are pairs"):
        y.to_pairs(pairs)


def test_a_random_part_of_the_pairs(rng):
    x = rng.standard_normal((2, 30, 5))
    x[:, 7] = np.nan
    x[0, 3] = np.nan
    y, images = ResponsePatterns(list(x)), rng.random((30, 8))
    pairs, dissim = y.to_pairs(images, n_pairs=200, random_state=0)
    again, same = y.to_pairs(images, n_pairs=200, random_state=0)
    np.testing.assert_array_equal(pairs.index, again.index)
    np.testing.assert_array_equal(dissim, same)
    assert len(np.unique(pairs.index @ [30, 1])) == len(pairs) == 200 - pairs.n_left_out
    rdms = y.to_rdms()
    np.testing.assert_allclose(dissim, rdms[:, *pairs.index.T].T, atol=1e-14)
    other = y.to_pairs(images, n_pairs=200, random_state=1)[0]
    assert not np.array_equal(other.index, pairs.index)
    every = y.to_pairs(images, n_pairs=10**6)[0]
    np.testing.assert_array_equal(every.index, y.to_pairs(images)[0].index)
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match="n_pairs must be a whole number"):
            y.to_pairs(images, n_pairs=wrong)


def test_all_pairs_are_as_likely(rng):
    y, images = ResponsePatterns(rng.standard_normal((12, 4))), np.zeros((12, 1))
    drawn = np.zeros((12, 12))
    for seed in range(400):
        index = y.to_pairs(images, n_pairs=11, random_state=seed)[0].index
        drawn[tuple(index.T)] += 1
    counts = drawn[np.triu_indices(12, 1)]  # binomial: 400 draws, 1 in 6
    assert counts.sum() == 4400
    assert abs(counts / 400 - 1 / 6).max() < 5 * np.sqrt(5 / 36 / 400)


def test_some_of_the_subjects(rng):
    x = [rng.standard_normal((3, 6, p)) for p in (4, 5, 6)]
    seen = rng.random((3, 6)) < 0.8
    precisions = [precision(rng, p) for p in (4, 5, 6)]
    y = ResponsePatterns(x, "crossnobis", seen=seen, noise_precision=precisions)
    some = y._of_subjects(np.array([2, 0]))[[5, 1, 2]]
    assert (some.n_subjects, some.n_channels) == (2, [6, 4])
    np.testing.assert_array_equal(some.to_rdms(), y[[5, 1, 2]].to_rdms()[[2, 0]])


def test_pairs_that_nobody_has_seen_are_an_error():
    images = np.random.default_rng(0).random((5, 3))
    with pytest.raises(ValueError, match="there is no dissimilarity"):
        ResponsePatterns(images, seen=np.arange(5) == 0).to_pairs(images)
