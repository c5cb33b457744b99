"""A symmetric matrix made tridiagonal, so that solving with it is cheap for every penalty."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal, lapack

FLOOR = 1e-10  # of the largest eigenvalue: below such a penalty, solutions are refined
REFINEMENTS = 2
PRECISION = 1e-8  # of a penalty: where Newton's steps end, each of which squares the error
MOST_STEPS = 200
BLOCKED = 64  # columns that LAPACK's dormqr takes at a time, as its workspace is measured
REDUCED = 8  # columns that dsytrd takes at a time: faster than its own choice for some 500


class Tridiagonal:
    """``K = Q T Q'`` of a symmetric, positive semidefinite matrix with tridiagonal ``T``.

    Takes less than half of the time of eigenvectors. Only the upper triangle of the matrix is
    read, and the matrix is overwritten.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        size = len(matrix)
        reduced, self.diagonal, self.beside, self.scales, _ = lapack.dsytrd(
            matrix.T, lower=1, lwork=REDUCED * size, overwrite_a=1
        )
        self.reflectors = np.asfortranarray(reduced[1:, :-1])  # else dormqr copies at every call
        self.largest = _largest_eigenvalue(self.diagonal, self.beside)
        self.floor = FLOOR * self.largest if self.largest > 0 else 1.0

    def rotate(self, vectors: np.ndarray) -> np.ndarray:
        """Return ``Q' vectors``."""
        return self._reflect(vectors, "T")

    def restore(self, vectors: np.ndarray) -> np.ndarray:
        """Return ``Q vectors``."""
        return self._reflect(vectors, "N")

    def multiply(self, vector: np.ndarray) -> np.ndarray:
        """Return ``T vector``."""
        product = self.diagonal * vector
        product[1:] += self.beside * vector[:-1]
        product[:-1] += self.beside * vector[1:]
        return product

    def solve(self, penalty: float, vector: np.ndarray) -> np.ndarray:
        """Return ``(T + penalty)^-1 vector``; without penalty, in the range of ``T``.

        Below the floor by iterated refinement, which never divides by an eigenvalue of zero.
        """
        if penalty >= self.floor:
            return self._solve(penalty, vector)
        solution = self._solve(self.floor, vector)
        for _ in range(REFINEMENTS):
            residual = vector - self.multiply(solution) - penalty * solution
            solution += self._solve(self.floor, residual)
        return solution

    def _solve(self, penalty: float, vector: np.ndarray) -> np.ndarray:
        beside = self.beside if len(vector) > 1 else np.zeros(1)  # one more than LAPACK reads
        return lapack.dptsv(self.diagonal + penalty, beside, vector)[2]

    def _reflect(self, vectors: np.ndarray, transpose: str) -> np.ndarray:
        """Multiply by the reflections, which leave the first row alone."""
        reflected = np.array(vectors, dtype=float, order="F")
        if len(reflected) > 1:
            reflected[1:] = lapack.dormqr(
                "L",
                transpose,
                self.reflectors,
                self.scales,
                reflected[1:],
                BLOCKED * max(BLOCKED, reflected.shape[1]),
            )[0]
        return reflected


def _largest_eigenvalue(diagonal: np.ndarray, beside: np.ndarray) -> float:
    if len(diagonal) == 1:  # scipy before 1.13 takes no matrix of one row
        return float(diagonal[0])
    last = (len(diagonal) - 1, len(diagonal) - 1)
    return float(eigvalsh_tridiagonal(diagonal, beside, select="i", select_range=last)[0])


def shrinking_penalties(
    matrix: Tridiagonal, vector: np.ndarray, fractions: np.ndarray, *, of_rows: bool
) -> np.ndarray:
    """Return the penalties that shrink the length of ridge weights to fractions of its maximum.

    ``u = (T + penalty)^-1 vector`` are the weights; ``of_rows`` if they are of a matrix's rows, so
    that its columns' weights have the squared length ``u' T u``. The inverse of the length is a
    concave function of the penalty, and nearly a straight line: Newton's steps towards a fraction
    never go past its penalty, so that one fraction's is a start for the next smaller one
    (Hebden 1973; Moré and Sorensen 1983).
    """
    penalties = np.zeros(len(fractions))
    penalty, longest = 0.0, None
    for place in np.argsort(-fractions):
        for _ in range(MOST_STEPS):
            length, decrease = _length(matrix, vector, penalty, of_rows=of_rows)
            longest = length if longest is None else longest
            if length <= fractions[place] * longest:
                break
            step = (length / (fractions[place] * longest) - 1) * length**2 / decrease
            penalty += step
            if step <= PRECISION * penalty:
                break
        penalties[place] = penalty
    return penalties


def _length(
    matrix: Tridiagonal, vector: np.ndarray, penalty: float, *, of_rows: bool
) -> tuple[float, float]:
    """Length of the weights, and how fast half its square decreases with the penalty."""
    weights = matrix.solve(penalty, vector)
    dual = matrix.multiply(weights) if of_rows else weights
    return np.sqrt(max(weights @ dual, 0)), dual @ matrix.solve(penalty, weights)
