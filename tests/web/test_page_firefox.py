"""The page and the report in Firefox, which other tests open in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.firefox import Page, find_firefox, firefox

pytestmark = pytest.mark.web

HOME = "\ue011"
FOCUS_PITCH = "document.querySelector('input[aria-label=\"Oscillator 1 pitch\"]').focus()"
DISTANCE = "Number(document.querySelector('#distance b').textContent)"
IS_SHOWN = "document.querySelector('#panel').checkVisibility()"
IS_DRAWN = "(c) => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 2"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """Return a tab of Firefox; at the end, fail for errors in the console."""
    if not find_firefox():
        pytest.skip("Firefox is not installed")
    with firefox(tmp_path) as page:
        yield page
        page.evaluate("true")  # errors come before the next answer
        assert page.errors == []


def test_sound_is_matched_changed_and_searched_for(page: Page, service_url: str, tone: Path) -> None:
    page.open(service_url)
    page.choose_file("#files", tone)
    page.wait_until(IS_SHOWN)
    matched_db = page.evaluate(DISTANCE)
    page.wait_until(f"[...document.querySelectorAll('#pictures canvas')].every({IS_DRAWN})")

    page.evaluate(FOCUS_PITCH)
    page.press(HOME)
    page.wait_until(f"{DISTANCE} > {matched_db}")
    page.evaluate("document.querySelector('#undo').click()")
    page.wait_until(f"{DISTANCE} === {matched_db}")
    page.evaluate(FOCUS_PITCH)
    page.press(HOME)
    page.wait_until(f"{DISTANCE} > {matched_db}")
    changed_db = page.evaluate(DISTANCE)

    page.evaluate("document.querySelector('#seconds-1').click()")
    page.evaluate("document.querySelector('#refine-start').click()")
    page.wait_until("document.querySelector('#refine-message').textContent.startsWith('Done')")
    assert page.evaluate(DISTANCE) < changed_db
