import importlib.metadata
import platform

import sklearn_rdm
from sklearn_rdm import _versions


def test_every_version_has_a_line(capsys, monkeypatch):
    monkeypatch.setattr(_versions, "PACKAGES", (*_versions.PACKAGES, "never-heard-of"))
    sklearn_rdm.show_versions()
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["python"].startswith(platform.python_version())
    assert lines["sklearn_rdm"] == sklearn_rdm.__version__
    assert lines["torch"] == importlib.metadata.version("torch")
    assert lines["never-heard-of"] == "not installed"
