"""Whether read-outs, gradients and axes are the network's own, for networks of all families.

Each network has random weights and sees images of the smallest size that it takes. Layers at four
depths are read and compared with forward hooks on the untouched network; one training step is
compared with a plain twin, two branches of the untouched network; maps are pooled, and compared
with the means over those axes that change with the size of the images.

    python benchmarks/reliability/networks.py         # half an hour on one core
    python benchmarks/reliability/networks.py --fast  # a few networks, writes nothing
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _report import write_report

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.network import zoo

SECONDS = 400  # for one network
# 24 GB do not hold their copies and gradients, in double precision as well.
LEFT_OUT = ["vit_h_14", "timm/deepseek_vit_412m"]
FAST = ["alexnet", "recurrent areas", "timm/test_vit"]
COLUMNS = [
    "network",
    "pixels",
    "run by",
    "largest difference of a read-out",
    "largest difference of a gradient",
    "of it by rounding",
    "maps pooled right",
]
TEXT = """
Read-outs at four depths against forward hooks on the untouched network: the largest difference,
over the largest value of the layer. Gradients of one training step against those of a plain twin
network, two branches of the untouched one: the largest difference of a parameter, over its length;
*by rounding*: the same of the plain twin in single precision from itself in double precision.
Maps pooled over the right axes, of those whose axes a second image size tells; "unknown" are those
that the library refuses to pool until the user states their axes. "cut": torch.fx cuts it at a
layer, and what frozen layers make of an image is computed once. "hooks": it is run as it is. All
with random weights, at the smallest of {sizes} pixels that the network
takes. Left out, since 24 GB of memory do not hold their copies: {left_out}.

{summary}
"""


def networks() -> dict[str, zoo.Make]:
    of_transformers = {}
    if importlib.util.find_spec("transformers"):
        of_transformers = zoo.transformers_networks()
    else:
        print("those of transformers are left out: it is not installed")
    found = (
        zoo.recurrent_networks()
        | of_transformers
        | zoo.timm_networks()
        | zoo.torchvision_networks()
    )
    return {name: make for name, make in found.items() if name not in LEFT_OUT}


def examine(name: str, make: zoo.Make) -> list[Any]:
    """A row of the table; what went wrong stands in the place of the figures."""
    signal.alarm(SECONDS)
    try:
        found = zoo.examine(name, make)
    except Exception as error:
        return [
            name,
            "",
            f"{type(error).__name__}: {str(error)[:150]}".replace("|", "/"),
            *[""] * 4,
        ]
    finally:
        signal.alarm(0)
    unknown = f", {found.n_axes_unknown} unknown" if found.n_axes_unknown else ""
    return [
        name,
        found.size,
        found.way,
        f"{found.largest_difference:.1e}",
        f"{found.largest_gradient_difference:.1e}",
        f"{found.gradient_rounding:.1e}",
        f"{found.n_axes_right} of {found.n_axes_told}{unknown}",
    ]


def summarise(rows: list[list[Any]]) -> str:
    run = [row for row in rows if row[1] != ""]
    ways = [row[2] for row in run]
    right, told = (sum(int(re.findall(r"\d+", row[6])[i]) for row in run) for i in (0, 1))
    failed = f"; {len(rows) - len(run)} gave no result" if len(run) < len(rows) else ""
    return (
        f"{len(rows)} networks: {ways.count('cut')} are cut, {ways.count('hooks')} read by hooks"
        f"{failed}. Largest difference of a read-out {max(float(row[3]) for row in run):.1e}; "
        f"gradients differ by no more than 0.001, or 10 times what rounding does, in "
        f"{sum(map(same_gradients, run))} of {len(run)}; {right} of {told} maps are pooled over "
        "the right axes."
    )


def same_gradients(row: list[Any]) -> bool:
    return float(row[4]) <= 1e-3 or float(row[4]) <= 10 * float(row[5])


def check(rows: list[list[Any]]) -> None:
    """Fail if a network that gave a result is not its own."""
    for row in rows:
        if row[1] != "":
            right, told = re.findall(r"\d+", row[6])[:2]
            assert float(row[3]) <= 1e-5, row
            assert same_gradients(row), row
            assert right == told, row


def stop(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    fast = parser.parse_args().fast
    signal.signal(signal.SIGALRM, stop)
    torch.set_num_threads(1)
    rows = []
    for name, make in networks().items():
        if fast and name not in FAST:
            continue
        start = time.perf_counter()
        rows.append(examine(name, make))
        print(*rows[-1], f"{time.perf_counter() - start:.0f} s", sep="  ", flush=True)
    text = TEXT.format(
        sizes=", ".join(map(str, zoo.SIZES)),
        summary=summarise(rows),
        left_out=", ".join(LEFT_OUT),
    )
    if fast:
        print(text)
    else:
        write_report("networks", "Networks compared with themselves", text, COLUMNS, rows)
    check(rows)


if __name__ == "__main__":
    main()
