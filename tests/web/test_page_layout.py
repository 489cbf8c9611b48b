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
LARGEST_SHIFT = 0.001
"""Cumulative layout shift; 0.1 is good. On a busy machine, the answer to a click may come after the 500 ms in which
shifts do not count: 0.00004 was seen."""
WATCH_SHIFTS = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shift += entry.hadRecentInput ? 0 : entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
# Texts or controls of the panel that overlap, and groups that are too narrow. Each value is as wide as can be.
CROWDED = """() => {
  const panel = document.querySelector("#panel");
  for (const field of panel.querySelectorAll(".typed input")) {
    field.value = "-50.0";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  for (const sure of panel.querySelectorAll(".sure")) sure.textContent = "not heard";
  const boxes = [...panel.querySelectorAll(".typed input")].map((field) => ["field", field.getBoundingClientRect()]);
  const texts = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    if (texts.currentNode.parentElement.closest(".hidden, .info") || !texts.currentNode.data.trim()) continue;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    for (const box of range.getClientRects()) boxes.push([texts.currentNode.data, box]);
  }
  const width = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const height = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const overlaps = (boxes, most) => boxes.flatMap(([name, a], i) => {
    const others = boxes.slice(i + 1).filter(([, b]) => width(a, b) > 0.5 && height(a, b) > most);
    return others.map(([other]) => `${name} | ${other}`);
  });
  const controls = [...panel.querySelectorAll(".segments, .dial")]
    .map((each) => [each.className, each.getBoundingClientRect()]);
  const wide = [...panel.querySelectorAll(".group")].filter((group) => group.scrollWidth > group.clientWidth);
  const found = [...overlaps(boxes, 6), ...overlaps(controls, 0.5), ...wide.map((group) => group.className)];
  return { count: boxes.length, found };  // the frame of a field is not drawn and may reach into the next line
}"""
LINES_OF_WAVEFORMS = """() => [...document.querySelectorAll("#panel .drawn")].map((segments) => {
  return new Set([...segments.querySelectorAll("label")].map((label) => label.offsetTop)).size;
})"""


@pytest.mark.parametrize(
    "options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"]
)
def test_page_has_no_accessibility_violations(
    open_page: Callable[..., Any], tone: Path, options: dict[str, Any]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(reduced_motion="reduce", bypass_csp=True, **options)
    for state in ("empty", "matched", "remark", "busy", "blind"):
        if state == "matched":
            drop(page, tone)
        if state == "remark":
            page.get_by_role("textbox", name="Filter cutoff, value in").fill("none")
            page.keyboard.press("Tab")
        if state == "busy":
            page.route("**/*:match*", lambda route: route.fulfill(status=429, headers={"Retry-After": "30"}))
            page.get_by_role("button", name="FM bell").click()
            page.locator("#busy").wait_for()
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
    assert page.evaluate("shift") < LARGEST_SHIFT


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


def test_texts_of_the_panel_do_not_overlap(open_page: Callable[..., Any], tone: Path) -> None:
    mouse, touch = open_page(), open_page(**PHONE)
    for page in (mouse, touch):
        drop(page, tone)
        for width in (320, 360, 640, 768, 900, 1000, 1200, 1280, 1440, 1920):
            page.set_viewport_size({"width": width, "height": 800})
            crowded = page.evaluate(CROWDED)
            assert crowded["count"] > 120
            assert (width, crowded["found"]) == (width, [])
            assert (width, page.evaluate(LINES_OF_WAVEFORMS)) == (width, [1] * 5)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_sounds_are_listed_before_the_player_on_a_phone(
    open_page: Callable[..., Any], tone: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"a sound with a long name {i}.wav" for i in range(4)]
    for file in files:
        file.write_bytes(tone.read_bytes())
    page = open_page(script=WATCH_SHIFTS, **PHONE)
    page.locator("#files").set_input_files(files)
    expect(page.locator("#sounds .figure").nth(3)).to_contain_text("dB")
    top, bottom = (page.locator(each).bounding_box() for each in ("#sounds", "#transport"))
    assert top["y"] + top["height"] < bottom["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("shift") < LARGEST_SHIFT
    page.locator("#sounds button").nth(3).click()
    expect(page.locator("#scene-title")).to_have_text(files[3].name)
    expect(page.locator("#sounds [aria-current=true]")).to_be_in_viewport(ratio=0.9)
