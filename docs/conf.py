"""Sphinx configuration: builds without a network, warnings are errors in .ci/run."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generate_pages import write_pages  # noqa: I001  # beside this file

PYPROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
write_pages(HERE, PYPROJECT["project"])

project = "sklearn_rdm"
author = "sklearn_rdm developers"
copyright = author
version = release = PYPROJECT["project"]["version"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "examples",
    "generated/benchmarks.md",
    "generated/requirements.rst",
    "results",
]
templates_path = ["_templates"]

# What a class has from scikit-learn and skorch is documented there.
autodoc_default_options = {
    "members": True,
    "inherited-members": ",".join(
        ["BaseEstimator", "NeuralNet", "RegressorMixin", "TransformerMixin", "_MetadataRequester"]
    ),
}
autodoc_typehints = "none"  # numpydoc states the types
numpydoc_show_class_members = False
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_rdm",),
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2}


def setup(app):
    app.connect("autodoc-skip-member", _skip_metadata_requests)


def _skip_metadata_requests(_app, _what, name, *_):
    """``set_fit_request`` and the like: scikit-learn makes and documents them."""
    return True if name.startswith("set_") and name.endswith("_request") else None
