"""Trainings that are cut off: shared by tests, and by the processes that they kill."""

import copy
import os
import signal
from pathlib import Path

from skorch.callbacks import Callback

from tests.networks import tiny_net

N_EPOCHS = 6


class Cut(Exception):
    """Where a queue would have killed."""


class Switch:
    """When to cut, an epoch counted from 0; and how many were trained."""

    cut_before, n_trained = None, 0


class CutOff(Callback):
    """Ends a training before one of its epochs, as a kill does: nothing is called afterwards."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) - 1 == Switch.cut_before:
            raise Cut
        Switch.n_trained += 1


class EpochLog(Callback):
    """Writes down every epoch; kills its process once, before the one named in a file."""

    def __init__(self, path):
        self.path = path

    def on_epoch_begin(self, net, **kwargs):
        with open(self.path, "a") as file:
            file.write("epoch\n")
        wanted = Path(f"{self.path}.kill")
        if wanted.exists() and self.count() == int(wanted.read_text()):
            wanted.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def count(self):
        path = Path(self.path)
        return len(path.read_text().splitlines()) if path.exists() else 0


def make_net(folder=None, **params):
    params = {"max_epochs": N_EPOCHS, **copy.deepcopy(params)}
    callbacks = [*params.pop("callbacks", []), ("cut", CutOff())]
    return tiny_net(checkpoint=folder, callbacks=callbacks, **params)
