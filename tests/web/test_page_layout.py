"""The page's size, layout and accessibility."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import drop
from tests.web.test_page import expect

pytestmark = pytest.mark.web
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
PAGE_FOLDER = Path("synthray/serve/page")
WATCH_SHIFTS = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shift += entry.hadRecentInput ? 0 : entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.mark.parametrize(
    "options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"]
)
def test_page_has_no_accessibility_violations(
    open_page: Callable[..., Any], tone: Path, options: dict[str, Any]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(reduced_motion="reduce", bypass_csp=True, **options)
    for state in ("empty", "matched", "blind"):
        if state == "matched":
            drop(page, tone)
        if state == "blind":
            page.locator("#blind").check()
        results = axe.Axe().run(page).response
        assert len(results["passes"]) > 20
        found = [(each["id"], each["nodes"][0]["html"][:200]) for each in results["violations"]]
        assert (state, found) == (state, [])


def test_page_fits_a_phone_and_its_targets_are_large(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page(**PHONE)
    drop(page, tone)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    targets = page.locator("button, .drop, .toggle, .voices label, .segments label, .dial, .typed input, .top nav a")
    sizes = targets.evaluate_all(
        "all => all.filter((each) => each.offsetParent).map((each) => [each.id || each.className, each.offsetHeight])"
    )
    assert len(sizes) > 80
    assert [each for each in sizes if each[1] < 44] == []


def test_page_does_not_shift(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page(script=WATCH_SHIFTS)
    drop(page, tone)
    expect(page.locator("#gains")).to_contain_text("dB")
    page.locator("label[for=seconds-1]").click()
    page.locator("#refine-start").click()
    expect(page.locator("#refine-message")).to_contain_text("Done")
    page.wait_for_timeout(300)
    assert page.evaluate("shift") == 0


def test_page_transfers_less_than_200_kb(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.wait_for_load_state("networkidle")
    entries = page.evaluate(
        "performance.getEntriesByType('resource').map(({ name, transferSize }) => [name, transferSize])"
    )
    total = sum(size for _, size in entries)
    assert any(name.endswith("page/panel.js") for name, _ in entries)
    assert not any("examples" in name for name, _ in entries)
    assert 10_000 < total < 200_000


def test_page_has_no_inline_code_and_no_other_hosts() -> None:
    html = (PAGE_FOLDER / "index.html").read_text()
    assert "style=" not in html
    assert "<style" not in html
    assert "onclick" not in html
    assert "://" not in html
    for module in PAGE_FOLDER.glob("*.js"):
        assert "http" not in module.read_text().replace("http://www.w3.org/2000/svg", "").replace("HTTP", ""), module
    assert sum(file.stat().st_size for file in PAGE_FOLDER.glob("examples/*")) < 250_000


def test_bar_of_confidence_has_four_lengths(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    lengths = page.locator("[data-name=filter_cutoff] .sure").evaluate(
        """(element) => ["1", "2", "3", "4"].map((quarters) => {
          element.dataset.sure = quarters;
          return getComputedStyle(element, "::before").backgroundSize.split(" ")[0];
        })"""
    )
    assert lengths == ["25%", "50%", "75%", "100%"]
    bar = "element => { element.dataset.sure = ''; return getComputedStyle(element, '::before').content; }"
    assert page.locator("[data-name=filter_cutoff] .sure").evaluate(bar) == "none"
