"""The page at /docs in a browser: it fits a phone, needs no script and is accessible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.web


@pytest.mark.parametrize("width", [320, 360, 1440])
def test_page_fits_its_window(open_page: Callable[..., Any], width: int) -> None:
    page = open_page("docs", viewport={"width": width, "height": 740})
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    assert page.evaluate("document.documentElement.scrollHeight") > 5000
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_page_has_no_accessibility_violations(open_page: Callable[..., Any], color_scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page("docs", color_scheme=color_scheme)
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    results = axe.Axe().run(page).response
    assert len(results["passes"]) > 20
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in results["violations"]] == []


def test_page_is_dark_where_the_system_is(open_page: Callable[..., Any]) -> None:
    colors = {
        scheme: open_page("docs", color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert colors == {"light": "rgb(246, 245, 242)", "dark": "rgb(18, 17, 23)"}


def test_match_is_within_two_screens(open_page: Callable[..., Any]) -> None:
    page = open_page("docs", viewport={"width": 1440, "height": 900})
    assert 0 < page.locator("#match").bounding_box()["y"] < 1800
