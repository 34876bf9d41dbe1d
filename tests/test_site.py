"""The built site: every internal link, anchor and image leads somewhere. `make test` builds it first."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

SITE = Path(__file__).parents[1] / "_build" / "html"
PAGES = sorted((SITE / "book").rglob("*.html"))


def soup(path, cache={}):  # noqa: B006  each page is parsed once
    if path not in cache:
        cache[path] = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    return cache[path]


def test_the_site_is_built():
    assert PAGES, "run `make book` first"
    assert (SITE / "index.html").is_file() and (SITE / "search.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_internal_links_and_anchors_resolve(page):
    links = [a["href"] for a in soup(page).find_all("a", href=True)]
    assert links
    for link in links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.is_file(), f"{link} leads nowhere"
        if parts.fragment and target.suffix == ".html":
            assert soup(target).find(id=unquote(parts.fragment)), f"{link}: no such anchor"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_files_of_a_page_are_there_and_local(page):
    document = soup(page)
    files = [tag["src"] for tag in document.find_all(["img", "script"], src=True)]
    files += [
        tag["href"]
        for tag in document.find_all("link", href=True)
        if {"stylesheet", "icon", "preload"} & set(tag.get("rel", []))
    ]
    assert files
    for file in files:
        parts = urlsplit(file)
        if parts.scheme == "data":
            continue
        assert not parts.netloc, f"{file} is fetched from another host"
        assert (page.parent / unquote(parts.path)).resolve().is_file(), f"{file} is missing"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_figures_have_alt_text(page):
    for image in soup(page).find("article").find_all("img"):
        assert image.get("alt") and not image["alt"].endswith(".png"), image


def test_mathematics_is_rendered_in_the_page():
    document = soup(SITE / "book" / "normalization.html")
    assert len(document.find_all("math")) > 10
    assert not [s for s in document.find_all("script", src=True) if "mathjax" in s["src"].lower()]
