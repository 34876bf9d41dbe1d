"""Every page in a real browser: no request leaves the site, nothing goes wrong, it fits a phone."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

SITE = Path(__file__).parents[2] / "_build" / "html"
PAGES = sorted(str(p.relative_to(SITE)) for p in (SITE / "book").glob("*.html")) + ["search.html"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="session")
def address():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    path = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    assert path, "install Chromium (Debian: apt-get install chromium)"
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=[(s, t) for s in SCREENS for t in ("light", "dark")], ids="-".join)
def visit(request, browser, address):
    """Open a page in one of four states; yields (page, what went wrong)."""
    screen, theme = request.param
    width, height = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, has_touch=screen == "phone"
    )
    page, wrong = context.new_page(), []
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
    page.on(
        "request",
        lambda r: wrong.append(r.url) if not r.url.startswith((address, "data:")) else None,
    )

    def go(name):
        page.goto(f"{address}/{name}", wait_until="load")
        page.wait_for_timeout(300)
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(exist_ok=True)
            name = f"{Path(name).stem}-{screen}-{theme}.png"
            page.screenshot(path=Path(folder) / name, full_page=True)
        return page, wrong

    yield go
    context.close()


def test_there_are_pages():
    assert {"book/index.html", "book/normalization.html"} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_from_its_own_host_without_errors_and_fits(visit, name):
    page, wrong = visit(name)
    known = "THEBE_JS_URL"  # declared twice by the theme's launch buttons, on every page
    assert not [text for text in wrong if known not in text]
    width = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0, f"the page is {width} px wider than the screen"


def test_figures_keep_their_shape_and_formulas_their_size(visit):
    page, _ = visit("book/normalization.html")
    shapes = page.evaluate(
        """async () => Promise.all([...document.querySelectorAll('article .cell_output img')].map(
        async i => { await i.decode(); const b = i.getBoundingClientRect();
        return (b.width / b.height) / (i.naturalWidth / i.naturalHeight); }))"""
    )
    assert len(shapes) >= 3 and all(abs(shape - 1) < 0.02 for shape in shapes)
    heights = page.evaluate(
        "[...document.querySelectorAll('math')].map(m => m.clientHeight || m.getBoundingClientRect().height)"
    )
    assert len(heights) > 10 and min(heights) > 5


def test_the_result_of_a_check_can_be_read(visit):
    page, _ = visit("book/normalization.html")
    contrast = page.evaluate(
        """() => { const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
        .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
        return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
        const paper = e => { for (; e; e = e.parentElement) {
          const c = getComputedStyle(e).backgroundColor;
          if (!/rgba\\(.*, 0\\)/.test(c) && c !== 'transparent') return c; } return 'rgb(255,255,255)'; };
        return [...document.querySelectorAll('.bn-check h4, .bn-check p')].map(e => {
          const a = lum(getComputedStyle(e).color), b = lum(paper(e));
          return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); }); }"""
    )
    assert len(contrast) >= 8 and min(contrast) >= 4.5


def test_the_menu_opens_on_a_phone(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}/book/normalization.html")
    link = page.locator(
        "#pst-primary-sidebar a, .bd-sidebar-primary a", has_text="claim by claim"
    ).first
    assert not link.is_visible() or link.bounding_box()["x"] < 0
    page.locator(".primary-toggle:visible").first.click()
    page.wait_for_timeout(500)
    assert page.locator("dialog[open] a:visible, .bd-sidebar-primary a:visible").count() > 1
    context.close()


def test_search_finds_a_word_of_a_chapter(browser, address):
    page = browser.new_page()
    page.goto(f"{address}/search.html?q=proline")
    page.wait_for_selector("#search-results li a", timeout=5000)
    assert "normalization.html" in page.locator("#search-results li a").first.get_attribute("href")
    page.close()
