"""All that determines the rest of a training: read off a net, and put back into one."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_rdm._network._description import describe, given_names
from sklearn_rdm._network._state_file import NotPlainError, Packed, pack
from sklearn_rdm.preprocessing._pooling import as_pooling

__all__ = ["StateKeeper"]

# Whose callbacks are known to be made anew where they are not kept.
OURS = ("skorch", "sklearn_rdm")


class StateKeeper:
    """Reads the state of a net in training, and puts it back.

    Made of a net that is initialized: frozen parameters are then as they will be the next time.
    """

    def __init__(self, net: Any) -> None:
        self._trained: set[tuple[str, str]] = set()
        self._global_at_start = _global_random_states()
        self._warned = False
        self.note_trained(net)

    def note_trained(self, net: Any) -> None:
        """Remember which parameters are trained now: a callback may freeze and unfreeze some."""
        for part, module in _modules(net):
            parameters = module.named_parameters(remove_duplicate=False)
            self._trained |= {(part, name) for name, p in parameters if p.requires_grad}

    def state(self, net: Any) -> Any:
        """What :meth:`put_back` needs, packed to be written.

        Raises
        ------
        NotPlainError
            If a part of it is not made of numbers, texts, arrays and tensors.
        """
        callbacks = {
            name: self._callback_state(name, callback) for name, callback in net.callbacks_
        }
        state = {
            "callbacks": callbacks,
            "modules": {part: self._module_state(part, module) for part, module in _modules(net)},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in _optimizers(net)},
            "history": list(net.history_),
            "random": net.rng_.get_state(),
            "torch random": _torch_random_states(net),
            "global random": self._changed_global_states(),
            "pooling": vars(net.subject_pooling_),
        }
        return pack(state)

    def put_back(self, net: Any, state: dict[str, Any], *, goes_on: bool) -> None:
        """Give a net what another one had come to.

        Optimizers after callbacks: making a scheduler changes the learning rate. What callbacks
        make as training begins, schedulers and the like, is there only if it ``goes_on``.
        """
        for name, callback in net.callbacks_:
            _put_callback_state(callback, state["callbacks"][name], goes_on)
        for name, optimizer in _optimizers(net):
            optimizer.load_state_dict(state["optimizers"][name])
        for part, module in _modules(net):
            _put_module_state(module, state["modules"][part])
        net.history_.clear()
        net.history_.extend(state["history"])
        net.rng_.set_state(state["random"])
        net.subject_pooling_ = as_pooling(net.subject_pooling)
        vars(net.subject_pooling_).update(state["pooling"])
        _put_random_states(net, state)

    def _module_state(self, part: str, module: nn.Module) -> dict[str, Any]:
        parameters = dict(module.named_parameters(remove_duplicate=False))
        frozen = {name for name in parameters if (part, name) not in self._trained}
        return {
            "values": {k: value for k, value in module.state_dict().items() if k not in frozen},
            "trained": [name for name, p in parameters.items() if p.requires_grad],
            "is training": module.training,
        }

    def _changed_global_states(self) -> dict[str, Any]:
        """Random states of the process that training uses, by a callback of the user."""
        now, before = _global_random_states(), self._global_at_start
        return {k: now[k] for k in now if describe(now[k]) != describe(before[k])}

    def _callback_state(self, name: str, callback: Any) -> dict[str, Any]:
        """What a callback has learned: its own state_dict, or attributes that it was not given."""
        if _is_stateful(callback):
            return {"values": {}, "stateful": {"": _packed_parts(callback.state_dict())}}
        values, stateful = {}, {}
        given = set(given_names(callback))
        for attribute, value in vars(callback).items():
            if attribute in given:
                continue
            if _is_stateful(value):
                stateful[attribute] = _packed_parts(value.state_dict())
                continue
            try:
                values[attribute] = Packed(pack(value))
            except NotPlainError as error:
                self._warn_left_out(name, callback, attribute, error)
        return {"values": values, "stateful": stateful}

    def _warn_left_out(self, name: str, callback: Any, attribute: str, error: Exception) -> None:
        if self._warned or type(callback).__module__.split(".")[0] in OURS:
            return
        self._warned = True
        warnings.warn(
            f"the checkpoint cannot hold {attribute} of callback {name!r}, {error}: a fit that "
            "continues from it starts with what on_train_begin makes. If training depends on this, "
            "give the callback methods state_dict and load_state_dict, of numbers, arrays and "
            "tensors.",
            stacklevel=2,
        )


def _modules(net: Any) -> Iterator[tuple[str, nn.Module]]:
    for name in [*net._modules, *net._criteria]:  # skorch lists criteria that are modules
        yield name, getattr(net, f"{name}_")


def _optimizers(net: Any) -> Iterator[tuple[str, Any]]:
    for name in net._optimizers:
        yield name, getattr(net, f"{name}_")


def _put_module_state(module: nn.Module, state: dict[str, Any]) -> None:
    module.load_state_dict(state["values"], strict=False)
    trained = set(state["trained"])
    for name, parameter in module.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(name in trained)
    module.train(state["is training"])


def _put_callback_state(callback: Any, state: dict[str, Any], goes_on: bool) -> None:
    for name, value in state["values"].items():
        setattr(callback, name, value)
    for name, values in state["stateful"].items() if goes_on else ():
        part: Any = getattr(callback, name, None) if name else callback
        if _is_stateful(part):
            part.load_state_dict({**part.state_dict(), **values})


def _is_stateful(value: Any) -> bool:
    load = getattr(value, "load_state_dict", None)
    return not isinstance(value, type) and callable(load)


def _packed_parts(state: dict[str, Any]) -> dict[str, Any]:
    """What can be kept of a state; a scheduler's functions are made anew with it."""
    packed = {}
    for name, value in state.items():
        try:
            packed[name] = Packed(pack(value))
        except NotPlainError:
            continue
    return packed


def _global_random_states() -> dict[str, Any]:
    return {"python": random.getstate(), "numpy": np.random.get_state()}  # noqa: NPY002


def _torch_random_states(net: Any) -> list[torch.Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(gpu) for gpu in net._gpus())]


def _put_random_states(net: Any, state: dict[str, Any]) -> None:
    of_host, *of_gpus = state["torch random"]
    torch.set_rng_state(of_host)
    for gpu, of_gpu in zip(net._gpus(), of_gpus, strict=True):
        torch.cuda.set_rng_state(of_gpu, gpu)
    if "python" in state["global random"]:
        random.setstate(state["global random"]["python"])
    if "numpy" in state["global random"]:
        np.random.set_state(state["global random"]["numpy"])  # noqa: NPY002
