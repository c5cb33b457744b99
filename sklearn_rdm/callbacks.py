"""Callbacks for the training of the twin network, beside skorch's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

from skorch.callbacks import Callback
from torch import Tensor, nn
from tqdm import tqdm

__all__ = ["EpochProgressBar", "WeightAveraging"]


class EpochProgressBar(Callback):
    """Show one progress bar for a training, with the values of its last epoch.

    Parameters
    ----------
    keys : sequence of str, default=("train_loss", "valid_loss")
        Entries of ``history_`` to show, where they exist: also scores of
        :class:`skorch.callbacks.EpochScoring` that come earlier in the list of callbacks.

    See Also
    --------
    skorch.callbacks.ProgressBar : A bar for the mini-batches of every epoch.
    sklearn_rdm.model_selection.search_progress : A bar for a whole search.

    Examples
    --------
    >>> from sklearn_rdm import ImagePairs, SiameseRDMRegressor
    >>> from sklearn_rdm.callbacks import EpochProgressBar
    >>> from sklearn_rdm.datasets import make_rdm_regression
    >>> data = make_rdm_regression(n_images=6, image_size=64, random_state=0)
    >>> pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    >>> net = SiameseRDMRegressor(
    ...     "alexnet", "conv2", weights=None, image_size=64, callbacks=[EpochProgressBar()]
    ... )
    >>> net.fit(pairs, dissim, epochs=2).predict(pairs).shape
    (15,)
    """

    def __init__(self, keys: Sequence[str] = ("train_loss", "valid_loss")) -> None:
        self.keys = keys

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Begin a bar of ``max_epochs``; ``fit(epochs=...)`` may end earlier."""
        self._bar_ = tqdm(total=net.max_epochs, desc="training", unit="epoch")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Show the values of this epoch."""
        last = net.history[-1]
        self._bar_.set_postfix({k: last[k] for k in self.keys if k in last}, refresh=False)
        self._bar_.update()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Leave the bar as it is."""
        self._bar_.close()
        del self._bar_

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_bar_"}


class WeightAveraging(Callback):
    """Give the trained network the mean of its weights over the last epochs.

    ``w = (w_1 + ... + w_k) / k``, with ``w_1`` to ``w_k`` the trained weights at the end of each of
    the last ``k`` epochs, is put into the network when training ends [1]_. With a constant learning
    rate it is less noisy than the last weights, at the cost of one network when predicting.
    It averages trained parameters, and running statistics of batch normalisation that training
    changes; frozen layers stay exactly as they are.

    Parameters
    ----------
    n_epochs : int, default=5
        Epochs to average, of each ``fit`` or ``partial_fit``; all of them if there are fewer. 1
        changes nothing. Training keeps this many copies of the trained weights in memory.

    Raises
    ------
    ValueError
        By ``fit``, if ``n_epochs`` is not a positive int.

    See Also
    --------
    EnsembleRDMRegressor : Averages predictions of separate trainings: more accurate, but slower.
    skorch.callbacks.EarlyStopping : Picks one epoch by its validation loss. If averaging comes
        later in the list of callbacks, it undoes ``load_best``.

    Notes
    -----
    Losses in ``history_`` are those of the network in training, not of the average.
    ``partial_fit`` continues from the averaged weights.

    References
    ----------
    .. [1] P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov, A. G. Wilson (2018). "Averaging
       weights leads to wider optima and better generalization". UAI.

    Examples
    --------
    >>> from sklearn_rdm import ImagePairs, SiameseRDMRegressor
    >>> from sklearn_rdm.callbacks import WeightAveraging
    >>> from sklearn_rdm.datasets import make_rdm_regression
    >>> data = make_rdm_regression(n_images=6, image_size=64, random_state=0)
    >>> pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    >>> net = SiameseRDMRegressor(
    ...     "alexnet",
    ...     "conv2",
    ...     weights=None,
    ...     image_size=64,
    ...     max_epochs=3,
    ...     callbacks=[WeightAveraging(n_epochs=2)],
    ...     random_state=0,
    ... )
    >>> net.fit(pairs, dissim).predict(pairs).shape
    (15,)
    """

    def __init__(self, n_epochs: int = 5) -> None:
        self.n_epochs = n_epochs

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Forget earlier trainings."""
        if not isinstance(self.n_epochs, Integral) or self.n_epochs < 1:
            raise ValueError(f"n_epochs must be a positive int, got {self.n_epochs!r}.")
        self._snapshots_: deque[list[Tensor]] = deque(maxlen=int(self.n_epochs))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep the weights."""
        self._snapshots_.append([values.detach().clone() for values in _changing(net.module_)])

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Put the mean into the network."""
        self._put_mean(net)
        del self._snapshots_

    def _put_mean(self, net: Any) -> None:
        if self._snapshots_:
            means = map(_mean, zip(*self._snapshots_, strict=True))
            _put(means, _changing(net.module_))


@contextmanager
def _averaged_weights(net: Any) -> Iterator[None]:
    """Give a network in training, for the block, the weights it would have if training ended."""
    averaging = [c for _, c in net.callbacks_ if isinstance(c, WeightAveraging)]
    changing = _changing(net.module_) if averaging else []
    before = [values.detach().clone() for values in changing]
    for callback in averaging:
        callback._put_mean(net)
    try:
        yield
    finally:
        _put(before, changing)


def _put(values: Iterable[Tensor], into: list[Tensor]) -> None:
    for old, new in zip(into, values, strict=True):
        old.detach().copy_(new)


def _changing(module: nn.Module) -> list[Tensor]:
    """Trained parameters, and buffers of real numbers."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return trained + [b for b in module.buffers() if b.is_floating_point()]


def _mean(states: tuple[Tensor, ...]) -> Tensor:
    """Running mean, which leaves values that did not change exactly as they are."""
    mean = states[0].clone()
    for number, state in enumerate(states[1:], start=2):
        mean += (state - mean) / number
    return mean
