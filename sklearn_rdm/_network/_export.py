"""What is taken out of a trained network: its backbone, or all from photographs to activations."""

from __future__ import annotations

import copy
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_rdm._network._preprocessing import Preprocessing
from sklearn_rdm._network._references import find_references
from sklearn_rdm._network._trunk import Trunk

__all__ = ["Embedding", "ExportMixin"]


class ExportMixin:
    """Networks without the estimator around them."""

    module_: Any

    def export_network(self) -> nn.Module:
        """Return the tuned backbone as a plain module of its own class, with all its layers.

        Layers after the read-out are as pretrained. The state dict loads with ``strict=True`` into
        an untouched network of its kind. Save it with ``safetensors.torch.save_model``, in a file
        that holds no code.

        Returns
        -------
        network : torch.nn.Module
            In evaluation mode, on the processor.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a weights file has no weights of a layer after the read-out.
        """
        check_is_fitted(self)
        return self.module_.trunk.export_network()

    def export_embedding(self, *, background: Any = None) -> nn.Module:
        """Return :meth:`embed` as a module of PyTorch: photographs in, activations out.

        It resizes and scales photographs, runs the network to the layer that predicts, pools, and
        subtracts the activations of the reference, which are a constant. ``torch.export`` and
        ``torch.onnx.export`` write it to a file that runs without this library, on any number of
        photographs of one size: see :ref:`export_embedding`.

        Parameters
        ----------
        background : str, (r, g, b) or None
            As in :meth:`embed`, one colour for all photographs.

        Returns
        -------
        module : torch.nn.Module
            A copy, in evaluation mode, on the processor, in float32. Its input are photographs
            ``(n_images, 3, height, width)``, uint8 or float32 in 0..1, which is not checked; its
            output ``(n_images, n_features)``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the background is subtracted (``reference``), but not given.
        """
        check_is_fitted(self)
        network = self.module_
        references = find_references(
            network.reference, None, 1, network.preprocessing, network.mean_image, background
        )
        reference = None if references is None else references.images
        return Embedding(network.trunk, network.predicting, network.preprocessing, reference)


class Embedding(nn.Module):
    """Photographs (n, 3, height, width) to activations (n, n_features), in operations of PyTorch.

    torch.export and ONNX follow it with a dynamic number of photographs. What they write needs
    nothing of this library.

    Parameters
    ----------
    trunk : Trunk
        It is copied.
    read : callable
        Makes features of the trunk's outputs.
    preprocessing : Preprocessing
        From photographs to the input of the network.
    reference : Tensor of shape (1, 3, height, width), default=None
        Input of the network whose features are subtracted.
    """

    def __init__(
        self,
        trunk: Trunk,
        read: nn.Module,
        preprocessing: Preprocessing,
        reference: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(trunk).cpu()
        self.read = copy.deepcopy(read).cpu()
        self.preprocessing = preprocessing
        # Buffers, as torchvision's normalize looks at values, which torch.export cannot follow.
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(-1, 1, 1))
        self.eval().requires_grad_(False)
        self.reference: Tensor | None
        with torch.no_grad():
            of_reference = None if reference is None else self._features(reference.cpu())
        self.register_buffer("reference", of_reference)

    def forward(self, photographs: Tensor) -> Tensor:
        """Activations of photographs, uint8 or float in 0..1."""
        inputs = (self.preprocessing.fitted(photographs) - self.mean) / self.std
        features = self._features(inputs)
        return features if self.reference is None else features - self.reference

    def _features(self, inputs: Tensor) -> Tensor:
        outputs = self.trunk.traceable(inputs)
        return self.read(dict(zip(self.trunk.layers, outputs, strict=True)))
