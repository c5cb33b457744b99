"""Dissimilarities, edges and a tiny network that the tests of losses share."""

import numpy as np
import torch
from torch import nn

from sklearn_rdm import SiameseRDMRegressor

ALL_EQUAL = torch.full((6,), 0.1)  # its mean, in single precision, is not quite 0.1
VARYING = torch.tensor([0.2, 0.9, 0.4, 1.3, 0.4, 0.6])
EDGES = {
    "one pair": (torch.tensor([0.3]), torch.tensor([0.7])),
    "one pair, zero": (torch.tensor([0.0]), torch.tensor([0.0])),
    "constant target": (VARYING, ALL_EQUAL),
    "constant prediction": (ALL_EQUAL, VARYING),
    "both constant": (ALL_EQUAL, ALL_EQUAL),
    "zero prediction": (torch.zeros(6), VARYING),
    "zero target": (VARYING, torch.zeros(6)),
    "tied targets": (VARYING, torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])),
    "opposite": (-VARYING, VARYING),
    "huge": (VARYING, 1e6 * VARYING),
}


def draw(n_pairs, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    y_pred = rng.uniform(0, 2, n_pairs)
    y_true = 5 * y_pred + rng.normal(3, 2, n_pairs)
    return torch.tensor(y_pred, dtype=dtype), torch.tensor(y_true, dtype=dtype)


def value_and_gradient(loss, y_pred, y_true):
    y_pred = y_pred.clone().requires_grad_()
    value = loss()(y_pred, y_true)
    value.backward()
    return value.detach(), y_pred.grad


def some_pairs(n_images=9):
    index = torch.combinations(torch.arange(n_images))
    generator = torch.Generator().manual_seed(0)
    predicted, observed = torch.rand(2, len(index), dtype=torch.float64, generator=generator)
    return predicted, observed, index


class TinyNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=3)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8 * 10 * 10, 2)

    def forward(self, x):
        return self.fc(self.relu(self.conv(x)).flatten(1))


def tiny_net(**params):
    return SiameseRDMRegressor(TinyNetwork, "relu", image_size=32, random_state=0, **params)
