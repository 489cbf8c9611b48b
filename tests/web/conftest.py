"""A real browser and a real service for the tests in this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from synthray.synth.files.sound_file import write_wav
from synthray.synth.instrument import SAMPLE_RATE_HZ
from tests.waiting import HOST, free_port, wait_for

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 120_000  # a busy machine is slow to start and to answer
FAKE_MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
FIRST_SEARCH = "**/*:match?refine=0.3&*"
SERVICE_START_S = 180  # a first start compiles the voice


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return headless Chromium with a microphone that beeps, driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser is installed ({', '.join(NAMES)})")
    with sync_api.sync_playwright() as playwright:
        sync_api.expect.set_options(timeout=TIMEOUT_MS)
        browser = playwright.chromium.launch(executable_path=path, timeout=TIMEOUT_MS, args=FAKE_MICROPHONE)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a service with the shipped model, in a process of its own."""
    yield from _served(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="session")
def guarded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a service that wants the token "open sesame" and searches for 2 s at most."""
    yield from _served(tmp_path_factory.mktemp("guarded"), "--max-refine-s", "2", SYNTHRAY_API_TOKEN="open sesame")


def _served(folder: Path, *flags: str, **environment: str) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "synthray.cli.main",
        "serve",
        "--no-ray",
        "--model",
        "shipped",
        "--port",
        str(port),
        *flags,
    ]
    with (folder / "log").open("wb") as log:
        variables = {**os.environ, "SYNTHRAY_HOME": str(folder), **environment}
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://{HOST}:{port}/"
    try:
        wait_for(lambda: process.poll() is not None or _answers(url), SERVICE_START_S, pause_s=0.2)
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}healthz").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def open_page(browser: Any, service_url: str) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the page; at the end, fail for errors and for requests to other hosts.

    The first match of a sound is the network's own unless `searches` is true, so that no test depends on how much a
    busy machine finds in that search.
    """
    problems: list[str] = []
    contexts = []

    def opened(
        fragment: str = "", url: str = service_url, script: str = "", searches: bool = False, **options: Any
    ) -> Any:
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(TIMEOUT_MS)
        if not searches:
            contexts[-1].route(FIRST_SEARCH, _skip_search)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if _leaves(request.url, url) else None)
        if script:
            page.add_init_script(script)
        page.goto(url + fragment)
        return page

    def _skip_search(route: Any) -> None:
        route.continue_(url=route.request.url.replace("refine=0.3", "refine=0"))

    def _leaves(address: str, url: str) -> bool:
        return not address.startswith((url, f"blob:{url}", "data:"))

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a WAV file with a fading tone of 220 Hz."""
    time_s = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    file = tmp_path_factory.mktemp("sounds") / "tone.wav"
    write_wav(file, 0.3 * np.sign(np.sin(2 * np.pi * 220 * time_s)) * np.exp(-2 * time_s))
    return file


def drop(page: Any, file: Path) -> None:
    """Choose a file and wait until its match is shown."""
    page.locator("#files").set_input_files(file)
    page.locator("#panel").wait_for()


def distance_db(page: Any) -> float:
    """Return the distance that the page shows."""
    return float(page.locator("#distance b").inner_text())


def slider(page: Any, name: str) -> Any:
    """Return a knob's range input."""
    return page.get_by_role("slider", name=name, exact=True)
