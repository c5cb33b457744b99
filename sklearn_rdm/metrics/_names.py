"""Names of the models that a function takes any number of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def name_models(y_preds: tuple, names: Sequence[str] | None) -> tuple[list[str], list]:
    """Names and predictions of what is given as several vectors or one dict."""
    if len(y_preds) == 1 and isinstance(y_preds[0], Mapping):
        names, y_preds = list(y_preds[0]), tuple(y_preds[0].values())
    if not y_preds:
        raise ValueError("there is no model: give one prediction per model, or a dict of them.")
    names = [f"model {i}" for i in range(len(y_preds))] if names is None else list(names)
    if len(names) != len(y_preds) or len(set(names)) < len(names):
        raise ValueError(
            f"names must be one per model and all different, got {names} for {len(y_preds)} models."
        )
    return [str(name) for name in names], list(y_preds)
