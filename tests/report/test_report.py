"""One page of a fitted model: whole, escaped, and readable by those who see no figures."""

import pickle
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerEpochSearchCV, report
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, image_train_test_split
from tests.networks import make_data, tiny_net

EVIL = '<script>alert("1")</script>'
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Elements of a page, which must be nested as they are closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def held_out():
    data = make_data(14, 48)
    groups = np.where(np.arange(14) % 2, EVIL, "face")
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms, image_groups=groups)
    return image_train_test_split(pairs, dissim, test_size=6, random_state=0)


@pytest.fixture(scope="module")
def search(held_out):
    train, _, y, _ = held_out
    options = {"cv": ImageKFold(2), "scoring": rdm_spearman_scorer}
    return GridSearchCV(tiny_net(max_epochs=2), {"lr": [0.01, 0.1]}, **options).fit(train, y)


@pytest.fixture(scope="module")
def whole_page(search, held_out):
    _, test, _, y = held_out
    names = [f"{EVIL} {i}" for i in range(14)]
    return report(search, test, y, image_names=names, n_draws=50, title=EVIL)


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


def test_scores_and_choices_are_those_of_the_package(whole_page, search, held_out):
    _, test, _, y = held_out
    text = Page(whole_page.html).text
    score = rdm_spearman_score(y, search.predict(test))
    lower, upper = noise_ceiling(y)
    assert f"{score:.3f}" in text
    assert f"Noise ceiling: {lower:.3f} to {upper:.3f}" in text
    assert f"lr = {search.best_params_['lr']}" in text
    assert f"{search.best_score_:.3f}" in text
    assert f"{score:.3f}" in repr(whole_page)


def test_tells_held_out_images_from_trained_ones(whole_page, search, held_out):
    train, test, y_train, y = held_out
    assert "none of these was seen in training" in whole_page.html
    assert "WARNING: 8 of them are scored here" in report(search, train, y_train, n_draws=20).html
    loaded = pickle.loads(pickle.dumps(search))
    assert "does not say which images" in report(loaded, test, y, n_draws=20).html
    told = report(loaded, test, y, n_draws=20, train=train).html
    assert "none of these was seen in training" in told


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


def test_other_models_are_reported(held_out):
    """Of one subject, of features instead of photographs, of a search over layers and epochs."""
    train, test, y_train, y = held_out
    search = LayerEpochSearchCV(tiny_net(max_epochs=2), ["relu1", "relu3"], cv=2)
    page = report(search.fit(train, y_train), test, y, n_draws=20)
    assert "by layer and epoch" in page.html
    features = ImagePairs(np.random.default_rng(0).random((7, 4)))
    model = make_pipeline(FixedRSARegressor()).fit(features)
    page = report(model, features, np.arange(21.0), n_draws=20)
    assert "No noise ceiling" in page.html
    assert "Training" not in Page(page.html).text


def test_baselines_stand_beside_the_model(search, held_out):
    train, test, _, y = held_out
    other = tiny_net(max_epochs=1).fit(train, held_out[2])
    page = report(search, test, y, baselines={"other": other}, n_draws=20)
    assert f"{rdm_spearman_score(y, other.predict(test)):.3f}" in Page(page.html).text


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
