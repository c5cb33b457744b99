import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_rdm import ImagePairs, report
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, image_train_test_split
from tests.networks import make_data, tiny_net
from tests.report.reader import EVIL


@pytest.fixture(scope="module")
def held_out():
    data = make_data(14, 48)
    groups = np.where(np.arange(14) % 2, EVIL, "face")
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms, image_groups=groups)
    return image_train_test_split(pairs, dissim, test_size=6, random_state=0)


@pytest.fixture(scope="module")
def search(held_out):
    train, _, y, _ = held_out
    options = {"cv": ImageKFold(2), "scoring": rdm_spearman_scorer}
    return GridSearchCV(tiny_net(max_epochs=2), {"lr": [0.01, 0.1]}, **options).fit(train, y)


@pytest.fixture(scope="module")
def whole_page(search, held_out):
    _, test, _, y = held_out
    names = [f"{EVIL} {i}" for i in range(14)]
    return report(search, test, y, image_names=names, n_draws=50, title=EVIL)
