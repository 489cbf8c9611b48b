"""The page's player: switching while playing, seeking, the blind test."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthray.synth.files.sound_file import write_wav
from tests.evaluate.html.samples import sine
from tests.web.conftest import drop, slider
from tests.web.loudspeaker import RECORD, recorded, tone_share
from tests.web.test_page import expect

pytestmark = pytest.mark.web


def clock_s(page: Any) -> float:
    return float(page.locator("#clock").inner_text().split()[0])


def wait_until_moving(page: Any) -> None:
    expect(page.locator("#play")).to_have_text("Pause")
    while clock_s(page) == 0:
        page.wait_for_timeout(20)


def test_switch_while_playing_keeps_the_position(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    page.locator("#loop").uncheck()
    page.locator("#play").click()
    wait_until_moving(page)
    for button in (1, 0, 1):
        before_s = clock_s(page)
        page.locator("#voices label").nth(button).click()
        after_s = clock_s(page)
        assert before_s <= after_s < before_s + 1
    page.locator("#play").click()
    stopped_s = clock_s(page)
    assert 0 < stopped_s < 2
    page.wait_for_timeout(100)
    assert clock_s(page) == stopped_s


def test_play_without_loop_ends_at_the_beginning(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    page.locator("#loop").uncheck()
    page.locator("#play").click()
    wait_until_moving(page)
    expect(page.locator("#play")).to_have_text("Play")
    assert clock_s(page) == 0


def test_waveform_keys_move_the_position(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    waveform = page.get_by_role("slider", name="Position in the sound")
    waveform.focus()
    page.keyboard.press("End")
    assert waveform.get_attribute("aria-valuetext") == "2.00 of 2.00 seconds"
    for key in ("Home", "ArrowRight", "ArrowRight", "PageUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert waveform.get_attribute("aria-valuetext") == "0.60 of 2.00 seconds"
    page.keyboard.press("2")
    assert page.locator("#voice-1").is_checked()
    page.locator("h1").click()
    page.keyboard.press("1")
    assert page.locator("#voice-1").is_checked()  # keys act only on the player


def test_keys_switch_and_play_while_a_knob_is_turned(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    expect(page.locator("#panel .hint")).to_contain_text("1 original, 2 match, P play, Shift fine steps")
    slider(page, "Filter cutoff").focus()
    for key in ("ArrowUp", "2"):
        page.keyboard.press(key)
    assert page.locator("#voice-1").is_checked()
    page.keyboard.press("p")
    expect(page.locator("#play")).to_have_text("Pause")
    page.locator("#filter_type-notch").focus()
    for key in ("1", "P"):
        page.keyboard.press(key)
    assert page.locator("#voice-0").is_checked()
    expect(page.locator("#play")).to_have_text("Play")
    field = page.get_by_role("textbox", name="Filter cutoff, value in Hz")
    field.focus()
    page.keyboard.type("2p")
    assert field.input_value() == "2p"
    assert page.locator("#voice-0").is_checked()
    assert page.locator("#play").inner_text() == "Play"


def test_equal_loudness_shows_gains_and_can_be_switched_off(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    expect(page.locator("#gains")).to_contain_text("dB, match")
    page.locator("#level").uncheck()
    expect(page.locator("#gains")).to_have_text("")


def test_blind_test_hides_names_and_pictures_until_an_answer(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    page.locator("#blind").check()
    assert page.locator("#voices label").all_inner_texts() == ["A", "B"]
    assert page.locator(".pictures").is_hidden()
    assert "original" not in page.locator("#gains").inner_text()
    page.get_by_role("button", name="A is the original").click()
    expect(page.locator("#verdict")).to_contain_text("of 1 right")
    page.locator("#blind").uncheck()
    assert page.locator("#voices label").all_inner_texts() == ["Original", "Match"]
    assert page.locator(".pictures").is_visible()


def wav(audio: np.ndarray) -> list[int]:
    """Return the bytes of a sound as a WAV file."""
    file = io.BytesIO()
    write_wav(file, audio)
    return list(file.getvalue())


def test_switches_of_sound_and_level_are_not_heard_between_equal_sounds(open_page: Callable[..., Any]) -> None:
    """The same tone twice, the second at half the level: a dip in a fade or wrong timing would be heard."""
    page = open_page(script=RECORD, bypass_csp=True)
    page.evaluate(
        """async (files) => {
          const { Transport } = await import("/page/transport.js");
          window.transport = new Transport(() => {});
          files.forEach((bytes, index) => transport.setSound(index, Uint8Array.from(bytes)));
          transport.setLevels([1, 2]);
          await transport.play();
        }""",
        [wav(sine(441, amplitude)) for amplitude in (0.2, 0.1)],
    )
    for sound in (1, 0, 1, 0):
        page.wait_for_timeout(100)
        page.evaluate("(sound) => transport.select(sound)", sound)
    page.wait_for_timeout(100)
    audio, rate_hz = recorded(page)
    assert len(audio) > 0.3 * rate_hz
    assert tone_share(audio, rate_hz, 441) > 0.9999
