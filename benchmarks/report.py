"""What every benchmark shares: its smallest size, and how it ends up in a file.

The folders of scripts hand it on as ``_report``, which puts this folder on the path.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "docs" / "results"
PACKAGES = ("numpy", "scipy", "scikit-learn", "skorch", "torch", "torchvision")


def is_fast(description: str | None) -> bool:
    """Whether a script was asked for its smallest size, by ``--fast``, the one option it has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--fast", action="store_true", help="smallest size; writes no report")
    return parser.parse_args().fast


def write_report(
    script: str,
    title: str,
    text: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    part: str | None = None,
) -> None:
    """Write ``docs/results/<script>.md``, read by the documentation, and the same as JSON.

    Further tables of one script are parts: ``<script>_<part>.md``.
    """
    name = script if part is None else f"{script}_{part}"
    RESULTS.mkdir(exist_ok=True)
    provenance = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {platform.processor() or platform.system()}",
        "versions": {package: version(package) for package in PACKAGES},
    }
    table = [columns, ["---"] * len(columns), *rows]
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in table]
    folder = Path(sys.argv[0]).resolve().parent.name
    versions = ", ".join(f"{k} {v}" for k, v in provenance["versions"].items())
    command = f"`python benchmarks/{folder}/{script}.py`"
    note = f"Written on {provenance['date']} by {command} with {versions}."
    (RESULTS / f"{name}.md").write_text(
        f"## {title}\n\n{text.strip()}\n\n" + "\n".join(lines) + f"\n\n{note}\n"
    )
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    (RESULTS / f"{name}.json").write_text(
        json.dumps({**provenance, "rows": records}, indent=1, default=float) + "\n"
    )


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
