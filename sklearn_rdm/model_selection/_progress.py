"""One bar for a whole search, whatever runs its fits."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring, get_scorer
from sklearn.model_selection import GridSearchCV, ParameterGrid, RandomizedSearchCV
from tqdm import tqdm

__all__ = ["search_progress"]

POLL = 0.2  # seconds between looks at what the workers have done


@contextmanager
def search_progress(search: Any, *, verbose: int = 1) -> Iterator[Any]:
    """Show one progress bar while a search of scikit-learn is fitted.

    It shows the fits done, the time left, and the best score so far: the highest mean over the
    folds of a candidate. Fits may run here or in processes on this machine (joblib's backends
    and Dask's).

    Parameters
    ----------
    search : GridSearchCV, RandomizedSearchCV or another search of scikit-learn
        It is fitted within the ``with`` block. Of several scores, that of ``refit`` is shown.
    verbose : int, default=1
        0 shows nothing.

    Yields
    ------
    search : object
        The search that was given.

    See Also
    --------
    LayerEpochSearchCV : Has its own bar: ``verbose=1``.

    Notes
    -----
    Within the block, ``search.scoring`` is a scorer that writes each score to a temporary file.
    Fits that fail have no score and are not counted. Searches that choose the number of fits as
    they go, such as successive halving, show no time left.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_rdm import ImagePairs, LinearTwinRSARegressor
    >>> from sklearn_rdm.metrics import rdm_spearman_scorer
    >>> from sklearn_rdm.model_selection import ImageKFold, search_progress
    >>> rng = np.random.default_rng(0)
    >>> pairs = ImagePairs(rng.random((12, 5)))
    >>> search = GridSearchCV(
    ...     LinearTwinRSARegressor(),
    ...     {"alpha": [0.1, 1]},
    ...     cv=ImageKFold(3),
    ...     scoring=rdm_spearman_scorer,
    ... )
    >>> with search_progress(search):
    ...     _ = search.fit(pairs, rng.random(len(pairs)))
    >>> search.scoring
    make_rdm_scorer(rdm_spearman_score)
    """
    if verbose <= 0:
        yield search
        return
    given = search.scoring
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "scores"
        log.touch()
        name, scorers = _scorers(search)
        logged = scorers | {name: _LoggingScorer(scorers[name], log, _searched(search))}
        search.scoring = logged if name else logged[name]
        try:
            with _bar(log, _n_fits(search)):
                yield search
        finally:
            search.scoring = given
            if hasattr(search, "scorer_"):
                search.scorer_ = scorers if name else scorers[name]


class _LoggingScorer:
    """A scorer that also writes each score of held-out data, and whose it is, to a file."""

    def __init__(self, scorer: Any, log: Path, names: list[str]) -> None:
        self.scorer, self.log, self.names = scorer, log, names
        self.scored: Any = None

    def __call__(self, estimator: Any, *args: Any, **kwargs: Any) -> Any:
        score = self.scorer(estimator, *args, **kwargs)
        if estimator is not self.scored:  # the second score of a fit is that of its training data
            self.scored, params = estimator, estimator.get_params()
            line = json.dumps([repr([params.get(name) for name in self.names]), float(score)])
            with suppress(OSError), open(self.log, "a") as file:  # none on another machine
                file.write(line + "\n")
        return score

    def __getattr__(self, name: str) -> Any:  # metadata routing asks the scorer itself
        if name.startswith("__") or name == "scorer":
            raise AttributeError(name)
        return getattr(self.scorer, name)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"scored": None}


def _scorers(search: Any) -> tuple[str, dict[str, Any]]:
    """Scorers by name, and which of them is shown; a single score has no name."""
    given = search.scoring
    if given is None or isinstance(given, str) or callable(given):
        return "", {"": check_scoring(search.estimator, scoring=given)}
    names = given if isinstance(given, dict) else {name: name for name in given}
    scorers = {name: get_scorer(scoring) for name, scoring in names.items()}
    return search.refit if search.refit in scorers else next(iter(scorers)), scorers


def _grids(search: Any) -> list[dict[str, Any]]:
    grids = getattr(search, "param_grid", None) or getattr(search, "param_distributions", {})
    return [grids] if isinstance(grids, dict) else list(grids)


def _searched(search: Any) -> list[str]:
    return sorted({name for grid in _grids(search) for name in grid})


def _n_fits(search: Any) -> int | None:
    """How many fits there will be, None if that is not known beforehand."""
    if isinstance(search, RandomizedSearchCV):
        n_candidates = search.n_iter
    elif isinstance(search, GridSearchCV):
        n_candidates = len(ParameterGrid(search.param_grid))
    else:
        return None
    cv = 5 if search.cv is None else search.cv
    if not isinstance(cv, int):
        try:
            cv = cv.get_n_splits() if hasattr(cv, "get_n_splits") else len(cv)
        except (TypeError, ValueError):  # a generator, or splits that depend on the data
            return None
    return n_candidates * cv


@contextmanager
def _bar(log: Path, total: int | None) -> Iterator[None]:
    """Show what is written to ``log``, from a thread of its own, until the block ends."""
    done = Event()
    with tqdm(total=total, desc="search", unit="fit") as bar, open(log) as file:
        thread = Thread(target=_watch, args=(file, bar, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _watch(file: Any, bar: Any, done: Event) -> None:
    scores: dict[str, list[float]] = defaultdict(list)
    while True:
        last = done.wait(POLL)
        for line in iter(file.readline, ""):
            candidate, score = json.loads(line)
            scores[candidate].append(score)
            bar.set_postfix_str(f"best {_best(scores):.3f}", refresh=False)
            bar.update()
        if last:
            return


def _best(scores: dict[str, list[float]]) -> float:
    """The highest mean over folds, of the candidates that have been tried the most."""
    most = max(map(len, scores.values()))
    return max(float(np.mean(tried)) for tried in scores.values() if len(tried) == most)
