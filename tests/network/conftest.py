import pytest

from sklearn_rdm._network import _activations, _forward, _frozen


@pytest.fixture
def computed(monkeypatch):
    """How many photographs went through a network, call by call; the store's probe is none."""
    calls = []

    def count(load, run, rows, device="cpu"):
        if isinstance(getattr(load, "__self__", None), _forward.Photographs):
            calls.append(len(rows))
        return _forward.compute_rows(load, run, rows, device)

    for module in (_activations, _frozen):
        monkeypatch.setattr(module, "compute_rows", count)
    return calls
