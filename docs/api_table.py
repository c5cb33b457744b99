"""Every public name, in the order and under the headings of the API reference.

The one table from which the pages are generated; ``tests/test_public_api.py`` compares it with
the package. ``name`` is the path to import it from, without ``sklearn_rdm.``.
"""

API = [
    (
        "Images and pairs",
        "Photographs, and which two of them each dissimilarity compares.",
        ["ImagePairs", "read_images"],
    ),
    (
        "Figures",
        "After scikit-learn's Display API; they need the extra ``plot``.",
        ["RDMDisplay", "RDMEmbeddingDisplay", "RDMScoresDisplay", "LayerEpochDisplay"],
    ),
]
