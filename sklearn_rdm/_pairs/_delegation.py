"""Methods that an estimator has if the one that it wraps has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def wrapped_has(method: str) -> Callable[[Any], bool]:
    """Check for :func:`sklearn.utils.metaestimators.available_if`."""

    def check(wrapper: Any) -> bool:
        return hasattr(getattr(wrapper, "estimator_", wrapper.estimator), method)

    return check
