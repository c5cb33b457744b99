import joblib
import torch
from sklearn.base import clone

from sklearn_rdm import SiameseRDMRegressor

joblib.dump(network, folder / "network.joblib")
whole = joblib.load(folder / "network.joblib").transform(data.images)
network.save_params(f_params=folder / "weights.pt")
other = clone(network).initialize()
other.load_params(f_params=folder / "weights.pt")
weights = other.transform(data.images)
module = network.module_.trunk.network
torch.save(module.state_dict(), folder / "plain.pt")
plain = SiameseRDMRegressor(
    "efficientnet_lite0", "block4", weights=folder / "plain.pt", image_size=96
)
from_module = plain.initialize().transform(data.images)
