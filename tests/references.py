"""Names and figures of others that several tests compare with."""

CEILINGS = {  # README of the data: fMRI as published, MEG for matrices averaged over time
    (92, "fmri_evc"): 0.1589,
    (92, "fmri_it"): 0.3075,
    (118, "fmri_evc"): 0.1048,
    (118, "fmri_it"): 0.0728,
    (92, "meg_early"): 0.5000,
    (92, "meg_late"): 0.2122,
    (118, "meg_early"): 0.3555,
    (118, "meg_late"): 0.2163,
}

RSATOOLBOX_NAMES = {
    "cosine": "cosine",
    "kendall_tau_a": "tau-a",
    "pearson": "corr",
    "rho_a": "rho-a",
    "spearman": "spearman",
    "whitened_cosine": "cosine_cov",
    "whitened_pearson": "corr_cov",
}
