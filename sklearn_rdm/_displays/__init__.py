"""Figures of what was measured and predicted, after scikit-learn's Display API.

The last room of the flow images -> pairs -> network -> dissimilarities -> score: displays store
arrays, draw them in ``plot`` and compute no score. matplotlib is imported when something is drawn.
"""

from sklearn_rdm._displays._embedding import RDMEmbeddingDisplay
from sklearn_rdm._displays._layer_epoch import LayerEpochDisplay
from sklearn_rdm._displays._layer_scores import LayerScoresDisplay
from sklearn_rdm._displays._rdm import RDMDisplay
from sklearn_rdm._displays._scores import RDMScoresDisplay
from sklearn_rdm._displays._training_curve import TrainingCurveDisplay

__all__ = [
    "LayerEpochDisplay",
    "LayerScoresDisplay",
    "RDMDisplay",
    "RDMEmbeddingDisplay",
    "RDMScoresDisplay",
    "TrainingCurveDisplay",
]
