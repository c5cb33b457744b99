"""Numpydoc is held to on every public name: no list of exceptions."""

import ast
import inspect
import re
import textwrap

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc, NumpyDocString
from numpydoc.validate import validate

from tests.public_names import public_paths, resolve

# The style that numpydoc leaves open: one-line summaries, and See Also only where it helps. SS05
# takes every first word that ends in s ("Spearman's") for a verb; ruff's D401 knows better.
LEFT_OPEN = {"ES01", "EX01", "GL01", "GL02", "RT02", "SA01", "SS05"}
# What users call; other methods of skorch and torch that a class overrides are documented there.
VERBS = {"fit", "partial_fit", "fit_transform", "predict", "transform", "embed", "score", "split"}
NAMES = public_paths()
PUBLIC_CLASSES = [path for path in NAMES if inspect.isclass(resolve(path))]
CLASSES = [path for path in PUBLIC_CLASSES if not issubclass(resolve(path), Warning)]
FUNCTIONS = [path for path in NAMES if inspect.isfunction(resolve(path))]
ESTIMATORS = [path for path in CLASSES if hasattr(resolve(path), "fit")]


def own_methods(cls):
    """Public methods and properties that sklearn_rdm defines, not skorch or scikit-learn."""
    for name in dir(cls):
        if name.startswith("_"):
            continue
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if getattr(function, "__module__", "").startswith("sklearn_rdm"):
            yield name


def methods():
    return [f"{path}.{name}" for path in CLASSES for name in own_methods(resolve(path))]


@pytest.mark.parametrize("path", CLASSES + FUNCTIONS)
def test_docstring_follows_numpydoc(path):
    assert _faults(path) == []


@pytest.mark.parametrize("path", methods())
def test_docstring_of_method_follows_numpydoc(path):
    parent, _, name = path.rpartition(".")
    cls = resolve(parent)
    faults = _faults(path)
    if name in {entry.name for entry in ClassDoc(cls)["Attributes"]}:
        return
    if name not in VERBS and any(hasattr(base, name) for base in _bases(cls, ours=False)):
        faults = [fault for fault in faults if fault[0] == "GL08"]
    assert faults == []


@pytest.mark.parametrize("path", CLASSES + FUNCTIONS)
def test_example_is_runnable(path):
    document = inspect.getdoc(resolve(path))
    examples = "\n".join(NumpyDocString(document)["Examples"])
    assert ">>> " in examples
    assert "+SKIP" not in examples


@pytest.mark.parametrize("path", FUNCTIONS)
def test_function_that_raises_says_so(path):
    function = resolve(path)
    assert not _raises(function) or FunctionDoc(function)["Raises"]


@pytest.mark.parametrize("path", methods())
def test_method_that_raises_says_so_or_its_class_does(path):
    parent, _, name = path.rpartition(".")
    cls = resolve(parent)
    method = inspect.getattr_static(cls, name)
    method = getattr(method, "fget", None) or getattr(method, "__func__", method)
    assert not _raises(method) or FunctionDoc(method)["Raises"] or ClassDoc(cls)["Raises"]


@pytest.mark.parametrize("path", ESTIMATORS)
def test_estimator_says_what_fitting_raises(path):
    cls = resolve(path)
    assert ClassDoc(cls)["Raises"] or FunctionDoc(cls.fit)["Raises"]


@pytest.mark.parametrize("path", CLASSES)
def test_fitted_attributes_are_documented_and_exist(path):
    cls = resolve(path)
    documented = {
        name.strip()
        for entry in ClassDoc(cls)["Attributes"]
        for name in entry.name.split(",")
        if name.strip().endswith("_")
    }
    assigned = fitted_attributes(cls)
    assert assigned - documented == set()
    inherited = "".join(inspect.getsource(base) for base in _bases(cls, ours=False))
    assert {name for name in documented - assigned if name not in inherited} == set()


def fitted_attributes(cls):
    """Names ending in one underscore that the package's own code of a class assigns or computes."""
    names = set()
    for base in _bases(cls, ours=True):
        names |= {
            name
            for name, value in vars(base).items()
            if isinstance(value, property) and re.fullmatch(r"[a-z]\w*[a-z0-9]_", name)
        }
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
                and re.fullmatch(r"[A-Za-z]\w*[a-z0-9]_", node.attr)
            ):
                names.add(node.attr)
    return names


def _bases(cls, *, ours):
    return [
        base
        for base in inspect.getmro(cls)
        if base is not object and base.__module__.startswith("sklearn_rdm") == ours
    ]


def _faults(path):
    return [fault for fault in validate(path)["errors"] if fault[0] not in LEFT_OPEN]


def _raises(function):
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))
