"""What a bug report needs to know about the machine."""

from __future__ import annotations

import platform

import sklearn_rdm
from sklearn_rdm._pairs._extras import versions_of

__all__ = ["installed_versions", "show_versions"]

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "joblib",
    "torch",
    "torchvision",
    "skorch",
    "timm",
    "transformers",
    "safetensors",
    "h5py",
    "pandas",
    "rsatoolbox",
    "matplotlib",
)


def show_versions() -> None:
    """Print the versions of Python, of this package and of the packages that it uses.

    Paste the output into a bug report.

    Examples
    --------
    >>> import sklearn_rdm
    >>> sklearn_rdm.show_versions()
    python: ...
    """
    for name, version in installed_versions().items():
        print(f"{name}: {version}")  # noqa: T201


def installed_versions() -> dict[str, str]:
    """Version, or "not installed", of each package."""
    ours = {
        "python": f"{platform.python_version()} on {platform.platform()}",
        "sklearn_rdm": sklearn_rdm.__version__,
    }
    return ours | dict.fromkeys(PACKAGES, "not installed") | versions_of(PACKAGES)
