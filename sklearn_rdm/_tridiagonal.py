"""A symmetric matrix made tridiagonal, so that solving with it is cheap for every penalty."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal, lapack
from scipy.optimize import brentq

FLOOR = 1e-10  # of the largest eigenvalue: below such a penalty, solutions are refined
REFINEMENTS = 2
NEARLY_NONE = 1e-6  # of the floor: as good as no penalty
PRECISION = 1e-9  # of the logarithm of a penalty
BLOCKED = 64  # columns that LAPACK takes at a time, as its workspace is measured


class Tridiagonal:
    """``K = Q T Q'`` of a symmetric, positive semidefinite matrix with tridiagonal ``T``.

    Takes less than half of the time of eigenvectors. Only the upper triangle of the matrix is
    read, and the matrix is overwritten.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        size = len(matrix)
        workspace = int(lapack.dsytrd_lwork(size, lower=1)[0])
        self.reflectors, self.diagonal, self.beside, self.scales, _ = lapack.dsytrd(
            matrix.T, lower=1, lwork=workspace, overwrite_a=1
        )
        last = (size - 1, size - 1)
        self.largest = float(
            eigvalsh_tridiagonal(self.diagonal, self.beside, select="i", select_range=last)[0]
        )
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
                self.reflectors[1:, :-1],
                self.scales,
                reflected[1:],
                BLOCKED * max(BLOCKED, reflected.shape[1]),
            )[0]
        return reflected


def shrinking_penalty(
    matrix: Tridiagonal, vector: np.ndarray, fraction: float, *, of_rows: bool
) -> float:
    """Return the penalty that shrinks the length of ridge weights to a fraction of its maximum.

    ``u = (T + penalty)^-1 vector`` are the weights; ``of_rows`` if they are of a matrix's rows, so
    that its columns' weights have the squared length ``u' T u``. Each eigenvalue ``s`` shrinks its
    share by ``s / (s + penalty)``, so that the largest one bounds the penalty.
    """

    def length(penalty: float) -> float:
        weights = matrix.solve(penalty, vector)
        return np.sqrt(max(weights @ (matrix.multiply(weights) if of_rows else weights), 0))

    target = fraction * length(0)
    lowest = np.log(NEARLY_NONE * matrix.floor)

    def excess(log_penalty: float) -> float:
        return length(np.exp(log_penalty)) - target

    if fraction == 1 or target == 0 or excess(lowest) <= 0:
        return 0.0
    highest = np.log(1.1 * matrix.largest * (1 / fraction - 1))
    return float(np.exp(brentq(excess, lowest, max(highest, lowest + 1), xtol=PRECISION)))
