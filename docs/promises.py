"""What is promised, and what the scripts of ``benchmarks/reliability`` measured of it.

Each row has the promise, its test, its script, and a function of the recorded rows of the script
that gives the number of faults, how many were met as promised, and what is counted.
"""

import json
from pathlib import Path


def met(rows, *columns, of="faults", fault=None):
    """Of the faults of these kinds, those for which every column says so for all."""
    chosen = [row for row in rows if fault is None or row["fault"] in fault]
    right = [min(int(row[c]) for c in columns if row[c] != "-") for row in chosen]
    return sum(int(row[of]) for row in chosen), sum(right)


def full_disk(rows):
    columns = ("one error that names the file", "old file whole", "nothing left beside it")
    return *met(rows, *columns, fault=("disk full", "write fails")), "faults"


def killed_writers(rows):
    return *met(rows, "old file whole", "nothing left beside it", fault=("killed",)), "kills"


def cut_maps(rows):
    return *met(rows, "one error that names the file", fault=("memory map cut short",)), "uses"


def damaged_files(rows):
    files = sum(row["files"] for row in rows)
    return files, sum(row["read"] + row["one error that names the file"] for row in rows), "files"


def stores(rows):
    return *met(rows, "right numbers", "right again without a word", of="trials"), "damages"


def kills(rows):
    same = [int(row["with the bits of an undisturbed fit"].split()[0]) for row in rows]
    return sum(row["kills"] for row in rows), sum(same), "kills"


def same_weights(rows):
    return len(rows), sum(row["weights"] == "bits" for row in rows), "ways"


def little_memory(rows):
    return f"at most {max(row['most memory, MB'] for row in rows)} MB"


def growth(rows):
    (row,) = rows
    grown = row["memory at the end, MB"] - row["memory after a fifth, MB"]
    return f"{grown:.1f} MB in {row['fits'] - row['fits'] // 5} fits"


PROMISES = [
    (
        "A full disk is an ``OSError`` that names the file. The old file stays whole.",
        "pairs/test_whole_files.py",
        "disk",
        full_disk,
    ),
    (
        "What a killed writer left is removed by the next one.",
        "pairs/test_whole_files.py",
        "disk",
        killed_writers,
    ),
    (
        "A memory map that is cut short is an error, and no crash.",
        "pairs/test_whole_files.py",
        "disk",
        cut_maps,
    ),
    (
        "A damaged file is read, or gives one error that names it.",
        "io/test_mat5.py",
        "fuzz",
        damaged_files,
    ),
    ("A small file takes little memory.", "io/test_budget.py", "fuzz", little_memory),
    (
        "A damaged store of activations gives the right numbers, and is mended.",
        "network/test_store.py",
        "store",
        stores,
    ),
    (
        "A killed fit, run again, ends with the same weights, bit by bit.",
        "network/test_checkpoint.py",
        "kill",
        kills,
    ),
    (
        "On a CPU, the same ``random_state`` gives the same weights, bit by bit.",
        "network/test_shards.py",
        "determinism",
        same_weights,
    ),
    ("Many fits leave memory, files and threads as they were.", "", "soak", growth),
]


def measured(results: Path) -> list:
    """The promises with what was measured: a sentence, or faults, those met, and their name."""
    rows = {
        script: json.loads((results / f"{script}.json").read_text())["rows"]
        for script in {script for _, _, script, _ in PROMISES}
    }
    return [(promise, test, script, f(rows[script])) for promise, test, script, f in PROMISES]


def promises_table(results: Path) -> str:
    lines = [".. csv-table::", "   :header-rows: 1", "   :widths: 36 31 19 14", "   :delim: |", ""]
    lines += ["   promise|test (``tests/``)|script|measured"]
    for promise, test, script, found in measured(results):
        said = found if isinstance(found, str) else f"{found[1]:,} of {found[0]:,} {found[2]}"
        lines += [f"   {promise}|{f'``{test}``' if test else 'the script'}|``{script}.py``|{said}"]
    return "\n".join(lines) + "\n"


def folded_records(results: Path) -> str:
    """What each script recorded, under its title, to be opened by a click."""
    lines = []
    for script in dict.fromkeys(script for _, _, script, _ in PROMISES):
        title = (results / f"{script}.md").read_text().splitlines()[0].lstrip("# ")
        lines += [f".. dropdown:: {title}", "", f"   .. include:: /results/{script}.md"]
        lines += ["      :parser: myst_parser.sphinx_", "      :start-line: 2", ""]
    return "\n".join(lines)
