"""The ten jobs of a new user: the example that does each, and its lines of code, before and now.

A line counts if it holds code that is no import; the cells of an example that make its data, and
those that only draw what is not asked for, do not count. ``before/README.md`` says what *before*
is.
"""

import ast
import io
import tokenize
from pathlib import Path

# What is done; the example; the first line of the cells that do it, and of those that follow
JOBS = [
    (
        "a folder of images and a table of five raters",
        "plot_01_folder_and_ratings",
        "Read them",
        "",
    ),
    (
        "an rsatoolbox file in another order",
        "plot_02_file_in_another_order",
        "Read it twice",
        "The same network",
    ),
    (
        "all layers, with ceiling, chance and figure",
        "plot_03_all_layers",
        "Score all layers",
        "The table",
    ),
    ("a search with the time left", "plot_04_search", "Search", "What was tried"),
    (
        "a predicted matrix for MATLAB and rsatoolbox",
        "plot_05_export_matrices",
        "Write",
        "Read back",
    ),
    (
        "save, reload, plain weights",
        "plot_06_save_and_reload",
        "The whole estimator",
        "From photographs",
    ),
    (
        "a network of your own, and timm's",
        "plot_07_own_networks",
        "Fit them",
        "Scores of held-out",
    ),
    ("is tuned better than fixed?", "plot_08_is_tuning_better", "The difference", ""),
    ("learning curves, early stopping", "plot_09_learning_curves", "The curves", "The validation"),
    ("killed, and run again", "plot_10_stop_and_resume", "A script that trains", "The process"),
]
# The job is in the text of this variable: the script that is killed
SCRIPTS = {"plot_10_stop_and_resume": "script"}


def jobs_table(docs: Path) -> str:
    lines = [".. csv-table::", "   :header-rows: 1", "   :widths: 5 45 38 12", "   :delim: |", ""]
    lines += ["   |what you want to do|example|lines (before)"]
    for number, (job, example, now, before) in enumerate(count_jobs(docs), start=1):
        link = f":ref:`sphx_glr_auto_examples_{example}.py`"
        lines += [f"   {number}|{job}|{link}|{now} ({before})"]
    return "\n".join(lines) + "\n"


def count_jobs(docs: Path) -> list:
    """For each job its name, example, and lines of code now and before."""
    counted = []
    for number, (job, example, start, stop) in enumerate(JOBS, start=1):
        text = cells((docs / "examples" / f"{example}.py").read_text(), start, stop)
        if example in SCRIPTS:
            text = text_of(text, SCRIPTS[example])
        before = (docs / "before" / f"job_{number:02}.py").read_text()
        counted.append((job, example, count_lines(text), count_lines(before)))
    return counted


def cells(text: str, start: str, stop: str) -> str:
    """The cells of an example from the one that begins with a text to the one that does so."""
    parts = text.split("# %%\n")
    first = _find(parts, start)
    return "".join(parts[first : _find(parts, stop) if stop else None])


def _find(parts: list, beginning: str) -> int:
    (found,) = [i for i, part in enumerate(parts) if part.startswith(f"# {beginning}")]
    return found


def text_of(text: str, name: str) -> str:
    """The string that a name is given."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return node.value.value
    raise ValueError(f"no string is called {name}")


def count_lines(text: str) -> int:
    """Lines with code, imports left out."""
    imports = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {
        line
        for token in tokens
        if token.type not in nothing | {tokenize.ENDMARKER}
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - imports)
