"""All public names of the package."""

import importlib
import pkgutil

import sklearn_rdm

MODULES = ["sklearn_rdm"] + [
    info.name for info in pkgutil.walk_packages(sklearn_rdm.__path__, "sklearn_rdm.")
]


PUBLIC = [name for name in MODULES if not any(part[0] == "_" for part in name.split("."))]


# The default criterion is also at the front door.
AT_TWO_PATHS = {"sklearn_rdm.CorrelationLoss"}


def public_paths():
    """Where each public name is imported from."""
    paths = [f"{m}.{name}" for m in PUBLIC for name in importlib.import_module(m).__all__]
    return [path for path in paths if path not in AT_TWO_PATHS and path not in MODULES]


def resolve(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
