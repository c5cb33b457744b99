import numpy as np
import pytest

from sklearn_rdm._models import _tridiagonal
from sklearn_rdm._models._tridiagonal import Tridiagonal, shrinking_penalties


def gram(rng, size, rank=None):
    columns = rng.normal(size=(size, rank or 2 * size))
    return columns @ columns.T


def eigen_solve(matrix, penalty, vector):
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-10 * values[-1]
    return vectors[:, kept] @ (vectors[:, kept].T @ vector / (values[kept] + penalty))


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("penalty", [0.01, 3, 1e6])
def test_solving_equals_numpy(size, penalty, rng):
    matrix, vector = gram(rng, size), rng.normal(size=(size, 1))
    expected = np.linalg.solve(matrix + penalty * np.eye(size), vector)[:, 0]
    form = Tridiagonal(matrix.copy())
    solution = form.solve(penalty, form.rotate(vector)[:, 0])
    np.testing.assert_allclose(form.restore(solution[:, np.newaxis])[:, 0], expected, rtol=1e-9)


def test_rotation_gives_the_tridiagonal_form(rng):
    matrix = gram(rng, 20)
    form = Tridiagonal(matrix.copy())
    tridiagonal = np.column_stack([form.multiply(unit) for unit in np.eye(20)])
    np.testing.assert_allclose(np.triu(tridiagonal, 2), 0)
    np.testing.assert_allclose(tridiagonal, tridiagonal.T)
    rotation = form.restore(np.eye(20))
    np.testing.assert_allclose(rotation @ tridiagonal @ rotation.T, matrix, atol=1e-11)
    np.testing.assert_allclose(form.rotate(rotation), np.eye(20), atol=1e-12)
    assert form.largest == pytest.approx(np.linalg.eigvalsh(matrix)[-1])


def test_only_the_upper_triangle_is_read(rng):
    matrix = gram(rng, 10)
    upper = np.triu(matrix) + np.tril(np.full((10, 10), np.nan), -1)
    np.testing.assert_array_equal(Tridiagonal(upper).diagonal, Tridiagonal(matrix).diagonal)


@pytest.mark.parametrize("rank", [5, 20])
def test_without_penalty_the_shortest_solution_is_found(rank, rng):
    matrix = gram(rng, 20, rank) if rank < 20 else gram(rng, 20)
    vector = matrix @ rng.normal(size=20)
    form = Tridiagonal(matrix.copy())
    solution = form.solve(0, form.rotate(vector[:, np.newaxis])[:, 0])
    restored = form.restore(solution[:, np.newaxis])[:, 0]
    np.testing.assert_allclose(restored, eigen_solve(matrix, 0, vector), atol=1e-4)


@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("spread", [0, 2, 6])  # decades of the features' sizes
@pytest.mark.parametrize(
    "fractions", [[0.3], [0.999, 0.001, 1, 0.3, 0.3], np.linspace(0.05, 1, 20)]
)
def test_penalties_shrink_weights_to_the_fractions(fractions, spread, of_rows, rng):
    columns = rng.normal(size=(20, 60 if of_rows else 10))
    columns *= np.logspace(0, -spread / 2, columns.shape[1])
    matrix = columns @ columns.T if of_rows else columns.T @ columns
    target = rng.normal(size=20)
    vector = target if of_rows else columns.T @ target
    form = Tridiagonal(matrix.copy())
    rotated = form.rotate(vector[:, np.newaxis])[:, 0]
    penalties = shrinking_penalties(form, rotated, np.array(fractions), of_rows=of_rows)

    def length(penalty):
        solution = eigen_solve(matrix, penalty, vector)
        return np.linalg.norm(columns.T @ solution if of_rows else solution)

    reached = np.array([length(penalty) for penalty in penalties]) / length(0)
    np.testing.assert_allclose(reached, fractions, rtol=1e-6)
    np.testing.assert_array_equal(penalties[np.array(fractions) == 1], 0)


def test_nothing_to_solve(rng):
    form = Tridiagonal(np.zeros((4, 4)))
    np.testing.assert_array_equal(form.solve(2, np.ones(4)), 0.5)
    penalties = shrinking_penalties(form, np.zeros(4), np.array([0.5, 1]), of_rows=False)
    np.testing.assert_array_equal(penalties, 0)


def test_steps_that_are_cut_off_have_not_passed_the_penalty(monkeypatch, rng):
    form, vector = Tridiagonal(gram(rng, 20)), rng.normal(size=20)
    fractions = np.array([0.05])
    exact = shrinking_penalties(form, vector, fractions, of_rows=False)
    reached = []
    for n_steps in (1, 2, 4):
        monkeypatch.setattr(_tridiagonal, "MOST_STEPS", n_steps)
        reached += shrinking_penalties(form, vector, fractions, of_rows=False).tolist()
    assert 0 < reached[0] < reached[1] < reached[2] <= exact[0] * (1 + 1e-9)
