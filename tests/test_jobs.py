"""The table of ten jobs: what is counted, and that every job is there."""

import importlib.util
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def jobs():
    if not (DOCS / "jobs.py").exists():
        pytest.skip("an unpacked copy has no docs")
    spec = importlib.util.spec_from_file_location("jobs", DOCS / "jobs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("jobs", None)
    return module


def test_lines_with_code_are_counted(jobs):
    imports = "# a comment\nimport os\nfrom a import (\n    b,\n)\n\n"
    text = imports + 'x = f(\n    1,  # one\n\n    2,\n)\n"""a\nb"""\n'
    assert jobs.count_lines(text) == 6  # four of the call and two of the string


def test_cells_are_found_by_their_first_line(jobs):
    text = "# %%\n# Data\na = 1\n# %%\n# Job\nb = 2\n# %%\n# More\nc = 3\n# %%\n# End\nd = 4\n"
    assert jobs.cells(text, "Job", "End") == "# Job\nb = 2\n# More\nc = 3\n"
    assert jobs.cells(text, "End", "") == "# End\nd = 4\n"


def test_each_of_the_ten_jobs_takes_no_more_lines_than_before(jobs):
    counted = jobs.count_jobs(DOCS)
    assert len(counted) == 10
    assert [job for job, _, now, before in counted if not 0 < now <= before] == []


def test_the_table_names_every_example(jobs):
    table = jobs.jobs_table(DOCS)
    for _, example, _, _ in jobs.JOBS:
        assert f"sphx_glr_auto_examples_{example}.py" in table
