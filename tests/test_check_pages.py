"""The command that opens the pages of the documentation, on pages that are wrong on purpose."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "docs" / "check_pages.py"
FAULTS = {
    "wide": ('<main><div style="width: 3000px">x</div></main>', "px wide in a window of"),
    "outside": (
        '<main style="overflow: auto"><h1>A</h1><p style="width: 3000px">x</p></main>',
        "sticks out of the window",
    ),
    "image": ('<img src="missing.png">', "missing image"),
    "code": ('<pre style="width: 50px; overflow: hidden">one long line of code</pre>', "cut off"),
    "script": ("<script>undefined_function()</script>", "script: undefined_function"),
    "network": ('<img src="http://localhost:9/x.png">', "network: http://localhost:9/x.png"),
    "contrast": ('<p style="color: #ccc; background: #fff">pale</p>', "contrast"),
    "formula": ("<math><merror><mtext>?</mtext></merror></math>", "formula"),
}


@pytest.fixture(scope="module")
def check_pages():
    if not SCRIPT.exists():
        pytest.skip("an unpacked copy has no docs")
    specification = importlib.util.spec_from_file_location("check_pages", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def write(folder, name, body):
    page = f'<!doctype html><html lang="en"><title>{name}</title><body>{body}</body></html>'
    (folder / f"{name}.html").write_text(page)


def test_each_fault_is_found_and_a_sound_page_has_none(check_pages, tmp_path, capsys):
    pytest.importorskip("axe_playwright_python")
    if isinstance(reason := check_pages.find_browser(), str):
        pytest.skip(reason)
    write(tmp_path, "sound", "<main><h1>Sound</h1></main>")
    for name, (body, _) in FAULTS.items():
        write(tmp_path, name, body)
    with pytest.raises(SystemExit):
        check_pages.main(tmp_path)
    said = capsys.readouterr().out
    assert "sound.html" not in said
    for name, (_, sentence) in FAULTS.items():
        of_page = said.split(f"{name}.html\n")[1].split(".html\n")[0]
        assert sentence in of_page


def test_without_a_browser_it_says_so(check_pages, tmp_path, capsys, monkeypatch):
    write(tmp_path, "sound", "")
    monkeypatch.setattr(check_pages, "find_browser", lambda: "no browser")
    check_pages.main(tmp_path)
    assert "skipped: no browser" in capsys.readouterr().out


def test_a_folder_without_pages_is_an_error(check_pages, tmp_path):
    with pytest.raises(SystemExit, match="has no pages"):
        check_pages.main(tmp_path)
