import tempfile

from sklearn.model_selection import GridSearchCV
from tqdm import tqdm

from sklearn_rdm import SiameseRDMRegressor
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold

bar = tqdm(total=18)


def scored(*args, **kwargs):
    score = rdm_spearman_scorer(*args, **kwargs)
    bar.update()  # in this process only: no n_jobs
    return score


network = SiameseRDMRegressor(
    "efficientnet_lite0",
    "block6",
    image_size=96,
    max_epochs=5,
    memory=tempfile.mkdtemp(),
    random_state=0,
)
search = GridSearchCV(
    network,
    {"freeze_up_to": ["block2", "block4"], "lr": [0.0003, 0.001, 0.003]},
    cv=ImageKFold(3, shuffle=True, random_state=0),
    scoring=scored,
).fit(train, train_dissim)
bar.close()
print(search.best_params_)
