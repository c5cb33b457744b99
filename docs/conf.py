"""Sphinx configuration: builds without a network, warnings are errors in .ci/run."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generate_pages import write_pages  # noqa: I001  # beside this file
from skorch import NeuralNet
from skorch.callbacks import Callback
from sklearn.base import BaseEstimator
from torch.nn import Module

import sklearn_rdm

PYPROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
write_pages(HERE, PYPROJECT["project"])

project = "sklearn_rdm"
author = "sklearn_rdm developers"
copyright = author
version = release = sklearn_rdm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "mathml",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "before",
    "examples",
    "generated/benchmarks.md",
    "generated/jobs.rst",
    "generated/promises.rst",
    "generated/requirements.rst",
    "results",
]
templates_path = ["_templates"]
html_math_renderer = "mathml"

autodoc_default_options = {"members": True, "inherited-members": True}
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # numpydoc states the types
numpydoc_show_class_members = False
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_rdm",),
    "image_srcset": ["2x"],
    "thumbnail_size": (400, 280),
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_rdm"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 5,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_toc_level": 2,
}
html_sidebars = {page: [] for page in ("install", "benchmarks", "changelog", "contributing")}

# Methods that skorch, torch and scikit-learn call, or that their own pages describe
CALLED_BY_OTHERS = {
    name for owner in (NeuralNet, Callback, Module, BaseEstimator) for name in dir(owner)
} - {"fit", "partial_fit", "predict", "transform", "score", "forward"}


def setup(app):
    app.connect("autodoc-skip-member", _skip_what_others_document)
    app.connect("autodoc-process-docstring", _describe_scorer, priority=400)  # before numpydoc


def _describe_scorer(_app, _what, name, _obj, _options, lines):
    """Name the score of a scorer: what its class is made with is not for users."""
    score, scorer, rest = name.rpartition(".")[2].rpartition("_scorer")
    if scorer and not rest and not score.startswith(("make_", "get_")):
        lines[:] = [
            f"Scorer by :func:`{score}_score`, for ``scoring=`` of scikit-learn's tools.",
            "",
            "``scorer(estimator, X, y)`` scores what a fitted estimator predicts for ``X``; higher "
            "is better.",
        ]


def _skip_what_others_document(_app, what, name, member, skip, _options):
    """Show what users call: no hooks of other libraries, no methods that these document."""
    if what == "class" and name in CALLED_BY_OTHERS:
        return True
    function = getattr(member, "fget", None) or getattr(member, "__func__", member)
    home = getattr(function, "__module__", None) or "sklearn_rdm"
    return skip or not home.startswith("sklearn_rdm")
