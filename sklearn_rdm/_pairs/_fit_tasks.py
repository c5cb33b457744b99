"""scikit-learn's callbacks (1.9 or newer): its searches and pipelines hand them to our fits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # an older scikit-learn, which has none

    class FitTaskMixin:
        """Does nothing here."""

else:

    class FitTaskMixin(CallbackSupportMixin):  # type: ignore[no-redef]
        """Every ``fit`` that a subclass defines is one task of the callbacks that are set on it."""

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            if "fit" in cls.__dict__:
                cls.fit = _as_task(cls.__dict__["fit"])

        def _n_subtasks(self, **fit_params: Any) -> int:  # noqa: ARG002
            """How many tasks ``fit`` begins within its own, such as epochs."""
            return 0

    def _as_task(fit: Callable) -> Callable:
        @functools.wraps(fit)
        def task(self: Any, *args: Any, **kwargs: Any) -> Any:
            if hasattr(self, "_callback_fit_ctx"):  # a subclass has begun it
                return fit(self, *args, **kwargs)
            context = self._init_callback_context(max_subtasks=self._n_subtasks(**kwargs))
            context.call_on_fit_task_begin(estimator=self)
            fitted = fit(self, *args, **kwargs)
            context.call_on_fit_task_end(estimator=self)
            return fitted

        return with_callbacks(task)


__all__ = ["FitTaskMixin"]
