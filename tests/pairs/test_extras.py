"""Optional packages: imported where they are, and named with their extra where they are not."""

import importlib.metadata
import json

import pytest

from sklearn_rdm._pairs._extras import import_optional, versions_of


def test_a_package_that_is_there_is_imported():
    assert import_optional("json", "plot") is json


def test_the_error_names_package_and_extra():
    with pytest.raises(
        ImportError, match=r"needs not_installed: pip install 'sklearn-rdm\[plot\]'"
    ):
        import_optional("not_installed.part", "plot")


def test_packages_that_are_not_installed_have_no_version():
    assert versions_of(["numpy", "no-such-package"]) == {
        "numpy": importlib.metadata.version("numpy")
    }
