import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from sklearn_rdm import RDMEmbeddingDisplay

UPPER = np.triu_indices(6, 1)


def test_map_keeps_distances_that_fit_in_a_plane():
    points = np.random.default_rng(0).random((5, 2))
    display = RDMEmbeddingDisplay.from_rdm(squareform(pdist(points)))
    np.testing.assert_allclose(pdist(display.coordinates), pdist(points), atol=0.02)
    assert display.stress < 0.02


def test_map_stress_is_kruskals_stress_1(rdm):
    display = RDMEmbeddingDisplay.from_rdm(rdm, random_state=0)
    d = squareform(pdist(display.coordinates))[UPPER]
    assert display.stress == pytest.approx(np.sqrt(((d - rdm[UPPER]) ** 2).sum() / (d**2).sum()))
    assert f"{display.stress:.2f}" in display.ax_.get_xlabel()


def test_map_repeats_with_the_random_state(rdm):
    first, again, other = (
        RDMEmbeddingDisplay.from_rdm(rdm, random_state=seed, n_init=1).coordinates
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_map_draws_the_images_at_their_places(pairs, rdm):
    places = np.random.default_rng(0).random((6, 2))
    display = RDMEmbeddingDisplay(
        places, images=pairs.images, image_groups=pairs.image_groups
    ).plot(thumbnail_size=30)
    np.testing.assert_array_equal([marker.xy for marker in display.markers_], places)
    for marker, image in zip(display.markers_, pairs.images, strict=True):
        np.testing.assert_array_equal(marker.offsetbox.get_data(), image)
        assert marker.offsetbox.get_zoom() * 5 == 30
    frames = [marker.patch.get_edgecolor() for marker in display.markers_]
    assert frames[0] == frames[2] != frames[1]
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["a", "b", "c"]


def test_map_without_images_draws_dots_by_group():
    places = np.random.default_rng(0).random((4, 2))
    display = RDMEmbeddingDisplay(places, image_groups=["x", "y", "x", "y"]).plot()
    np.testing.assert_array_equal(display.markers_[0].get_offsets(), places[::2])


@pytest.mark.parametrize(
    ("rdm", "message"),
    [
        ([[0, np.nan], [np.nan, 0]], "every dissimilarity"),
        ([[0, -1, 1], [-1, 0, 1], [1, 1, 0]], "0 pairs are NaN and 1 negative"),
        ([[0, 1, 2]], r"got \(1, 3\)"),
    ],
)
def test_map_refuses_what_has_no_distance(rdm, message):
    with pytest.raises(ValueError, match=message):
        RDMEmbeddingDisplay.from_rdm(rdm)


def test_map_refuses_images_that_do_not_match():
    with pytest.raises(ValueError, match=r"\(3, height, width, 3\), got \(2, 4, 4, 3\)"):
        RDMEmbeddingDisplay(np.eye(3)[:, :2], images=np.zeros((2, 4, 4, 3))).plot()
    with pytest.raises(ValueError, match=r"coordinates must have shape"):
        RDMEmbeddingDisplay(np.eye(3)).plot()


def test_an_asymmetric_matrix_has_no_map_but_rounding_passes():
    rdm = squareform([3.0, 4.0, 5.0])
    places = RDMEmbeddingDisplay.from_rdm(rdm).coordinates
    rdm[0, 1] *= 1 + 1e-8
    np.testing.assert_allclose(pdist(RDMEmbeddingDisplay.from_rdm(rdm).coordinates), pdist(places))
    with pytest.raises(ValueError, match="rdm must be symmetric"):
        RDMEmbeddingDisplay.from_rdm(np.triu(rdm))
    with pytest.raises(ValueError, match="1 pairs are NaN"):
        RDMEmbeddingDisplay.from_rdm(np.ma.masked_array(rdm, mask=rdm == rdm[1, 2]))
