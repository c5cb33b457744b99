"""The epochs of a training: what callbacks are told of them, and who may end them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.random import RandomState
from skorch import NeuralNetRegressor
from skorch.callbacks import ProgressBar

from sklearn_rdm._network._checkpoint import NoCheckpoint
from sklearn_rdm._pairs import ImagePairs

__all__ = ["EpochLoop"]


class EpochLoop(NeuralNetRegressor):
    """skorch's epochs, which a callback, the user or a checkpoint may end."""

    rng_: RandomState
    _checkpoint_: NoCheckpoint = NoCheckpoint()  # of a training that goes on now

    def __getstate__(self) -> dict[str, Any]:
        """Leave out scikit-learn's context of a fit that goes on: a copy is another training."""
        state = dict(super().__getstate__())
        state.pop("_callback_fit_ctx", None)
        return state

    def _loop(self, X: ImagePairs, y: Any, n_before: int, n_epochs: int) -> bool:
        """Train up to a number of epochs; if the user interrupts one, keep the weights at hand."""
        try:
            self.fit_loop(X, y, epochs=max(0, n_epochs - len(self.history)))
        except _StoppedByCallback:
            pass
        except KeyboardInterrupt:
            if len(self.history) == n_before:
                raise
            warnings.warn(
                f"training was interrupted in epoch {len(self.history) - n_before}: the network "
                f"keeps the weights reached so far. {self._checkpoint_.advice}",
                stacklevel=4,
            )
            return False
        return True

    def run_single_epoch(self, iterator: Any, training: bool, *args: Any, **kwargs: Any) -> None:
        """Train or validate for one epoch, as skorch does.

        Raises
        ------
        ValueError
            If callbacks have frozen every layer, or have unfrozen one whose activations are kept.
        """
        if training:
            self.module_.trunk.check_frozen()
            if not self.module_.trained_parameters():
                raise ValueError(
                    "nothing is left to train: callbacks have frozen every layer. Let them leave "
                    "one, such as Freezer('*conv1*')."
                )
        super().run_single_epoch(iterator, training, *args, **kwargs)

    def on_epoch_begin(self, net: Any, *datasets: Any, **kwargs: Any) -> None:
        """Seed dropout epoch by epoch: ``partial_fit`` then goes on as a longer ``fit`` would."""
        super().on_epoch_begin(net, *datasets, **kwargs)
        seed = self.rng_.randint(2**31)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        for gpu in self._gpus():
            torch.cuda.default_generators[gpu].manual_seed(seed)

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call a method of all callbacks, as skorch does.

        A callback that ends training after an epoch, as :class:`skorch.callbacks.EarlyStopping`
        does, raises KeyboardInterrupt. Training then ends as if it had reached its last epoch, and
        the callbacks after this one are still called.

        Raises
        ------
        KeyboardInterrupt
            If the user interrupts.
        """
        if method_name == "on_epoch_end":
            self._notify_of_end(**cb_kwargs)
        elif method_name == "on_epoch_begin":
            with self._counted_batches(**cb_kwargs):
                super().notify(method_name, **cb_kwargs)
        else:
            super().notify(method_name, **cb_kwargs)

    def _notify_of_end(self, **cb_kwargs: Any) -> None:
        stopped = self._end_epoch_task()
        self.on_epoch_end(self, **cb_kwargs)
        for _, callback in self.callbacks_:
            try:
                callback.on_epoch_end(self, **cb_kwargs)
            except KeyboardInterrupt as interrupt:
                if not _is_raised_by(interrupt, callback.on_epoch_end):
                    raise
                stopped = True
        if stopped:
            raise _StoppedByCallback
        self._checkpoint_.end_epoch(self)

    @contextmanager
    def _counted_batches(
        self, dataset_train: Any = None, dataset_valid: Any = None, **_: Any
    ) -> Iterator[None]:
        """Tell skorch's bars how many batches there are: they would divide the number of pairs."""
        bars = [c for _, c in self.callbacks_ if isinstance(c, ProgressBar)]
        bars = [bar for bar in bars if bar.batches_per_epoch == "auto"]
        datasets = ((dataset_train, True), (dataset_valid, False)) if bars else ()
        iterators = [self.get_iterator(d, training=t) for d, t in datasets if d is not None]
        for bar in bars:
            bar.batches_per_epoch = sum(len(iterator) for iterator in iterators)
        try:
            yield
        finally:
            for bar in bars:
                bar.batches_per_epoch = "auto"

    def _end_epoch_task(self) -> bool:
        """Tell scikit-learn's callbacks that an epoch is over; whether one of them stops."""
        context = getattr(self, "_callback_fit_ctx", None)
        if context is None:
            return False
        epoch = context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=self)
        return epoch.call_on_fit_task_end(estimator=self)

    def _check_monitored(self) -> None:
        """Refuse callbacks that watch a validation loss where there is none."""
        for _, callback in self.callbacks_:
            if getattr(callback, "monitor", None) in ("valid_loss", "valid_loss_best"):
                raise ValueError(
                    f"the callback {type(callback).__name__} watches {callback.monitor!r}, but "
                    "there are no validation pairs: give train_split=ImageShuffleSplit(1, "
                    "test_size=0.2), or another splitter of sklearn_rdm.model_selection, or "
                    "monitor='train_loss'."
                )

    def _gpus(self) -> list[int]:
        device = torch.device(self.device)
        if device.type != "cuda":
            return []
        return [torch.cuda.current_device() if device.index is None else device.index]


class _StoppedByCallback(Exception):
    """A callback ended the training after an epoch."""


def _is_raised_by(interrupt: BaseException, function: Any) -> bool:
    """Whether the function itself raised this: Ctrl-C is raised wherever Python is just then."""
    innermost = interrupt.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    return innermost is not None and innermost.tb_frame.f_code is function.__func__.__code__
