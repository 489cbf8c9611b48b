"""The HTML report in a real browser, opened from file://."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthray.evaluate.html.page import render_report
from tests.evaluate.html.samples import answer, evaluation, example, noise, sine
from tests.names import NAMES
from tests.web.conftest import TIMEOUT_MS
from tests.web.loudspeaker import RECORD, recorded, tone_share

pytestmark = pytest.mark.web
DURATION_S = 2.0
LOW_HZ, HIGH_HZ = 441, 882  # whole numbers of periods in 2 s, so that loops have no seam


@pytest.fixture(scope="module")
def report_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a report with three examples."""
    examples = (
        example(sine(LOW_HZ), answer("quiet", sine(LOW_HZ, 0.02)), answer("octave", sine(HIGH_HZ))),
        example(noise(1), answer("quiet", noise(2)), kind="worst"),
        example(sine(300), answer("octave", np.zeros(22050, np.float32)), kind="random"),
    )
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render_report(evaluation(["quiet", "octave"], examples)))
    return Path(file).as_uri()


@pytest.fixture
def open_report(browser: Any, report_uri: str) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the report; at the end, fail for errors and requests of any page."""
    problems: list[str] = []
    contexts = []

    def opened(script: str = "", **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(TIMEOUT_MS)
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if _leaves_the_file(request.url) else None)
        if script:
            page.add_init_script(script)
        page.goto(report_uri)
        return page

    def _leaves_the_file(url: str) -> bool:
        return url != report_uri and not url.startswith("data:")

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def test_report_shows_any_name_as_text(browser: Any, tmp_path: Path) -> None:
    names = [name for name in NAMES if "\0" not in name]  # which no file name has
    file = tmp_path / "names #1 (ü).html"
    file.write_text(render_report(evaluation(names)), encoding="utf-8")
    problems: list[str] = []
    page = browser.new_page()
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(file.as_uri())
    shown = page.locator("section[aria-labelledby=models] tbody th[scope=row]").evaluate_all(
        "all => all.map((cell) => cell.textContent)"
    )
    page.close()
    assert problems == []
    assert shown == names


def wait_until_playing(page: Any, index: int = 0) -> None:
    page.locator(".play").nth(index).get_by_text("Pause").wait_for()


def wait_until_moving(page: Any) -> None:
    """Wait until the clock of the first player has left the beginning (the report's policy forbids eval)."""
    while position_s(page) == 0:
        page.wait_for_timeout(20)


def position_s(page: Any, index: int = 0) -> float:
    return float(page.locator(".clock").nth(index).inner_text().split()[0])


def value_text(page: Any, index: int = 0) -> str:
    return page.locator(".waveform").nth(index).get_attribute("aria-valuetext")


def chosen(page: Any) -> list[str]:
    """Return the number of the chosen sound of each player."""
    return page.locator(".voices input:checked").evaluate_all("all => all.map((radio) => radio.value)")


def test_switch_between_equal_sounds_of_other_level_is_inaudible(open_report: Callable[..., Any]) -> None:
    """The original and a quieter copy: unequal loudness, wrong timing or a dip in a fade would be heard."""
    page = open_report(RECORD, bypass_csp=True)  # the recorder's code is not in the file
    page.locator(".play").first.click()
    wait_until_playing(page)
    for _ in range(2):
        for place in (1, 0):
            page.wait_for_timeout(100)
            page.locator(".voices label").nth(place).click()
    page.wait_for_timeout(100)
    audio, rate_hz = recorded(page)
    audio = audio[: int(DURATION_S * rate_hz)]
    assert len(audio) > 0.3 * rate_hz
    assert tone_share(audio, rate_hz, LOW_HZ) > 0.9999


def test_switch_to_another_sound_cross_fades_without_a_click(open_report: Callable[..., Any]) -> None:
    page = open_report(RECORD, bypass_csp=True)
    page.locator(".play").first.click()
    wait_until_playing(page)
    page.wait_for_timeout(150)
    page.locator(".voices label").nth(2).click()
    page.wait_for_timeout(400)
    page.locator(".play").first.click()
    page.wait_for_timeout(200)
    audio, rate_hz = recorded(page)
    tenth = rate_hz // 10
    shares = [
        [tone_share(part, rate_hz, hz) > 0.99 for hz in (LOW_HZ, HIGH_HZ)]
        for part in np.split(audio[: len(audio) // tenth * tenth], len(audio) // tenth)
        if np.abs(part).max() > 0.01
    ]
    assert shares[0] == [True, False]
    assert [False, True] in shares
    # A jump would show in the second difference, which is amplitude * (2 pi f / rate)^2 for a sine.
    smooth = np.abs(audio).max() * (2 * np.pi * HIGH_HZ / rate_hz) ** 2
    assert np.abs(np.diff(audio, 2))[:-tenth].max() < 2 * smooth
    assert np.abs(audio[-rate_hz // 50 :]).max() == 0  # pause ends the sound


def test_seek_by_keyboard_and_pointer_moves_the_position(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.locator(".waveform").first.focus()
    page.keyboard.press("End")
    assert value_text(page) == "2.00 of 2.00 seconds"
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("PageUp")
    page.keyboard.press("ArrowDown")
    assert value_text(page) == "0.70 of 2.00 seconds"
    assert value_text(page, 1) == "0.00 of 2.00 seconds"
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    assert value_text(page) == "0.00 of 2.00 seconds"
    waveform = page.locator(".waveform").first
    waveform.click(position={"x": 0.25 * waveform.bounding_box()["width"], "y": 10})  # scrolls to it first
    assert value_text(page) == "0.50 of 2.00 seconds"
    assert page.locator(".playing").count() == 0


def test_seek_while_playing_goes_on_playing_from_there(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.locator(".waveform").first.focus()
    page.keyboard.press(" ")
    wait_until_playing(page)
    wait_until_moving(page)
    page.keyboard.press("End")  # with the loop on, the end is the beginning
    page.keyboard.press("Home")
    wait_until_moving(page)
    page.keyboard.press("p")
    stopped_at = position_s(page)
    assert page.locator(".play").first.inner_text() == "Play"
    assert 0 < stopped_at < DURATION_S
    page.wait_for_timeout(100)
    assert position_s(page) == stopped_at


def test_keys_act_on_their_own_player(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.locator(".play").nth(1).focus()
    page.keyboard.press("2")
    assert chosen(page) == ["0", "1", "0"]
    page.locator("h1").click()
    page.keyboard.press("2")
    page.keyboard.press("p")
    assert chosen(page) == ["0", "1", "0"]
    assert page.locator(".playing").count() == 0


def test_a_second_player_stops_the_first(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.locator(".play").first.click()
    wait_until_playing(page)
    page.locator(".voices").nth(1).locator("label").nth(1).click()  # choosing a sound plays it
    wait_until_playing(page, 1)
    assert page.locator(".playing").count() == 1
    assert page.locator(".play").first.inner_text() == "Play"


def test_play_without_loop_ends_at_the_beginning(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.locator(".play").first.click()
    wait_until_playing(page)
    page.locator(".loop").first.uncheck()
    page.locator(".play").first.get_by_text("Play").wait_for()
    assert value_text(page) == "0.00 of 2.00 seconds"


def test_report_fits_a_phone_and_its_targets_are_large(open_report: Callable[..., Any]) -> None:
    page = open_report(viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for target in page.locator("button, .button, summary, nav a, .waveform").all():
        assert target.bounding_box()["height"] >= 44


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_report_has_no_accessibility_violations(open_report: Callable[..., Any], color_scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_report(color_scheme=color_scheme)
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    results = axe.Axe().run(page).response
    assert len(results["passes"]) > 20
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in results["violations"]] == []


def test_report_without_javascript_shows_the_browsers_players(open_report: Callable[..., Any]) -> None:
    page = open_report(java_script_enabled=False)
    assert page.locator("audio").first.is_visible()
    assert page.locator(".controls").first.is_hidden()


def test_report_shows_the_waveform_of_the_chosen_sound(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.locator(".voices input").nth(2).check(force=True)
    paths = page.locator(".waveform").first.locator("path")
    assert paths.evaluate_all("all => all.map((path) => path.matches('.selected'))") == [False, False, True]
