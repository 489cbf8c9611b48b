"""The panel's texts: what is said about a setting, and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import drop, slider
from tests.web.test_page import expect
from tests.web.test_page_layout import PHONE

pytestmark = pytest.mark.web


@pytest.mark.parametrize("options", [{"viewport": {"width": 1440, "height": 900}}, PHONE], ids=["desktop", "phone"])
def test_reason_why_a_setting_is_not_heard_is_in_sight(
    open_page: Callable[..., Any], tone: Path, options: dict[str, Any]
) -> None:
    page = open_page(**options)
    drop(page, tone)
    slider(page, "Amplitude LFO amount").focus()
    page.keyboard.press("Home")
    expect(page.locator("[data-name=amplitude_lfo_frequency]")).to_contain_text("not heard")
    page.locator("[data-name=amplitude_lfo_frequency] .dial").hover()
    info = page.locator("#info")
    expect(info).to_contain_text("Amplitude LFO frequency")
    expect(info).to_contain_text("Not heard: ")
    expect(info).to_be_in_viewport(ratio=1)


def test_text_about_a_setting_follows_its_value(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    knob = slider(page, "Filter cutoff")
    knob.focus()
    info = page.locator("#info")
    expect(info).to_contain_text(f"Filter cutoff, {knob.get_attribute('aria-valuetext')}: ")
    page.keyboard.press("Home")
    expect(info).to_contain_text("Filter cutoff, 60.0 Hz: ")
    assert "sure" not in info.inner_text()
    page.locator("#undo").click()
    expect(info).to_contain_text(f"Filter cutoff, {knob.get_attribute('aria-valuetext')}: ")
