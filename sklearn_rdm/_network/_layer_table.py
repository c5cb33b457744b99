"""A network's layers as a table that a person can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from sklearn_rdm._network._backbones import Backbone, load_backbone
from sklearn_rdm._network._cut import run_twice, two_photographs
from sklearn_rdm._network._hooks import Calls
from sklearn_rdm._network._tracing import call_name
from sklearn_rdm._network._trunk import Trunk

__all__ = ["list_layers"]


class Layer(NamedTuple):
    """One layer: its name, and what it is."""

    name: str
    alias: str
    kind: str
    shape: tuple[int, ...]
    n_parameters: int
    frozen: bool | None


class LayerTable(list[Layer]):
    """Layers in the order in which they are called, printed as a table."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return LayerTable(found) if isinstance(place, slice) else found

    def __repr__(self) -> str:
        head = (*Layer._fields[:4], "parameters", "frozen")
        rows = [head, *(_cells(layer) for layer in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


def list_layers(
    backbone: Any = "alexnet",
    *,
    image_size: Any = None,
    freeze_up_to: str | None = None,
    freeze_from: str | None = None,
) -> LayerTable:
    """List the layers of a network that can be read out, trained or frozen.

    The network is built with random weights and run on two images: nothing is downloaded.

    Parameters
    ----------
    backbone : str or callable, default="alexnet"
        As in :class:`SiameseRDMRegressor`, like all parameters.
    image_size : int or (height, width), default=None
        Input size in pixels; None takes the one that the weights were trained with.
    freeze_up_to, freeze_from : str, default=None
        Layers that are to be frozen, from the input up to one, and from one to the end.

    Returns
    -------
    layers : list of named tuples
        In the order in which modules are called, each with

        - ``name``: what ``layer``, ``freeze_up_to`` and ``freeze_from`` take; ``name_1`` is a
          module's second call, ``name[0]`` or ``name[key]`` an item of its tuple or dict;
        - ``alias``: its name in the papers, for AlexNet, VGG and EfficientNet-Lite;
        - ``kind``: the class of the module;
        - ``shape``: of its activations of one image;
        - ``n_parameters``: of it and its parts;
        - ``frozen``: whether they are all frozen; None if it has none.

        It prints as a table; ``pandas.DataFrame(layers)`` makes one of pandas.

    Raises
    ------
    TypeError, ValueError
        If the backbone or a layer is unknown, or does not take images of this size.
    ImportError
        If the extra that holds the backbone is not installed.

    Notes
    -----
    Functions, such as the sum at the end of a residual block, are not modules. Where
    :mod:`torch.fx` can follow the network, they can be read out by the node names of
    :func:`torchvision.models.feature_extraction.get_graph_node_names` as well.

    Examples
    --------
    >>> from sklearn_rdm import list_layers
    >>> layers = list_layers("alexnet", image_size=64, freeze_up_to="conv1")
    >>> layers[1].name, layers[1].alias, layers[1].shape, layers[1].frozen
    ('features.0', 'conv1', (64, 15, 15), True)
    >>> print(layers[:4])
    name        alias  kind        shape         parameters  frozen
    features           Sequential  256 x 1 x 1   2469696     no
    features.0  conv1  Conv2d      64 x 15 x 15  23296       yes
    features.1  relu1  ReLU        64 x 15 x 15
    features.2  pool1  MaxPool2d   64 x 7 x 7
    """
    built = load_backbone(backbone, None, image_size=image_size, random_state=0)
    assert built.remake is not None
    photographs = two_photographs(built.preprocessing.size)
    calls = run_twice(built.network, photographs, None, built.name)
    paths = dict(built.network.named_modules())
    read = {call_name(call, paths): value for call, value in calls.values.items() if call[0]}
    trained = _trained(built.remake(), read, freeze_up_to, freeze_from)
    return LayerTable(_layers(built, calls, trained))


def _trained(
    backbone: Backbone, read: Mapping[str, Any], freeze_up_to: str | None, freeze_from: str | None
) -> Mapping[str, bool]:
    """Which parameters are trained if the network is read at its end."""
    names = [name for name, _ in backbone.network.named_parameters()]
    if freeze_up_to is None and freeze_from is None:
        return dict.fromkeys(names, True)
    last = [name for name, value in read.items() if isinstance(value, Tensor)][-1]
    trunk = Trunk(backbone, [last], freeze_up_to=freeze_up_to, freeze_from=freeze_from)
    kept = dict(trunk.network.named_parameters())
    return {name: name not in kept or kept[name].requires_grad for name in names}


def _layers(backbone: Backbone, calls: Calls, trained: Mapping[str, bool]) -> Iterator[Layer]:
    alias = {path: name for name, path in backbone.aliases.items()}
    paths = dict(backbone.network.named_modules())
    for call in sorted(calls.values.keys() & calls.starts.keys(), key=calls.starts.__getitem__):
        name, module = call_name(call, paths), paths[call[0]]
        inside = [key for key, _ in module.named_parameters(call[0])]
        frozen = not any(trained.get(key, True) for key in inside) if inside else None
        number = sum(p.numel() for p in module.parameters())
        for item, value in _items(calls.values[call]):
            if value.shape[:1] == (2,):
                row = (name + item, alias.get(name, ""), type(module).__name__)
                yield Layer(*row, tuple(value.shape[1:]), number, frozen)


def _items(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors in tuples and dicts, with what is to be written behind the layer's name."""
    if isinstance(value, Tensor):
        yield "", value
    elif isinstance(value, Mapping | tuple | list):
        named = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in named:
            yield from ((f"[{key}]{item}", tensor) for item, tensor in _items(part))


def _cells(layer: Layer) -> tuple[str, ...]:
    shape = " x ".join(map(str, layer.shape)) or "1"
    number = str(layer.n_parameters) if layer.n_parameters else ""
    frozen = {True: "yes", False: "no", None: ""}[layer.frozen]
    return layer.name, layer.alias, layer.kind, shape, number, frozen
