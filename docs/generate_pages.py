"""Write the pages of the documentation that are made from tables, into ``generated/``."""

from pathlib import Path

from api_table import API
from figures import draw_figures
from jobs import jobs_table
from packaging.requirements import Requirement
from promises import folded_records, promises_table

IN_THE_GUIDE = (
    "agrawal2019",
    "algonauts2019",
    "determinism",
    "disk",
    "fuzz",
    "inference_summary",
    "ingredients",
    "kill",
    "scaling",
    "soak",
    "store",
)
LONGEST_TABLE = 14  # lines; longer ones are folded
NO_RESULTS = "No results are recorded in this copy of the repository."


def write_pages(docs: Path, project: dict) -> None:
    generated = docs / "generated"
    generated.mkdir(exist_ok=True)
    _write(generated / "api.rst", api_page())
    _write(generated / "requirements.rst", requirements_table(project))
    _write(generated / "jobs.rst", jobs_table(docs))
    promised = [promises_table(docs / "results"), folded_records(docs / "results")]
    _write(generated / "promises.rst", "\n".join(promised))
    draw_figures(docs / "results", generated)
    results = [p for p in sorted((docs / "results").glob("*.md")) if p.stem not in IN_THE_GUIDE]
    _write(generated / "benchmarks.md", "\n".join(map(fold_long_table, results)) or NO_RESULTS)


def fold_long_table(path: Path) -> str:
    """The record of a benchmark; a table of many rows opens when it is clicked on."""
    before, bar, rest = path.read_text().partition("\n| ")
    table, gap, note = rest.partition("\n\n")
    if table.count("\n") <= LONGEST_TABLE:
        return before + bar + rest + ("" if gap else "\n")
    rows = table.count("\n") - 1
    return f"{before}\n````{{dropdown}} Table of {rows} rows\n{bar}{table}\n````\n\n{note}"


def api_page() -> str:
    lines = [".. _api:", "", "API reference", "=============", ""]
    for title, summary, names in API:
        lines += [title, "-" * len(title), "", summary, ""]
        for module in dict.fromkeys(name.rpartition(".")[0] for name in names):
            current = ".".join(["sklearn_rdm", module]).rstrip(".")
            inside = [n.rpartition(".")[2] for n in names if n.rpartition(".")[0] == module]
            lines += [f".. currentmodule:: {current}", ""]
            lines += [".. autosummary::", "   :toctree: .", "   :nosignatures:", ""]
            lines += [f"   {name}" for name in inside] + [""]
    return "\n".join(lines)


def requirements_table(project: dict) -> str:
    """Every requirement of users with its floor, and the extra that brings it in."""
    rows = [(r, "always") for r in project["dependencies"]]
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in ("dev", "docs", "test"):
            rows += [(r, f"extra ``{extra}``") for r in requirements]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += ["   * - project", "     - versions", "     - installed", "   * - Python"]
    lines += [f"     - {project['requires-python']}", "     - always"]
    for written, when in rows:
        requirement = Requirement(written)
        if requirement.name != project["name"]:
            specifiers = ", ".join(sorted(map(str, requirement.specifier), reverse=True))
            lines += [f"   * - {requirement.name}", f"     - {specifiers}", f"     - {when}"]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """Leave a file that is the same untouched: Sphinx rebuilds by modification time."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
