"""Sphinx configuration: builds without a network, warnings are errors in .ci/run."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generate_pages import write_pages  # noqa: I001  # beside this file

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

autodoc_default_options = {"members": True, "inherited-members": True}
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
    app.connect("autodoc-skip-member", _skip_what_others_document)


def _skip_what_others_document(_app, _what, _name, member, skip, _options):
    """Leave methods of scikit-learn, skorch and torch to the documentation of these."""
    function = getattr(member, "fget", None) or getattr(member, "__func__", member)
    home = getattr(function, "__module__", None) or "sklearn_rdm"
    return skip or not home.startswith("sklearn_rdm")
