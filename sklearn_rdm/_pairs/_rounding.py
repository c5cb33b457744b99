"""When a difference is rounding noise, for arrays that were computed in different ways."""

__all__ = ["FLOAT32_SHARE", "SUM_EPSILONS", "TIE"]

# Of the size of a row of float32 activations: the spread of a constant row after centring.
FLOAT32_SHARE = 1e-6
# Machine epsilons, of the size of the terms of a sum, below which what is left is noise.
SUM_EPSILONS = 16
# Between two scores of the same dissimilarities in another order.
TIE = 1e-12
