import json

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from sklearn_rdm.io import read_rdms

NAMES = ["cat", "horse", "bus", "owl"]


def task(names, vector, **more):
    return {"stimuli": [{"name": name} for name in names], "rdm": list(vector), **more}


def save(path, content):
    path.write_text(json.dumps(content))
    return path


def test_a_tree_of_one_participant_as_rsatoolbox_reads_it(tmp_path):
    content = {
        "tasks": [
            {"task": {"name": "hello", "task_type": "consent"}},
            task(NAMES, range(6), task={"name": "arr", "task_type": "multiarrange"}),
        ]
    }
    path = save(tmp_path / "Meadows_objects_v_v2_cuddly-bunny_tree.json", content)
    data = read_rdms(path)
    np.testing.assert_array_equal(data.rdms, [squareform(np.arange(6.0))])
    assert (data.image_names, data.subjects) == (NAMES, ["cuddly-bunny"])
    meadows = pytest.importorskip("rsatoolbox.io.meadows")
    theirs = meadows.load_rdms(str(path), sort=False)
    np.testing.assert_array_equal(theirs.get_matrices(), data.rdms)


def test_participants_and_tasks_are_matched_by_stimulus(tmp_path):
    content = {
        "shy-fox": {"tasks": [task(NAMES, range(6))]},
        "an_owl": {"tasks": [task(NAMES[2:0:-1], [7]), task(NAMES[:2], [8], task={"name": "b"})]},
    }
    data = read_rdms(save(tmp_path / "x.json", content))
    expected = np.full((3, 4, 4), np.nan)
    expected[0] = squareform(np.arange(6.0))
    expected[1, 1, 2] = expected[1, 2, 1] = 7
    expected[2, 0, 1] = expected[2, 1, 0] = 8
    expected[:, range(4), range(4)] = 0
    np.testing.assert_array_equal(data.rdms, expected)
    assert data.image_names == NAMES
    assert data.subjects == ["shy-fox", "an_owl | task 1", "an_owl | b 2"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([], "no object with 'tasks'"),
        ({"a": {"tasks": []}}, "no multi-arrangement task"),
        ({"tasks": [task(NAMES, [1.0])]}, r"shape \(2, 2\), but its 4 stimuli"),
        ({"tasks": [task([1, 1, 2], range(3))]}, "of which 2 are different"),
        ({"tasks": [{"rdm": [1], "stimuli": 3}]}, "cannot be read as a Meadows file"),
    ],
)
def test_what_is_no_meadows_file_is_named(tmp_path, content, match):
    with pytest.raises(ValueError, match=match) as caught:
        read_rdms(save(tmp_path / "x.json", content))
    assert "x.json" in str(caught.value)
