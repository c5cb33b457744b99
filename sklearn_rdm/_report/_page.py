"""The pieces of a page of HTML that needs no other file; every text in it is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from PIL import Image

__all__ = [
    "Markup",
    "Section",
    "beside",
    "figure",
    "listing",
    "page",
    "paragraph",
    "table",
    "thumbnail",
]

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: #1b1b1b; background: #fff;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin-top: 2rem; }
a { color: #0b5394; } :focus-visible { outline: 3px solid #d55e00; outline-offset: 2px; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; list-style: none; }
figure { margin: 1rem 0; } figure > img { max-width: 100%; height: auto; }
figcaption, caption { color: #444; text-align: left; padding: .25rem 0; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem .3rem 0; text-align: left;
  vertical-align: middle; border-bottom: 1px solid #ccc; overflow-wrap: normal; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.chosen { background: #e3f0fa; font-weight: bold; }
td img, th img { display: block; }
.row { display: flex; flex-wrap: wrap; gap: 0 1rem; } .row > figure { flex: 1 1 18rem; }
pre { white-space: pre-wrap; background: #f5f5f5; padding: .75rem; }
@media print { nav, .skip { display: none; } .scroll { overflow: visible; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""
CHOSEN = ' class="chosen"'


class Markup(str):
    """Text that is HTML already."""


@dataclass(frozen=True)
class Section:
    """A part of the page, with a link in its table of contents."""

    name: str
    title: str
    parts: Sequence[Markup]


def page(title: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    links = "".join(f'<li><a href="#{s.name}">{escape(s.title)}</a></li>' for s in sections)
    body = "".join(
        f'<section aria-labelledby="{s.name}"><h2 id="{s.name}">{escape(s.title)}</h2>'
        f"{''.join(s.parts)}</section>"
        for s in sections
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        '<a class="skip" href="#main">Skip to the content</a>'
        f"<header><h1>{escape(title)}</h1></header>"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>'
        f'<main id="main">{body}</main></body></html>'
    )


def paragraph(text: str) -> Markup:
    return Markup(f"<p>{_html(text)}</p>")


def listing(text: str) -> Markup:
    """Code, or a repr."""
    return Markup(f"<pre>{_html(text)}</pre>")


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[Any]], chosen: int | None = None
) -> Markup:
    """Rows of texts, numbers or markup; the first column names the row."""
    rows = list(rows)
    is_number = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    kinds = ['class="number"' if number else "" for number in is_number]
    head = "".join(
        f'<th scope="col" {k}>{_html(h)}</th>' for h, k in zip(header, kinds, strict=True)
    )
    body = "".join(
        f"<tr{CHOSEN if number == chosen else ''}>{_cells(row, kinds)}</tr>"
        for number, row in enumerate(rows)
    )
    return Markup(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{_html(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def figure(drawn: Any, alt: str, caption: str) -> Markup:
    """A figure of matplotlib, which is closed."""
    from matplotlib import pyplot

    file = io.BytesIO()
    drawn.savefig(file, format="png", dpi=130)
    pyplot.close(drawn)
    image = f'<img src="{_png(file.getvalue())}" alt="{escape(alt)}">'
    return Markup(f"<figure>{image}<figcaption>{_html(caption)}</figcaption></figure>")


def beside(figures: Sequence[Markup]) -> Markup:
    """Figures beside each other, or below each other on a narrow screen."""
    return Markup(f'<div class="row">{"".join(figures)}</div>')


def thumbnail(photograph: np.ndarray, name: str, size: int = 56) -> Markup:
    """A small picture of an image, as uint8 or float in 0..1."""
    pixels = photograph if photograph.dtype == np.uint8 else np.uint8(255 * photograph)
    small, file = Image.fromarray(pixels), io.BytesIO()
    small.thumbnail((size, size))
    small.save(file, format="png")
    source = _png(file.getvalue())
    return Markup(f'<img src="{source}" alt="{escape(name)}" width="{small.width}">')


def _cells(row: Sequence[Any], kinds: Sequence[str]) -> str:
    first, *others = (_html(cell) for cell in row)
    cells = "".join(f"<td {k}>{c}</td>" for c, k in zip(others, kinds[1:], strict=True))
    return f'<th scope="row" {kinds[0]}>{first}</th>{cells}'


def _html(value: Any) -> str:
    if isinstance(value, Markup):
        return value
    return escape(f"{value:.3f}" if isinstance(value, float | np.floating) else str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _png(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
