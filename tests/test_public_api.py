import ast
import importlib
import inspect
import json
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


# What a fresh interpreter tells of importing the package, once for all tests: each import of torch
# takes seconds. scikit-learn imports pandas where it is installed: what counts is what we add.
EVERYTHING = f"""
import json, random, sys, warnings
import PIL, joblib, numpy, scipy, sklearn, sklearn.base, skorch, torch, torchvision, tqdm
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
before, modules = state(), set(sys.modules)
import sklearn_rdm._network
changed = [i for i, (a, b) in enumerate(zip(before, state(), strict=True)) if a != b]
slow = {{"sklearn.decomposition", "sklearn.linear_model", "sklearn.manifold"}} & set(sys.modules)
import {", ".join(PUBLIC)}
extras = ({set(NOT_AT_IMPORT)} & set(sys.modules)) - modules
print(json.dumps({{"changed": changed, "slow": [*slow], "extras": [*extras]}}))
"""


@pytest.fixture(scope="module")
def imported():
    return json.loads(run(EVERYTHING))


def test_importing_everything_public_leaves_the_extras_out(imported):
    assert imported["extras"] == []


def test_importing_leaves_slow_parts_of_scikit_learn_out(imported):
    assert imported["slow"] == []


def test_importing_leaves_global_state_alone(imported):
    assert imported["changed"] == []


def test_scores_splitters_and_files_need_no_torch_and_the_network_does():
    code = """
import importlib, sys
for module in ["metrics", "model_selection", "preprocessing", "io", "datasets", "_models"]:
    importlib.import_module(f"sklearn_rdm.{module}")
    print(module, *{"torch", "torchvision", "skorch"} & set(sys.modules))
from sklearn_rdm import FixedRSARegressor, ImagePairs, RDMDisplay
print("torch" in sys.modules)
from sklearn_rdm import SiameseRDMRegressor
print("torch" in sys.modules)
"""
    assert run(code).splitlines() == [
        *["metrics", "model_selection", "preprocessing", "io", "datasets", "_models"],
        *["False", "True"],
    ]


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
