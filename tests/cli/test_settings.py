"""Settings as TOML: what is written is what is read."""

from argparse import Namespace

import pytest

from sklearn_rdm._cli._settings import OTHERS, as_value, read_settings, read_toml, settings_text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("None", None), ("True", True), ("conv2", "conv2"), ("(1, 2)", (1, 2))],
)
def test_texts_are_values_where_they_are_one(text, value):
    assert as_value(text) == value


def test_written_settings_are_read(tmp_path):
    given = dict.fromkeys(OTHERS) | {"backbone": "alexnet", "folds": 3, "test_size": 0.25}
    given |= {"images": "photos \N{SNOWMAN}", "rdm": tmp_path / 'a "b".mat'}
    given |= {"search": [("lr", [1e-4, 1e-3])], "set": [("freeze_up_to", None), ("lr", 0.1)]}
    path = tmp_path / "settings.toml"
    path.write_text(settings_text(Namespace(**given), "of these data"), encoding="utf-8")
    read = read_settings(path)
    assert path.read_text(encoding="utf-8").startswith("# data: of these data\n")
    assert (read.backbone, read.folds, read.test_size, read.scoring) == ("alexnet", 3, 0.25, None)
    assert read.rdm == str(tmp_path / 'a "b".mat')
    assert read.images.endswith("photos \N{SNOWMAN}")
    assert read.search == {"lr": [1e-4, 1e-3]}
    assert read.set == {"freeze_up_to": None, "lr": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fold = ", "is no readable TOML file"),
        ("search = 3", "search must be a table"),
        ("folds = 2.5", r"folds must be a whole number, got 2\.5"),
        ("folds = true", "folds must be a whole number, got True"),
        ('test-size = "half"', "test_size must be a number, got 'half'"),
        ("layer = 4", "layer must be a text, got 4"),
        ('columns = "a"', "columns must be a list of names"),
        ('quiet = "no"', "quiet must be true or false"),
        ("[search]\nlr = 0.1", r"lr of \[search\] must be a list, got 0\.1"),
        ("[search]\nlr = []", r"lr of \[search\] must be a list, got \[\]"),
    ],
)
def test_wrong_files_raise_an_error_that_names_them(tmp_path, text, message):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        read_toml(path)
    assert "study.toml" in str(raised.value)
    with pytest.raises(ValueError, match=r"missing\.toml is no readable TOML file"):
        read_toml(tmp_path / "missing.toml")
