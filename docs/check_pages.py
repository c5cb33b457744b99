"""Open every built page in headless Chromium, wide and narrow, and list what is wrong with it.

Run it after the pages were built::

    python docs/check_pages.py docs/_build/html

Looked for are errors on the console, requests to the network, missing images, text that sticks out
of the window, code that is cut off, parts of the header that overlap, formulas that were not
understood, and (by axe-core) text with too little contrast in light and in dark mode.
"""

import os
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path

WIDTHS = (1280, 390)
HEIGHT = 900
SKIPPED = ("_static", "_downloads", "_sources")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Returned as a list of sentences: what a reader would see on the page as it is laid out now
LOOK = r"""async () => {
  const wrong = [];
  const name = (e) => (e.outerHTML || "").replace(/\s+/g, " ").slice(0, 90);
  const width = document.scrollingElement.scrollWidth;
  if (width > innerWidth + 1) wrong.push(`${width} px wide in a window of ${innerWidth}`);
  // Inside something that scrolls by itself, which the page as a whole should not
  const scrolls = (e) => e && !e.querySelector("h1") && (e.scrollWidth > e.clientWidth &&
    /auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const parts = "h1, h2, p, dt, li, pre, img, table, code, a:not(.headerlink)";
  const out = [...document.querySelectorAll(`main :is(${parts})`)].find(
    (e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement));
  if (out) wrong.push(`sticks out of the window: ${name(out)}`);
  await Promise.all([...document.images].map((image) => {
    image.loading = "eager";
    return image.decode().catch(() => wrong.push(`missing image: ${name(image)}`));
  }));
  for (const code of document.querySelectorAll("pre, dt.sig")) {
    const style = getComputedStyle(code);
    if (style.overflowX === "hidden" && code.scrollWidth > code.clientWidth + 1)
      wrong.push(`code is cut off: ${name(code)}`);
  }
  for (const error of document.querySelectorAll("merror")) wrong.push(`formula: ${name(error)}`);
  const boxes = [...document.querySelectorAll(
    ".bd-header .navbar-brand, .bd-header .navbar-nav > li, .bd-header .search-button")].map(
    (e) => [e, e.getBoundingClientRect()]).filter(([e, b]) => b.width && b.height);
  for (const [one, a] of boxes) for (const [other, b] of boxes)
    if (one !== other && !one.contains(other) && a.left < b.left && a.right > b.left + 1
        && a.top < b.bottom && b.top < a.bottom)
      wrong.push(`header overlaps: ${name(one)} and ${name(other)}`);
  return wrong;
}"""
CONTRAST = """async (theme) => {
  document.documentElement.dataset.theme = theme;
  document.querySelectorAll("*").forEach((e) => { e.style.transition = "none"; });
  const options = { runOnly: ["color-contrast"], resultTypes: ["violations"] };
  const found = await axe.run(document, options);
  return found.violations.flatMap((v) => v.nodes.map((n) => `${theme} mode, contrast: ${n.html}`));
}"""


def main(folder):
    pages = [
        p for p in sorted(folder.rglob("*.html")) if p.relative_to(folder).parts[0] not in SKIPPED
    ]
    if not pages:
        raise SystemExit(f"{folder} has no pages: build them with 'sphinx-build docs {folder}'")
    browser = find_browser()
    if isinstance(browser, str):
        print(f"skipped: {browser}")
        return
    path, sync_playwright = browser
    started = time.perf_counter()
    wrong = defaultdict(list)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for width in WIDTHS:
            check_at(chromium, width, pages, folder, wrong)
        chromium.close()
    for page, sentences in wrong.items():
        print(page, *dict.fromkeys(sentences), sep="\n    ")
    seconds = time.perf_counter() - started
    print(f"{len(pages)} pages at {WIDTHS} px: {len(wrong)} with faults ({seconds:.0f} s)")
    if wrong:
        raise SystemExit(1)


def find_browser():
    """Where Chromium is and what drives it, or a sentence that says what is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "playwright is not installed (it comes with the extra 'docs')"
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    return (found, sync_playwright) if found else f"none of {BROWSERS} is installed"


def check_at(chromium, width, pages, folder, wrong):
    """Look at all pages in one window of this width."""
    window = chromium.new_page(viewport={"width": width, "height": HEIGHT})
    heard = []
    window.on(
        "console", lambda m: heard.append(f"console: {m.text}") if m.type == "error" else None
    )
    window.on("pageerror", lambda error: heard.append(f"script: {error}"))
    window.on(
        "request", lambda r: heard.append(f"network: {r.url}") if "http" in r.url[:5] else None
    )
    axe = axe_script()
    for path in pages:
        heard.clear()
        window.goto(path.as_uri(), wait_until="load")
        sentences = [*heard, *window.evaluate(LOOK)]
        if axe and width == max(WIDTHS) and not is_generated(path.relative_to(folder)):
            window.add_script_tag(content=axe)
            for theme in ("light", "dark"):
                sentences += window.evaluate(CONTRAST, theme)
        if sentences:
            wrong[str(path.relative_to(folder))] += [f"{width} px: {s}" for s in sentences]
    window.close()


def axe_script():
    """axe-core as a Python package ships it, or nothing."""
    try:
        import axe_playwright_python
    except ImportError:
        print("contrast is not checked: axe-playwright-python is not installed")
        return None
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


def is_generated(page):
    """Listings of source code, and pages of single names, which look all alike."""
    return page.parts[0] in ("_modules", "generated") and page.name != "api.html"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/_build/html").resolve())
