"""One page of a fitted model: whole, escaped, and readable by those who see no figures."""

import re
import shutil
import subprocess

import pytest

from sklearn_rdm import report
from tests.report.reader import EVIL, Page

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")


def test_names_are_escaped_and_nothing_is_loaded(whole_page):
    assert "<script" not in whole_page.html
    parsed = Page(whole_page.html)
    assert EVIL in parsed.text
    sources = [attrs["src"] for attrs in parsed.all("img")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert parsed.all("link") == parsed.all("script") == []
    assert "url(" not in whole_page.html
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]*", "", whole_page.html)


def test_is_read_without_eyes_or_mouse(whole_page):
    parsed = Page(whole_page.html)
    assert parsed.all("html") == [{"lang": "en"}]
    assert len(parsed.all("h1")) == len(parsed.all("main")) == 1
    assert all("alt" in attrs for attrs in parsed.all("img"))
    assert all(
        attrs["alt"]
        for (tag, attrs), before in zip(parsed.elements[1:], parsed.elements, strict=False)
        if tag == "img" and before[0] == "figure"
    )
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert all("scope" in attrs for attrs in parsed.all("th"))
    targets = {attrs["id"] for _, attrs in parsed.elements if "id" in attrs}
    assert {attrs["href"].removeprefix("#") for attrs in parsed.all("a")} <= targets
    scrolled = [a for a in parsed.all("div") if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in scrolled)


def test_saved_page_and_notebook_hold_the_same(whole_page, tmp_path):
    whole_page.save_as_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == whole_page.html
    (frame,) = Page(whole_page._repr_html_()).all("iframe")
    assert frame["srcdoc"] == whole_page.html


def test_wrong_number_of_names_raises(search, held_out):
    with pytest.raises(ValueError, match="must name each of the 14 images, got 2"):
        report(search, held_out[1], held_out[3], image_names=["a", "b"])


@pytest.mark.parametrize("width", [1280, 390])
def test_fits_the_screen(whole_page, tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium to open the page with")
    measure = "<script>document.title = document.documentElement.scrollWidth</script></body>"
    framed = tmp_path / "frame.html"
    inner = tmp_path / "page.html"
    inner.write_text(whole_page.html.replace("</body>", measure), encoding="utf-8")
    # headless Chromium makes no window below 500 pixels: a frame has the width
    framed.write_text(
        f'<iframe id="f" src="page.html" width="{width}" height="900" style="border:0"></iframe>'
        "<script>f.onload = () => document.body.dataset.width = f.contentDocument.title</script>"
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [browser, *options, "--dump-dom", framed.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = re.search(r'data-width="(\d+)"', done.stdout)
    assert found
    assert int(found.group(1)) <= width
