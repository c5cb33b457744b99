import numpy as np
import pytest
import rsatoolbox

from sklearn_rdm import ImagePairs
from sklearn_rdm.io import (
    from_rsatoolbox,
    to_rsatoolbox,
)

NAMES = ["cat", "dog", "a longer name", "Überraschung"]


def test_rsatoolbox_agrees_on_pairs_and_names(rdms):
    theirs = to_rsatoolbox(
        rdms, image_names=NAMES, subjects=["s1", "s2", "s3"], dissimilarity_measure="euclidean"
    )
    _, dissim = ImagePairs.from_rdms(np.zeros((4, 2)), rdms)
    np.testing.assert_array_equal(theirs.get_vectors(), dissim.T)
    np.testing.assert_array_equal(theirs.get_matrices(), rdms)
    assert theirs.subset_pattern("image", "dog").n_cond == 1
    assert theirs.subset("subject", "s2").n_rdm == 1
    data = from_rsatoolbox(theirs, image_names=NAMES[::-1])
    np.testing.assert_array_equal(data.rdms, rdms[:, ::-1, ::-1])
    assert data.subjects == ["s1", "s2", "s3"]


def test_rsatoolbox_matrices_made_by_rsatoolbox():
    measurements = np.random.default_rng(0).standard_normal((5, 7))
    dataset = rsatoolbox.data.Dataset(measurements, obs_descriptors={"stim": list("abcde")})
    theirs = rsatoolbox.rdm.calc_rdm(dataset, method="correlation", descriptor="stim")
    ours = from_rsatoolbox(theirs, image_descriptor="stim", image_names=list("edcba"))
    np.testing.assert_allclose(ours.rdms[0], 1 - np.corrcoef(measurements[::-1]), atol=1e-12)
    assert from_rsatoolbox(theirs).image_names == list("abcde")
    with pytest.raises(ValueError, match=r"no descriptor 'image', only \['index', 'stim'\]"):
        from_rsatoolbox(theirs, image_descriptor="image")
    theirs.pattern_descriptors["kind"] = list("vwxyz")
    with pytest.raises(ValueError, match=r"several that may name the images: \['kind', 'stim'\]"):
        from_rsatoolbox(theirs)


def test_rsatoolbox_matrices_without_names():
    theirs = rsatoolbox.rdm.RDMs(np.arange(1.0, 7)[None])
    assert from_rsatoolbox(theirs).image_names is None
    with pytest.raises(ValueError, match="pattern descriptors .* does not name"):
        from_rsatoolbox(theirs, image_names=list("abcd"))


@pytest.mark.parametrize(
    ("descriptors", "names"),
    [
        ({"stimulus": [30, 10, 20]}, ["30", "10", "20"]),
        ({"index": [2, 0, 1]}, ["2", "0", "1"]),  # as rsatoolbox keeps it when it reorders
        ({"category": [0, 0, 1]}, None),
        ({}, None),
    ],
)
def test_numbers_name_the_images_if_they_are_not_their_order(descriptors, names):
    theirs = rsatoolbox.rdm.RDMs(np.array([[1.0, 2, 3]]), pattern_descriptors=descriptors)
    assert from_rsatoolbox(theirs).image_names == names


def test_several_numberings_are_asked_for():
    descriptors = {"stimulus": [30, 10, 20], "trial": [5, 6, 7]}
    theirs = rsatoolbox.rdm.RDMs(np.array([[1.0, 2, 3]]), pattern_descriptors=descriptors)
    with pytest.raises(ValueError, match="image_descriptor="):
        from_rsatoolbox(theirs)
    assert from_rsatoolbox(theirs, image_descriptor="trial").image_names == ["5", "6", "7"]


CATEGORIES = {"category": ["face", "face", "house"]}


@pytest.mark.parametrize(
    ("descriptors", "names"),
    [
        ({"conds": ["b", "a", "c"]}, ["b", "a", "c"]),
        ({"index": [2, 0, 1]}, ["2", "0", "1"]),
        ({"nsd_id": [73, 41, 2], "index": [0, 1, 2]}, ["73", "41", "2"]),
        ({"index": [0, 1, 2]}, ["face", "face", "house"]),
    ],
)
def test_what_differs_names_the_images_and_no_category(descriptors, names):
    descriptors = CATEGORIES | descriptors
    theirs = rsatoolbox.rdm.RDMs(np.array([[1.0, 2, 3]]), pattern_descriptors=descriptors)
    assert from_rsatoolbox(theirs).image_names == names


def test_subjects_have_names_of_their_own_beside_sessions():
    descriptors = {"session": ["a", "a", "b"], "subj": ["s3", "s1", "s2"]}
    theirs = rsatoolbox.rdm.RDMs(np.arange(9.0).reshape(3, 3), rdm_descriptors=descriptors)
    assert from_rsatoolbox(theirs).subjects == ["s3", "s1", "s2"]
