"""Files of MATLAB v4 to v7, checked before scipy reads them.

scipy's compiled code trusts the types and sizes that such a file states: a damaged one ends the
process, or loops for ever. Here every element is looked at first.

The format is described in MathWorks' "MAT-File Format".
"""

from __future__ import annotations

import math
import struct
import zlib

from sklearn_rdm.io._budget import Budget

__all__ = ["checked_mat"]

HEADER_SIZE, TAG_SIZE = 128, 8
MATRIX, COMPRESSED = 14, 15  # types of elements
INTEGERS, TEXTS = (5, 6), (1, 16)
NUMERIC = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13)
SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17  # classes of matrices
NUMBERS = range(6, 16)
LEFT_OUT = (SPARSE, FUNCTION, OPAQUE)
COMPLEX = 0x800
DEEPEST, MOST_DIMENSIONS = 50, 32
V4_HEADER_SIZE = 20
V4_SIZES = (8, 4, 4, 2, 2, 1)  # bytes of one value of each of its types


def checked_mat(content: bytes, budget: Budget) -> bytes:
    """Return a file's content, uncompressed, if it is as MATLAB v4 to v7 would write it.

    Sparse arrays, function handles and objects of MATLAB's classes are left out.

    Raises
    ------
    ValueError
        If a type or a size is impossible, or the content takes more memory than it may.
    """
    if len(content) < V4_HEADER_SIZE:
        raise ValueError(f"it has only {len(content)} bytes")
    if 0 in content[:4]:
        _check_v4(content)
        return content
    if len(content) < HEADER_SIZE:
        raise ValueError(f"it has only {len(content)} bytes, less than its header")
    order = "<" if content[126:128] == b"IM" else ">"
    if order == ">" and content[126:128] != b"MI":
        raise ValueError("its header does not say in which order bytes are")
    variables = _variables(content, order, budget)
    return b"".join([content[:HEADER_SIZE], *variables])


def _variables(content: bytes, order: str, budget: Budget) -> list[bytes]:
    """Tags and content of the variables, uncompressed and checked."""
    checked: list[bytes] = []
    place = HEADER_SIZE
    while place < len(content):
        kind, size = _tag(content, place, order)
        element = memoryview(content)[place + TAG_SIZE : place + TAG_SIZE + size]
        if size == 0 or len(element) < size:
            raise ValueError(f"it ends before its variable {len(checked) + 1} does")
        place += TAG_SIZE + size
        if kind == COMPRESSED:
            kind, element = _uncompressed(element, order, budget)
        if kind != MATRIX:
            raise ValueError(f"its variable {len(checked) + 1} is of the unknown type {kind}")
        if _Variable(element, order, budget).check() not in LEFT_OUT:
            checked += [struct.pack(f"{order}II", MATRIX, len(element)), bytes(element)]
    return checked


def _uncompressed(element: memoryview, order: str, budget: Budget) -> tuple[int, memoryview]:
    """Type and content of a compressed element, of at most the size that memory may have."""
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(element, budget.left + TAG_SIZE)
    if not unpacker.eof:
        budget.spend(len(unpacked), "a compressed variable", itemsize=1)
        raise ValueError("a compressed variable is not whole")
    kind, size = _tag(unpacked, 0, order)
    if size != len(unpacked) - TAG_SIZE:
        raise ValueError(f"a variable of {len(unpacked) - TAG_SIZE} bytes states {size}")
    return kind, memoryview(unpacked)[TAG_SIZE:]


def _tag(content: bytes | memoryview, place: int, order: str) -> tuple[int, int]:
    if place + TAG_SIZE > len(content):
        raise ValueError("it ends within the tag of an element")
    kind, size = struct.unpack_from(f"{order}II", content, place)
    return kind, size


class _Variable:
    """The elements of one variable, gone through in the order in which scipy reads them."""

    def __init__(self, content: memoryview, order: str, budget: Budget) -> None:
        self.content, self.order, self.budget = content, order, budget
        self.place, self.name = 0, ""

    def check(self, depth: int = 0) -> int:
        """Check a matrix and all inside it; its class."""
        if depth > DEEPEST:
            raise ValueError(f"variable {self.name!r} is nested more than {DEEPEST} deep")
        (flags, _) = struct.unpack(f"{self.order}II", self._element((6,), exact=8))
        kind = flags & 0xFF
        if kind == OPAQUE:
            self._opaque(depth)
            return kind
        shape, name = self._integers(), bytes(self._element(TEXTS))
        self.name = self.name or name.decode("latin1")
        if len(shape) > MOST_DIMENSIONS or min(shape, default=-1) < 0:
            raise ValueError(f"variable {self.name!r} has the impossible shape {shape}")
        self._content(kind, math.prod(shape), 2 if flags & COMPLEX else 1, depth)
        return kind

    def _content(self, kind: int, n_values: int, n_parts: int, depth: int) -> None:
        if kind in NUMBERS:
            self.budget.spend(n_values, f"variable {self.name!r}")
            for _ in range(n_parts):
                self._numbers(n_values)
        elif kind == CHAR:
            self.budget.spend(n_values, f"variable {self.name!r}")
            self._element((*INTEGERS, 1, 2, 3, 4, 16, 17, 18))
        elif kind == SPARSE:
            for _ in range(2 + n_parts):
                self._numbers(None)
        elif kind == FUNCTION:
            self._nested(depth)
        else:
            self._container(kind, n_values, depth)

    def _container(self, kind: int, n_cells: int, depth: int) -> None:
        if kind == OBJECT:
            self._element(TEXTS)
        if kind in (STRUCT, OBJECT):
            self.budget.spend(n_cells, f"variable {self.name!r}")
            n_cells *= self._n_fields()
        elif kind != CELL:
            raise ValueError(f"variable {self.name!r} is of the unknown class {kind}")
        self.budget.spend(n_cells, f"variable {self.name!r}")
        if n_cells * TAG_SIZE > len(self.content) - self.place:
            raise ValueError(f"variable {self.name!r} states {n_cells} cells, more than it holds")
        for _ in range(n_cells):
            self._nested(depth)

    def _n_fields(self) -> int:
        length, names = sum(self._integers()[:1]), self._element(TEXTS)
        if length <= 0 or len(names) % length:
            raise ValueError(f"variable {self.name!r} has damaged names of fields")
        return len(names) // length

    def _opaque(self, depth: int) -> None:
        for _ in range(3):
            self._element(TEXTS)
        self._nested(depth)

    def _nested(self, depth: int) -> None:
        """A matrix in a cell or field; one of no bytes is empty."""
        kind, size = _tag(self.content, self.place, self.order)
        self.place += TAG_SIZE
        end = self.place + size
        if kind != MATRIX or end > len(self.content):
            raise ValueError(f"a cell of variable {self.name!r} is no whole matrix")
        if size:
            self.check(depth + 1)
        if self.place != end:
            raise ValueError(f"a cell of variable {self.name!r} is not as long as it states")

    def _integers(self) -> list[int]:
        element = self._element(INTEGERS)
        if len(element) % 4:
            raise ValueError(f"variable {self.name!r} has a damaged shape")
        return list(struct.unpack(f"{self.order}{len(element) // 4}i", element))

    def _numbers(self, n_values: int | None) -> None:
        element, size = self._element_and_size(NUMERIC)
        if n_values is not None and len(element) != n_values * size:
            raise ValueError(
                f"variable {self.name!r} states {n_values} values, but holds {len(element)} bytes"
            )

    def _element(self, kinds: tuple[int, ...], exact: int | None = None) -> memoryview:
        element, _ = self._element_and_size(kinds)
        if exact is not None and len(element) != exact:
            raise ValueError(f"an element has {len(element)} bytes instead of {exact}")
        return element

    def _element_and_size(self, kinds: tuple[int, ...]) -> tuple[memoryview, int]:
        """Content of the next element, which must be of these types; bytes of one value."""
        kind, n_bytes = _tag(self.content, self.place, self.order)
        start = self.place + TAG_SIZE
        after = start + n_bytes + -n_bytes % TAG_SIZE
        if kind >> 16:  # up to four bytes in the tag itself
            kind, n_bytes = kind & 0xFFFF, kind >> 16
            after, start = start, self.place + 4
        if kind not in kinds or start + n_bytes > min(after, len(self.content)):
            raise ValueError(
                f"variable {self.name!r} has an element of type {kind} and {n_bytes} bytes at byte "
                f"{self.place} of {len(self.content)}, which cannot be"
            )
        self.place = min(after, len(self.content))
        return self.content[start : start + n_bytes], SIZES[kind]


def _check_v4(content: bytes) -> None:
    """Check the headers of a file of MATLAB v4, whose sizes lead from one to the next."""
    for order in "<>":
        if 0 <= struct.unpack_from(f"{order}i", content)[0] <= 5000:
            break
    place = 0
    while place < len(content):
        header = content[place : place + V4_HEADER_SIZE]
        if len(header) < V4_HEADER_SIZE:
            raise ValueError("it ends within the header of a variable")
        kind, rows, columns, is_complex, name = struct.unpack(f"{order}5i", header)
        if not (0 <= kind < 5000 and min(rows, columns) >= 0 and name > 0):
            raise ValueError("the header of a variable is damaged")
        size = (1 + (is_complex == 1)) * rows * columns * V4_SIZES[kind // 10 % 10 % 6]
        place += V4_HEADER_SIZE + name + size
    if place != len(content):
        raise ValueError("it ends before its last variable does")
