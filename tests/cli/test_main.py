"""Exit codes: 0 done, 1 an error of ours in one line, 2 wrong usage, 130 interrupted."""

import warnings

import pytest

from sklearn_rdm._cli import _main as module
from sklearn_rdm._cli import main


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["predict", "no_model", "images", "--out", "a.npy"], "holds no finished model"),
        (["evaluate", "no_folder", "a.npy", "--layers", "conv1"], "'no_folder' is not a folder"),
        (["layers", "no_network"], "no_network"),
    ],
)
def test_our_errors_are_one_line_and_exit_1(given, message, capsys):
    assert main(given) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def run(monkeypatch, command):
    arguments = type("Arguments", (), {"command": staticmethod(command)})
    monkeypatch.setattr(module, "parse", lambda argv: arguments)
    return main([])


def test_interrupts_exit_130(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    assert run(monkeypatch, interrupted) == 130
    assert capsys.readouterr().err == "sklearn-rdm: error: interrupted\n"


def test_warnings_are_one_line_and_exit_0(monkeypatch, capsys):
    assert run(monkeypatch, lambda _: warnings.warn("two\nlines", stacklevel=1)) == 0
    assert capsys.readouterr().err == "sklearn-rdm: warning: two lines\n"


def test_faults_of_the_package_keep_their_traceback(monkeypatch):
    def fault(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, fault)
