import ast
import importlib
import inspect
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.public_names import MODULES, PUBLIC, public_paths, resolve

API_TABLE = Path(__file__).parent.parent / "docs" / "api_table.py"
# Extras, and what only figures, downloads and files need: imported where used.
NOT_AT_IMPORT = [
    "dask",
    "efficientnet_lite_pytorch",
    "h5py",
    "himalaya",
    "matplotlib",
    "pandas",
    "pooch",
    "rsatoolbox",
    "safetensors",
]


def lower_case_names(module):
    """Functions, classes and objects that the source of a module defines at its top level."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name) and t.id.islower())


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_and_its_names_exist(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__))
    assert [n for n in module.__all__ if not hasattr(module, n)] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_complete(name):
    module = importlib.import_module(name)
    defined = {n for n in lower_case_names(module) if not n.startswith("_")}
    assert defined - set(module.__all__) == set()


def test_every_public_name_has_one_import_path():
    names = [path.rpartition(".")[2] for path in public_paths()]
    assert {name: n for name, n in Counter(names).items() if n > 1} == {}
    objects = Counter(id(resolve(path)) for path in public_paths())
    assert [path for path in public_paths() if objects[id(resolve(path))] > 1] == []


def test_the_documentation_lists_every_public_name_once():
    listed = [name for _, _, names in runpy.run_path(str(API_TABLE))["API"] for name in names]
    assert sorted(listed) == sorted(p.removeprefix("sklearn_rdm.") for p in public_paths())


@pytest.mark.parametrize("name", MODULES)
def test_no_file_imports_an_extra_at_its_top_level(name):
    imported = set(top_level_imports(importlib.import_module(name)))
    assert imported & set(NOT_AT_IMPORT) == set()


def test_importing_everything_public_leaves_the_extras_out():
    # scikit-learn itself imports pandas where it is installed: what counts is what we add
    code = f"""
import sys, PIL, joblib, scipy, sklearn.base, skorch, torchvision, tqdm
before = set(sys.modules)
import {", ".join(PUBLIC)}
print(*({set(NOT_AT_IMPORT)} & set(sys.modules)) - before)
"""
    assert run(code) == ""


@pytest.mark.parametrize(
    "module", ["metrics", "model_selection", "preprocessing", "io", "datasets", "_models"]
)
def test_scores_splitters_and_files_need_no_torch(module):
    code = f"""
import sys
import sklearn_rdm.{module}
from sklearn_rdm import FixedRSARegressor, ImagePairs, RDMDisplay
print(*{{"torch", "torchvision", "skorch"}} & set(sys.modules))
"""
    assert run(code) == ""


def test_names_of_the_network_import_it_when_they_are_used():
    code = """
import sys
import sklearn_rdm
before = "torch" in sys.modules
sklearn_rdm.SiameseRDMRegressor
print(before, "torch" in sys.modules)
"""
    assert run(code) == "False True"


def test_importing_leaves_slow_parts_of_scikit_learn_out():
    code = """
import sys
import sklearn_rdm._network
print(*{"sklearn.decomposition", "sklearn.linear_model", "sklearn.manifold"} & set(sys.modules))
"""
    assert run(code) == ""


def test_importing_leaves_global_state_alone():
    code = """
import random, warnings
import numpy, sklearn, skorch, torch, torchvision
def state():
    return [
        random.getstate(),
        numpy.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        sklearn.get_config(),
        warnings.filters[:],
    ]
before = state()
import sklearn_rdm._network
print(*(i for i, (a, b) in enumerate(zip(before, state(), strict=True)) if a != b))
"""
    assert run(code) == ""


def top_level_imports(module):
    """Root names of what a module imports outside functions."""
    nodes = list(ast.parse(inspect.getsource(module)).body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.If | ast.Try | ast.With):
            nodes.extend(ast.iter_child_nodes(node))


def run(code):
    """Return what a fresh interpreter prints, on both streams."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()
