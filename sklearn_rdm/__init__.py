"""Fine-tune pretrained CNNs on measured dissimilarities, the scikit-learn way.

The flow of data, left to right: images -> pairs (:class:`ImagePairs`) -> network
(:class:`SiameseRDMRegressor`) -> dissimilarities -> score (:mod:`sklearn_rdm.metrics`).
"""

import lazy_loader

__version__ = "0.1.0.dev0"
# A name is imported when it is first used (SPEC 1): scores and splitters need no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
