"""How skorch builds a twin network of an estimator's parameters, and follows them later."""

from __future__ import annotations

from inspect import signature
from typing import Any

from numpy.random import RandomState
from sklearn.utils import check_random_state
from skorch import NeuralNetRegressor
from skorch.utils import to_device

from sklearn_rdm._network._param_groups import check_group_options, expand_param_groups
from sklearn_rdm._network._processes import agreed
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm._pairs._process import ONE_AT_A_TIME

__all__ = ["NetworkBuilding"]

FREEZING = ("freeze_up_to", "freeze_from")  # may change between calls of partial_fit
# Parameters that are the network's: read off it, so that they are listed once.
DEFAULTS = {name: p.default for name, p in signature(TwinNetwork).parameters.items()}
NETWORK_OPTIONS = [name for name in DEFAULTS if name not in ("random_state", "candidates")]


class NetworkBuilding(NeuralNetRegressor):
    """Builds the network, and sees that the parameters still describe it when training goes on."""

    rng_: RandomState
    module_: TwinNetwork

    def set_params(self, **kwargs: Any) -> NetworkBuilding:
        """Set parameters; what was learned stays until the next ``fit``, whatever is set.

        skorch would put an untrained network in its place for ``module__...``, and apply
        ``optimizer__...`` to the present optimizer only.
        """
        if not self._has_learned():
            return super().set_params(**kwargs)
        of_part = {name: name.split("__")[0] for name in kwargs}
        anew = [n for n in kwargs if n in ("optimizer", "optimizer__param_groups")]
        waiting = [*anew, *(n for n, part in of_part.items() if part in ("module", "compile"))]
        super().set_params(**{n: value for n, value in kwargs.items() if n not in waiting})
        of_optimizer = [n for n, part in of_part.items() if part == "optimizer"]
        for name in {*waiting, *(n for n in of_optimizer if "param_groups__" not in n)}:
            setattr(self, name, kwargs[name])
            self._params_to_validate.add(name)
        if anew:
            self._initialize_optimizer()
        return self

    def _has_learned(self) -> bool:
        """Whether weights were trained or loaded, which training on would change in place."""
        return self.initialized_ and bool(self.history or self.module_.is_settled)

    def initialize(self) -> NetworkBuilding:
        """Load the network and start the random numbers anew (called by ``fit``)."""
        self.rng_ = agreed(check_random_state(self.random_state))
        with ONE_AT_A_TIME:
            super().initialize()
        self.__dict__.pop("subject_pooling_", None)
        return self

    def initialize_module(self) -> NetworkBuilding:
        """Build the twin network from the estimator's parameters (called by ``initialize``)."""
        options = {name: getattr(self, name) for name in NETWORK_OPTIONS if hasattr(self, name)}
        self.network_options_ = options | self.get_params_for("module")
        self._seed_of_network = self.rng_.randint(2**31)
        self.module_ = self._build_network()
        return self

    def get_params_for(self, prefix: str) -> dict[str, Any]:
        """Let ``optimizer__param_groups`` name layers (called by skorch)."""
        params = super().get_params_for(prefix)
        if prefix == "optimizer" and params.get("param_groups"):
            trunk = self.module_.trunk
            groups = expand_param_groups(self.module_, trunk, params["param_groups"])
            check_group_options(self.optimizer, groups)
            params["param_groups"] = groups
        return params

    def _build_network(self) -> TwinNetwork:
        """The untrained network, the same each time until the estimator is initialized anew."""
        return self.module(**{"random_state": self._seed_of_network} | self.network_options_)

    def _check_built(self) -> None:
        """Refuse to train on a network that the parameters no longer describe; move its cut."""
        changed = self._changed_options()
        for name, (built, given) in changed.items():
            if name not in FREEZING:
                raise ValueError(
                    f"{name} was {built!r} when the network was built and is {given!r} now, which "
                    "would be another network: training cannot continue. Set it back, or fit anew "
                    "(warm_start=False)."
                )
        if changed:
            self._move_cut()

    def _changed_options(self) -> dict[str, tuple[Any, Any]]:
        """Options of the network that are not what it was built with, and both values."""
        now = self.get_params_for("module")
        defaults = {name: DEFAULTS.get(name) for name in now}
        changed = {}
        for name, built in {**defaults, **self.network_options_}.items():
            given = now[name] if name in now else getattr(self, name, None)
            if given is not built and repr(given) != repr(built):
                changed[name] = built, given
        return changed

    def _move_cut(self) -> None:
        """Keep the weights, freeze as the parameters say now; the optimizer begins anew."""
        weights = self.module_.state_dict()
        self.network_options_ |= {name: getattr(self, name) for name in FREEZING}
        with ONE_AT_A_TIME, self._current_init_context("module"):
            network = to_device(self._build_network(), self.device)
            self.module_ = self.torch_compile(network, name="module")
        self.module_.load_state_dict(weights)
        self._initialize_optimizer()
