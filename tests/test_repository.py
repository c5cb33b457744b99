"""What holds for the whole repository: the promises of its texts, and what must not be in it."""

import doctest
import hashlib
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import sklearn_rdm

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"dev", "docs", "test"}
TEXT_SUFFIXES = {"", ".cff", ".css", ".md", ".py", ".rst", ".toml", ".txt", ".yaml", ".yml"}
# Written as patterns, so that this file does not name what it looks for
REGISTRIES = re.compile(
    r"pypi\.org|python[h]osted\.org|ana[c]onda\.(org|com)|download\.py[t]orch\.org|npm[j]s\.(org|com)"
    r"|--(extra-)?index[-]url|PIP_(EXTRA_)?INDEX[_]URL",
    re.IGNORECASE,
)
LARGEST_FILE = 500_000  # bytes: texts, code and figures, no data


def tracked_files():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: an installed or unpacked copy has no list of its files")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts():
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for path in tracked_files()
        if path.suffix in TEXT_SUFFIXES
    }


def outside_requirements():
    """Every requirement that is another project, as written in pyproject.toml."""
    written = [*PROJECT["dependencies"], *(r for extra in EXTRAS.values() for r in extra)]
    return sorted({r for r in written if Requirement(r).name != PROJECT["name"]})


def test_every_module_has_its_file_of_tests():
    package = ROOT / "sklearn_rdm"
    missing = []
    for module in package.rglob("_[a-z]*.py"):
        *folders, name = module.relative_to(package).with_suffix("").parts
        folder = ROOT.joinpath("tests", *(part.strip("_") for part in folders))
        if not (folder / f"test_{name.strip('_')}.py").exists():
            missing.append(str(module.relative_to(ROOT)))
    assert missing == []


@pytest.mark.parametrize("written", outside_requirements())
def test_requirements_have_a_floor_and_no_cap(written):
    operators = {specifier.operator for specifier in Requirement(written).specifier}
    assert ">=" in operators
    assert operators <= {">=", "!="}


def test_a_project_has_one_floor():
    floors = {}
    for written in outside_requirements():
        requirement = Requirement(written)
        floors.setdefault(requirement.name, set()).add(str(requirement.specifier))
    assert {name: floor for name, floor in floors.items() if len(floor) > 1} == {}


def test_excluded_versions_have_a_reason():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    excluding = [i for i, line in enumerate(lines) if "!=" in line and '"' in line]
    assert [lines[i] for i in excluding if "#" not in lines[i - 1] + lines[i]] == []


def test_installation_page_shows_the_floors_and_every_extra_for_users():
    page = (ROOT / "docs" / "install.rst").read_text()
    assert ".. include:: generated/requirements.rst" in page
    described = set(re.findall(r"^``([a-z0-9-]+)``$", page, re.MULTILINE))
    assert described == set(EXTRAS) - FOR_DEVELOPERS


def test_extras_that_messages_name_exist():
    named = {
        (file, extra)
        for file, text in texts().items()
        for pattern in (r"sklearn[-_]rdm\[([a-z0-9, -]+)\]", r"import_optional\(\S+, \"(.*?)\"\)")
        for group in re.findall(pattern, text)
        for extra in re.split(r", *", group)
    }
    assert named
    assert {(file, extra) for file, extra in named if extra not in EXTRAS} == set()


def test_extras_refer_to_extras():
    own = [Requirement(r) for extra in EXTRAS.values() for r in extra if "sklearn-rdm" in r]
    assert {name for r in own for name in r.extras} <= set(EXTRAS)


def test_readme_has_one_block_to_demonstrate_and_one_to_test():
    fences = re.findall(r"^```(.*)\n(?:.*\n)*?```$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [info for info in fences if info.split()[:1] == ["sh"]] == ["sh demo", "sh test"]


@pytest.mark.slow
def test_example_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert len(blocks) == 1
    names = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    assert "<html" in (tmp_path / "report.html").read_text()
    assert names["rdm"].shape == (10, 10)


def test_blocks_of_the_readme_are_one_line_each():
    blocks = re.findall(r"^```sh \w+\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert [block.count("\n") for block in blocks] == [1, 1]


def test_pictures_of_the_readme_exist():
    pictures = re.findall(r"!\[[^\]]+\]\((.+?)\)", (ROOT / "README.md").read_text())
    assert pictures
    assert [path for path in pictures if not (ROOT / path).is_file()] == []


def test_commands_of_the_readme_can_be_parsed():
    from sklearn_rdm._cli._arguments import parse

    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^(?:.*&& )?sklearn-rdm (.*)$", text, re.MULTILINE)
    assert len(commands) >= 5
    assert all(parse(command.split()).name for command in commands)


def test_ci_runs_the_block_of_the_readme():
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("an unpacked copy has no .ci")
    assert "^```sh test$" in script.read_text()


@pytest.mark.parametrize("name", ["audit", "release", "run", "versions"])
def test_scripts_of_ci_can_be_run(name):
    script = ROOT / ".ci" / name
    if not script.exists():
        pytest.skip("an unpacked copy has no .ci")
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_no_text_names_a_registry():
    assert {
        file: m.group() for file, text in texts().items() if (m := REGISTRIES.search(text))
    } == {}


def test_files_are_small_and_no_matlab_data():
    files = tracked_files()
    assert [p.name for p in files if p.stat().st_size > LARGEST_FILE] == []
    assert [p.name for p in files if p.suffix in {".h5", ".hdf5", ".mat", ".npy", ".npz"}] == []


@pytest.mark.data
def test_no_research_data_is_in_the_repository():
    home = os.environ.get("SKLEARN_RDM_DATA")
    if not home:
        pytest.skip("SKLEARN_RDM_DATA is not set: no research data to compare with")
    data = {_digest(path) for path in Path(home).rglob("*") if path.is_file()}
    assert data
    assert [str(path) for path in tracked_files() if _digest(path) in data] == []


def test_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE).group(1) == sklearn_rdm.__version__


def test_changelog_has_a_place_for_this_version():
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == (
        "Unreleased" if "dev" in sklearn_rdm.__version__ else sklearn_rdm.__version__
    )


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "user_guide").glob("*.rst")), ids=lambda p: p.stem
)
def test_examples_of_the_user_guide_run(page):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failures, _ = doctest.testfile(str(page), module_relative=False, optionflags=flags)
    assert failures == 0


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
