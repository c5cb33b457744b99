import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr

from sklearn_rdm import ImagePairs
from sklearn_rdm.datasets import _fetchers as datasets
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.datasets._simulated import REGIONS, image_features


def spearman_with(subjects, model):
    pairs = np.triu_indices(model.shape[-1], 1)
    return np.array([spearmanr(subject[pairs], model[pairs])[0] for subject in subjects])


@pytest.fixture(scope="module")
def simulated():
    return make_rdm_regression(48, 8, random_state=0)


def test_simulated_shapes_and_valid_matrices(simulated):
    assert simulated.images.shape == (48, 128, 128, 3)
    assert simulated.images.dtype == np.uint8
    assert simulated.rdms.shape == (8, 48, 48)
    for rdm in [simulated.true_rdm, *simulated.rdms]:
        assert_array_equal(rdm, rdm.T)
        assert_array_equal(np.diag(rdm), 0)
        assert rdm.min() >= 0
        assert rdm.max() <= 2
    assert len({image.tobytes() for image in simulated.images}) == 48
    assert len(set(simulated.image_names)) == 48
    assert len(set(simulated.image_groups)) == 8
    pairs, dissim = ImagePairs.from_rdms(simulated.images, simulated.rdms)
    assert dissim.shape == (len(pairs), 8)


def test_true_matrix_is_the_correlation_distance_of_the_weighted_features(simulated):
    weighted = simulated.features * simulated.feature_weights
    assert weighted.shape == (48, 176)
    assert len(simulated.feature_names) == 176
    assert_allclose(simulated.true_rdm, 1 - np.corrcoef(weighted), atol=1e-12)
    assert_allclose(simulated.features[::5], image_features(simulated.images[::5]))


def test_noise_ceilings_are_what_they_claim(simulated):
    ceiling = simulated.noise_ceiling
    observed = spearman_with(simulated.rdms, simulated.true_rdm).mean()
    assert_allclose(ceiling.observed, observed)
    upper = spearman_with(simulated.rdms, simulated.rdms.mean(axis=0)).mean()
    assert_allclose(ceiling.upper, upper)
    assert ceiling.observed < ceiling.upper
    many = make_rdm_regression(48, 60, random_state=0)
    assert_allclose(many.noise_ceiling.observed, ceiling.expected, atol=0.03)
    assert_array_equal(many.true_rdm, simulated.true_rdm)
    # With many subjects their mean becomes the truth.
    assert spearman_with([many.rdms.mean(axis=0)], many.true_rdm)[0] > 0.95


def test_noise_sets_the_ceiling():
    exact = make_rdm_regression(10, 2, noise=0, random_state=0)
    assert_array_equal(exact.rdms, np.stack([exact.true_rdm] * 2))
    assert_allclose(list(exact.noise_ceiling.values()), 1)
    expected = [
        make_rdm_regression(10, 2, noise=noise, random_state=0).noise_ceiling.expected
        for noise in (0.5, 1, 2, 4)
    ]
    assert expected == sorted(expected, reverse=True)


def test_random_state_repeats_everything():
    one, two, other = (make_rdm_regression(8, 2, random_state=seed) for seed in (0, 0, 1))
    for key in ("images", "rdms", "true_rdm", "image_groups"):
        assert_array_equal(one[key], two[key])
    assert one.noise_ceiling == two.noise_ceiling
    assert (one.images != other.images).any()
    assert (one.rdms != other.rdms).any()
    again = make_rdm_regression(8, 2, random_state=np.random.RandomState(0))
    assert_array_equal(one.rdms, again.rdms)


@pytest.mark.parametrize(("n_images", "n_subjects", "image_size"), [(3, 1, 16), (200, 2, 32)])
def test_fewest_and_most_images(n_images, n_subjects, image_size):
    data = make_rdm_regression(n_images, n_subjects, image_size=image_size, random_state=0)
    assert data.images.shape == (n_images, image_size, image_size, 3)
    assert len({image.tobytes() for image in data.images}) == n_images
    assert np.isnan(data.noise_ceiling.upper) == (n_subjects == 1)
    assert (data.images.reshape(n_images, -1).std(axis=1) > 0).all()


def test_groups_share_no_pixel():
    data = make_rdm_regression(200, 1, image_size=16, random_state=1)
    for name, group in zip(data.image_names, data.image_groups, strict=True):
        photo, left, top, side = name.split("_")
        region = REGIONS[photo][int(group.split()[1]) - 1]
        assert group.startswith(photo)
        assert region[0] <= int(left) < int(left) + int(side) <= region[1]
        assert 0 <= int(top) <= 427 - int(side)
    for regions in REGIONS.values():
        assert all(a[1] <= b[0] for a, b in zip(regions, regions[1:], strict=False))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"n_images": 2}, ValueError),
        ({"n_images": 201}, ValueError),
        ({"n_images": 4.5}, TypeError),
        ({"n_subjects": 0}, ValueError),
        ({"image_size": (64, 64)}, TypeError),
        ({"noise": -1}, ValueError),
    ],
)
def test_simulation_refuses_what_it_cannot_make(arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        make_rdm_regression(**arguments)


def test_descriptions_cite_the_source(simulated):
    assert "SIMULATED" in simulated.description
    assert "arXiv:1905.05675" in datasets.ALGONAUTS_DESCRIPTION
    assert "Neuron 60(6):1126" in datasets.KRIEGESKORTE_DESCRIPTION
