"""Weights of pairs on their way through an estimator that wraps another one."""

from __future__ import annotations

from typing import Any

from sklearn import get_config
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import has_fit_parameter

__all__ = ["RoutedFitMixin"]


class RoutedFitMixin:
    """What fits ``estimator``, and hands weights of pairs on to it."""

    estimator: Any

    def get_metadata_routing(self) -> MetadataRouter:
        """Get which metadata ``fit`` takes for itself, and which for the estimator.

        Returns
        -------
        routing : MetadataRouter
            As scikit-learn's meta-estimators describe it.
        """
        router = MetadataRouter(owner=type(self).__name__).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(estimator=self.estimator, method_mapping=mapping)

    def _fit_params(self, weights: Any) -> dict[str, Any]:
        """What the estimator's ``fit`` is given of the weights of pairs."""
        if weights is None:
            return {}
        if get_config()["enable_metadata_routing"]:
            return dict(process_routing(self, "fit", sample_weight=weights).estimator.fit)
        if isinstance(self.estimator, Pipeline):
            return {f"{self.estimator.steps[-1][0]}__sample_weight": weights}
        if not has_fit_parameter(self.estimator, "sample_weight"):
            raise ValueError(
                f"sample_weight was given, but fit of {self.estimator!r} takes none. Leave it out, "
                "or wrap an estimator that weights pairs."
            )
        return {"sample_weight": weights}
