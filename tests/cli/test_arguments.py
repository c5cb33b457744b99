"""What may be said on the command line, and what wins."""

import pytest

from sklearn_rdm._cli import main
from sklearn_rdm._cli._arguments import parse


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["no_command"],
        ["fit"],
        ["fit", "images", "rdm.npy"],
        ["fit", "images", "rdm.npy", "--out", "m", "--set", "lr"],
        ["fit", "--settings", "no_file.toml"],
        ["fit", "images", "rdm.npy", "--out", "m", "--jobs", "0"],
        ["fit", "images", "rdm.npy", "--out", "m", "--background", "pink"],
        ["evaluate", "images", "rdm.npy"],
        ["evaluate", "images", "a.csv", "--layers", "fc", "--columns", "image_1", "image_2"],
    ],
)
def test_wrong_usage_exits_2(given, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(given)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_settings_are_checked_and_given_options_win(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text(
        'images = "photos"\nrdm = "a.mat"\ntest-size = 0.5\nfolds = 3\n'
        '[search]\nfreeze_up_to = ["None", "conv2"]\nlr = [1e-4]\n'
    )
    parsed = parse(["fit", "--settings", str(path), "--out", "m", "--folds", "4"])
    assert (parsed.images, parsed.rdm, parsed.test_size, parsed.folds) == (
        "photos",
        "a.mat",
        0.5,
        4,
    )
    assert dict(parsed.search) == {"freeze_up_to": [None, "conv2"], "lr": [1e-4]}
    path.write_text("fold = 3\n")
    with pytest.raises(SystemExit):
        parse(["fit", "--settings", str(path)])
    assert "unknown settings ['fold']" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "layers", "evaluate", "fit", "predict", "report"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"sklearn-rdm {command}" in capsys.readouterr().out.partition("examples:")[2]
