"""Which of skorch's many parameters an estimator shows."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

from sklearn.base import BaseEstimator
from skorch import NeuralNet, NeuralNetRegressor

__all__ = ["ShownParameters"]


class ShownParameters(NeuralNetRegressor):
    """Shows an estimator's own parameters, and those of skorch that were given."""

    __repr__ = BaseEstimator.__repr__  # what differs from the defaults, also inside a search

    def get_params(self, deep: bool = True, **kwargs: Any) -> dict[str, Any]:
        """Get the parameters; of those that only skorch names, the ones that were given.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add the parameters of parts, such as callbacks.
        **kwargs : dict
            As in skorch.

        Returns
        -------
        params : dict
            Values by name.
        """
        params = super().get_params(deep=deep, **kwargs)
        ours, defaults = signature(type(self)).parameters, _defaults(NeuralNet)
        return {
            name: value
            for name, value in params.items()
            if name in ours
            or not (name.startswith("_") or _same(value, defaults.get(name, Parameter)))
        }


def _defaults(estimator: type) -> dict[str, Any]:
    parameters = signature(estimator).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def _same(value: Any, default: Any) -> bool:
    """Whether it is the default; texts are other objects once the estimator was pickled."""
    return value is default or (isinstance(value, str) and value == default)
