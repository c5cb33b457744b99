"""Train one network by several processes: torchrun --nproc-per-node 2 train.py"""

import os

import torch
from torch import distributed

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression

device, backend = "cpu", "gloo"
if torch.cuda.is_available():
    device, backend = f"cuda:{os.environ['LOCAL_RANK']}", "nccl"
    torch.cuda.set_device(device)
distributed.init_process_group(backend)
data = make_rdm_regression(n_images=16, image_size=64, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
net = SiameseRDMRegressor(
    "alexnet",
    "conv2",
    weights=None,
    image_size=64,
    max_epochs=2,
    batch_size=16,
    device=device,
    random_state=0,
)
net.fit(pairs, dissim)
if distributed.get_rank() == 0:
    net.save_params(f_params="network.pt")
distributed.destroy_process_group()
