"""Options of the loaders of mini-batches, as far as they leave the mini-batches ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["loader_options"]

OURS = ("sampler", "batch_sampler", "collate_fn")  # what says which pairs a mini-batch has


def loader_options(
    name: str, given: Mapping[str, Any], *, training: bool, of_pairs: bool
) -> tuple[dict[str, Any], bool]:
    """Return what a DataLoader takes, and whether an incomplete last mini-batch is left out.

    Parameters
    ----------
    name : {"iterator_train", "iterator_valid"}
        For messages.
    given : mapping
        Its parameters as the user gave them.
    training : bool
        Whether mini-batches are random ones.
    of_pairs : bool
        Whether they are made of pairs (``batching="pairs"``).

    Raises
    ------
    ValueError
        If a parameter says which pairs a mini-batch has.
    """
    options = {key: value for key, value in given.items() if key != "batch_size"}
    ours = [key for key in OURS if options.get(key) is not None]
    if ours:
        raise ValueError(
            f"{name}__{ours[0]} cannot be set: which pairs are in a mini-batch is set by batching "
            "and batch_size. Leave it out."
        )
    shuffle = options.pop("shuffle", training)
    if bool(shuffle) != training:
        order = "drawn at random" if training else "read in their order"
        raise ValueError(f"{name}__shuffle={shuffle!r} cannot be set: pairs are {order}.")
    drop_last = bool(options.pop("drop_last", False))
    if drop_last and not (training and of_pairs):
        raise ValueError(
            f"{name}__drop_last=True cannot be set: "
            + (
                "mini-batches of images have nearly the same size, so that none is incomplete. Set "
                "batching='pairs', or leave it out."
                if training
                else "all pairs are validated and predicted. Leave it out."
            )
        )
    return options, drop_last
