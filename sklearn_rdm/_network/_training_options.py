"""What is wanted of a training, looked at before anything is changed."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from sklearn_rdm._network._datasets import gives_validation
from sklearn_rdm._network._preprocessing import check_photographs
from sklearn_rdm._pairs._options import check_option

__all__ = ["check_fit_params", "check_options"]


def check_fit_params(fit_params: dict[str, Any], besides: str) -> None:
    """Refuse what ``fit`` does not take ``besides`` its data, named in words."""
    unknown = sorted(set(fit_params) - {"epochs"})
    if unknown:
        raise TypeError(f"fit takes no {unknown}: only sample_weight and epochs besides {besides}")


def check_options(net: Any, images: Any) -> None:
    """Refuse images that are no photographs, and parameters of a training that make no sense."""
    check_photographs(np.asarray(images[:1]), len(images))
    check_option("batching", net.batching, net.batchings)
    _check_numbers(net)
    _check_parts(net)
    _check_frozen(net)
    penalty = net.pretrained_penalty
    if isinstance(penalty, str) or not 0 <= penalty < float("inf"):
        raise ValueError(f"pretrained_penalty must be finite and 0 or more, got {penalty!r}.")
    if net.device is None:
        raise ValueError("device must name where the network runs, such as 'cpu', got None.")
    _check_train_split(net.train_split)
    if net.predict_nonlinearity not in ("auto", None):
        raise ValueError(
            f"predict_nonlinearity={net.predict_nonlinearity!r} cannot be set: predictions are "
            "correlation distances. Transform what predict returns."
        )


def _check_numbers(net: Any) -> None:
    size, epochs = net.batch_size, net.max_epochs
    if not isinstance(size, Integral) or (size != -1 and size < 1):
        raise ValueError(f"batch_size must be a positive int, or -1 for all, got {size!r}.")
    if not isinstance(epochs, Integral) or epochs < 0:
        raise ValueError(f"max_epochs must be a whole number, 0 or more, got {epochs!r}.")
    if isinstance(net.lr, str):
        raise ValueError(f"lr must be a number, got {net.lr!r}.")


def _check_parts(net: Any) -> None:
    for name, example in (("criterion", "torch.nn.MSELoss"), ("optimizer", "torch.optim.Adam")):
        if not callable(getattr(net, name)):
            raise TypeError(
                f"{name} must be a class, such as {example}, got {getattr(net, name)!r}."
            )


def _check_frozen(net: Any) -> None:
    for name in ("freeze_up_to", "freeze_from"):
        if not isinstance(getattr(net, name), str | None):
            raise ValueError(
                f"{name} must be None or the name of one layer, got {getattr(net, name)!r}."
            )


def _check_train_split(split: Any) -> None:
    if not (split is None or hasattr(split, "split") or gives_validation(split)):
        raise ValueError(
            "train_split must be None or an image-wise splitter such as ImageShuffleSplit(1, "
            f"test_size=0.2), or skorch's predefined_split of other images, got {split!r}. "
            "skorch's own splits cut pairs, so that training and validation pairs would share "
            "images."
        )
