"""Every public name, in the order and under the headings of the API reference.

The one table from which the pages are generated; ``tests/test_public_api.py`` compares it with
the package. ``name`` is the path to import it from, without ``sklearn_rdm.``.
"""

API = [
    (
        "Images and pairs",
        "Photographs, and which two of them each dissimilarity compares.",
        ["ImagePairs", "ResponsePatterns", "read_images"],
    ),
    (
        "The network",
        "Fine-tuned on dissimilarities.",
        [
            "SiameseRDMRegressor",
            "list_layers",
            "make_agrawal2019",
            "losses.CorrelationLoss",
            "losses.WhitenedCorrelationLoss",
            "losses.ScaledMSELoss",
            "losses.CosineLoss",
            "losses.WhitenedCosineLoss",
            "losses.RankLoss",
            "callbacks.WeightAveraging",
            "LayerEpochSearchCV",
            "CalibratedRDMRegressor",
            "EnsembleRDMRegressor",
        ],
    ),
    (
        "Baselines and features",
        "Classical representational similarity analysis, in the same searches.",
        [
            "LayerActivations",
            "FixedRSARegressor",
            "LayerWeightedRSARegressor",
            "FeatureReweightedRSARegressor",
            "LinearTwinRSARegressor",
        ],
    ),
    (
        "Preprocessing",
        "Fitted on the images, or the subjects, of the training pairs only.",
        [
            "preprocessing.PerImage",
            "preprocessing.SubjectPooling",
            "preprocessing.to_dissimilarity",
        ],
    ),
    (
        "Cross-validation over images",
        "No training pair holds an image of a test pair.",
        [
            "model_selection.ImageKFold",
            "model_selection.RepeatedImageKFold",
            "model_selection.StratifiedImageKFold",
            "model_selection.GroupImageKFold",
            "model_selection.LeaveOneGroupOfImagesOut",
            "model_selection.ImageShuffleSplit",
            "model_selection.image_train_test_split",
            "model_selection.pairs_report",
            "model_selection.ImageLeakWarning",
            "model_selection.cross_val_rdm",
            "model_selection.SubjectHoldOutRDMRegressor",
            "model_selection.cross_val_subjects_score",
        ],
    ),
    (
        "Scores",
        "Functions of observed and predicted dissimilarities, higher is better.",
        [
            "metrics.rdm_spearman_score",
            "metrics.rdm_pearson_score",
            "metrics.rdm_kendall_tau_a_score",
            "metrics.rdm_rho_a_score",
            "metrics.rdm_cosine_score",
            "metrics.rdm_whitened_pearson_score",
            "metrics.rdm_whitened_cosine_score",
            "metrics.noise_normalized_r2_score",
        ],
    ),
    (
        "Scorers",
        "The scores as scikit-learn takes them: ``scoring=rdm_spearman_scorer``.",
        [
            "metrics.get_rdm_scorer",
            "metrics.make_rdm_scorer",
            "metrics.rdm_spearman_scorer",
            "metrics.rdm_pearson_scorer",
            "metrics.rdm_kendall_tau_a_scorer",
            "metrics.rdm_rho_a_scorer",
            "metrics.rdm_cosine_scorer",
            "metrics.rdm_whitened_pearson_scorer",
            "metrics.rdm_whitened_cosine_scorer",
            "metrics.noise_normalized_r2_scorer",
        ],
    ),
    (
        "Noise ceiling and inference",
        "What could be reached, what chance reaches, and how sure a difference is.",
        [
            "metrics.noise_ceiling",
            "metrics.NoiseCeilingConvention",
            "metrics.rdm_permutation_test",
            "metrics.rdm_bootstrap",
            "metrics.compare_rdm_scores",
        ],
    ),
    (
        "Data sets",
        "Published measurements, and simulated ones whose truth is known.",
        [
            "datasets.fetch_algonauts2019",
            "datasets.fetch_kriegeskorte92",
            "datasets.make_rdm_regression",
        ],
    ),
    (
        "Files and other packages",
        "Matrices from and to rsatoolbox, MATLAB, NumPy and tables.",
        [
            "io.read_rdms",
            "io.write_rdms",
            "io.from_rsatoolbox",
            "io.to_rsatoolbox",
            "io.from_long_table",
            "io.to_long_table",
        ],
    ),
    (
        "Figures",
        "After scikit-learn's Display API; they need the extra ``plot``.",
        ["RDMDisplay", "RDMEmbeddingDisplay", "RDMScoresDisplay", "LayerEpochDisplay"],
    ),
    ("Versions", "What to paste into a bug report.", ["show_versions"]),
]
