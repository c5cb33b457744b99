"""Damage files of every kind that is read, and count what the readers make of them.

Each damaged file must be read, or give one error that names it. The readers run in a process of
their own, with a limit of memory: its end by a signal, or a silence, is counted and named with the
number of the file, from which it can be made again.

    python benchmarks/reliability/fuzz.py              # an hour over all readers
    python benchmarks/reliability/fuzz.py --minutes 5
    python benchmarks/reliability/fuzz.py --fast       # seconds, writes nothing
    python benchmarks/reliability/fuzz.py --only 1234  # one file again, with its traceback
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _readers import READERS, damaged, outcome

SILENCE = 60  # seconds after which a reader hangs
MOST_MEMORY = 1500  # MB above what the process has before it reads
FAST_FILES = 20 * len(READERS)
COLUMNS = ("reader", "files", "read", "one error that names the file", "other errors",
           "ended or hung", "most memory, MB")  # fmt: skip
TEXT = """
Valid files, damaged at random: bits, bytes, sizes, cut off, parts moved, doubled or removed, also
inside compressed and checksummed parts, which are packed again. {minutes:.0f} minutes in all.
*Memory*: peak above what the process had before it read the file; the largest file has {size:.0f}
kB. A store of activations must give the right numbers, whatever its files hold.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--only", type=int, help="number of one file, read here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        run_child(options.first)
    elif options.only is not None:
        show(options.only)
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    until = time.monotonic() + 60 * (1 if options.fast else options.minutes)
    last = options.first + FAST_FILES if options.fast else None
    found: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for result in results(options.first, last, until):
        found[result["reader"]].append(result)
    rows = [as_row(reader, found[reader]) for reader in READERS]
    for row in rows:
        print(*row, sep="\t")
    faults = collections.Counter(
        (r["reader"], r["kind"], r["what"]) for all_ in found.values() for r in all_ if is_fault(r)
    )
    for fault, count in faults.most_common(40):
        number = next(r["number"] for r in found[fault[0]] if r["what"] == fault[2])
        print(f"{count} x file {number}:", *fault)
    assert not faults, f"{sum(faults.values())} files gave another result than one clear error"
    assert all(found[reader] for reader in READERS), "a reader was not tried"
    assert any(row[3] for row in rows), "no damaged file was noticed: the readers were not called"
    assert max(row[-1] for row in rows) < MOST_MEMORY
    if not options.fast:
        from _report import write_report

        size = max(r["size"] for all_ in found.values() for r in all_) / 1e3
        text = TEXT.format(minutes=options.minutes, size=size)
        write_report("fuzz", "Damaged files", text, COLUMNS, rows)


def is_fault(result: dict[str, Any]) -> bool:
    return result["kind"] not in ("read", "named")


def as_row(reader: str, found: list[dict[str, Any]]) -> list[Any]:
    kinds = collections.Counter(result["kind"] for result in found)
    ended = kinds["ended"] + kinds["hung"]
    other = len(found) - kinds["read"] - kinds["named"] - ended
    memory = max((result["memory"] for result in found), default=0)
    return [reader, len(found), kinds["read"], kinds["named"], other, ended, round(memory)]


def results(first: int, last: int | None, until: float) -> Iterator[dict[str, Any]]:
    """Results of one file after the other; a new process where one has ended."""
    number = first
    while time.monotonic() < until and (last is None or number < last):
        command = [sys.executable, __file__, "--child", "--first", str(number)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in lines(child, until):
            result = json.loads(line)
            number = result["number"] + 1
            if result["kind"] != "begun":
                yield result
            if last is not None and number >= last and result["kind"] != "begun":
                break
        else:
            if time.monotonic() < until and result["kind"] == "begun":
                hung = child.poll() is None
                what = "hung" if hung else f"ended with code {child.wait()}"
                yield {**result, "kind": "hung" if hung else "ended", "what": what, "memory": 0}
        child.kill()
        child.wait()


def lines(child: subprocess.Popen, until: float) -> Iterator[bytes]:
    """Lines that a process writes, until it ends, is silent for long, or time is over."""
    assert child.stdout is not None
    buffer = b""
    while time.monotonic() < until:
        ready, _, _ = select.select([child.stdout], [], [], SILENCE)
        block = os.read(child.stdout.fileno(), 1 << 16) if ready else b""
        if not block:
            return
        *whole, buffer = (buffer + block).split(b"\n")
        yield from whole


def run_child(first: int) -> None:
    limit_memory()
    with tempfile.TemporaryDirectory() as folder:
        number = first
        while True:
            reader, path = damaged(number, Path(folder))
            about = {"number": number, "reader": reader, "size": path.stat().st_size, "what": ""}
            print(json.dumps({**about, "kind": "begun"}), flush=True)
            before = reset_peak()
            kind, what = outcome(reader, path)
            memory = max(peak() - before, 0)
            result = {**about, "kind": kind, "what": what, "memory": memory}
            print(json.dumps(result), flush=True)
            number += 1


def show(number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reader, path = damaged(number, Path(folder))
        print(reader, path.read_bytes()[:600])
        print(READERS[reader].read(path))


def limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = Path("/proc/self/statm")
    if used.exists():
        size = int(used.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 30),) * 2)


def reset_peak() -> float:
    """Resident memory now, MB, from which the peak is counted anew where Linux can do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak()
    return _status("VmRSS")


def peak() -> float:
    """Highest resident memory, MB."""
    import resource

    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


if __name__ == "__main__":
    main()
