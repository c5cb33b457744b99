"""The pieces of a page: every text is escaped, numbers have three digits."""

import numpy as np
import pytest
from matplotlib import pyplot

from sklearn_rdm._report._page import Section, figure, listing, page, paragraph, table, thumbnail
from tests.report.reader import EVIL, Page


def test_every_text_is_escaped():
    drawn = pyplot.figure()
    parts = [
        paragraph(EVIL),
        listing(EVIL),
        table(EVIL, [EVIL, EVIL], [[EVIL, EVIL]]),
        figure(drawn, EVIL, EVIL),
        thumbnail(np.zeros((4, 4, 3), np.uint8), EVIL),
    ]
    html = page(EVIL, [Section("one", EVIL, parts)])
    assert "<script" not in html
    assert Page(html).text.count(EVIL) == 12  # also in the title, the heading and the contents
    assert not pyplot.fignum_exists(drawn.number)


def test_numbers_are_rounded_and_on_the_right():
    parsed = Page(table("Scores", ["model", "r"], [["a", 0.12345], ["b", np.float32(2)]], chosen=1))
    assert "0.123" in parsed.text
    assert "2.000" in parsed.text
    assert [cell["class"] for cell in parsed.all("td")] == ["number", "number"]
    assert [row.get("class") for row in parsed.all("tr")] == [None, None, "chosen"]


def test_a_table_without_rows_has_its_header():
    assert "model" in Page(table("Scores", ["model"], [])).text


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_thumbnails_are_small_and_keep_their_shape(dtype):
    (image,) = Page(thumbnail(np.ones((300, 100, 3), dtype), "a face")).all("img")
    assert image["alt"] == "a face"
    assert int(image["width"]) in (18, 19)
