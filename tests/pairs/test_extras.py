"""Optional packages: imported where they are, and named with their extra where they are not."""

import json

import pytest

from sklearn_rdm._pairs._extras import import_optional


def test_a_package_that_is_there_is_imported():
    assert import_optional("json", "plot") is json


def test_the_error_names_package_and_extra():
    with pytest.raises(
        ImportError, match=r"needs not_installed: pip install 'sklearn-rdm\[plot\]'"
    ):
        import_optional("not_installed.part", "plot")
