"""Progress bars, one kind for everything: shown where ``verbose`` is above 0, silent by default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sklearn.utils.parallel import Parallel
from tqdm import tqdm

__all__ = ["collect", "counted", "one_of", "showing_progress"]

_is_shown = ContextVar("is_shown", default=False)


def collect(
    calls: Iterable[Any],
    *,
    total: int,
    n_jobs: int | None,
    verbose: int,
    desc: str,
    note: Callable[[list], str] | None = None,
) -> list:
    """Results of delayed calls in their order; ``note`` says what the bar adds to their number."""
    return_as = "generator" if verbose > 0 else "list"
    results: list[Any] = []
    with tqdm(total=total, desc=desc, disable=verbose <= 0) as bar:
        for result in Parallel(n_jobs=n_jobs, return_as=return_as)(calls):
            results.append(result)
            if note is not None and verbose > 0:
                bar.set_postfix_str(note(results), refresh=False)
            bar.update()
    return results


@contextmanager
def showing_progress(verbose: int) -> Iterator[None]:
    """Within the block, show what :func:`counted` counts, however deep it is called."""
    token = _is_shown.set(verbose > 0)
    try:
        yield
    finally:
        _is_shown.reset(token)


@contextmanager
def one_of(n_parts: int) -> Iterator[None]:
    """Within the block, leave the bar to what counts these parts, unless this is the only one."""
    with showing_progress(_is_shown.get() and n_parts == 1):
        yield


def counted(iterable: Iterable[Any], *, total: int, desc: str) -> Iterable[Any]:
    """The same items, with a bar that vanishes when they are through; none for a single item."""
    is_shown = _is_shown.get() and total > 1
    return tqdm(iterable, total=total, desc=desc, disable=not is_shown, leave=False)
