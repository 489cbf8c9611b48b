"""Firefox for tests, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/).

Playwright drives only a Firefox of its own, not that of the system.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.waiting import HOST, wait_for

NAMES = ("firefox-esr", "firefox")
START_S = 120  # a first start on a busy machine
ANSWER_S = 120


def find_firefox() -> str | None:
    """Return the path of Firefox, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A tab of Firefox."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._numbers = connection, itertools.count()
        self.errors: list[str] = []
        """Errors of scripts and of the console so far."""
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        [tab] = self.call("browsingContext.getTree")["contexts"]
        self._tab = tab["context"]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of BiDi and return its result; fail if it answers with an error."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(ANSWER_S))
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.errors.append(message["params"]["text"])
            if message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]

    def open(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        self.call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, as JSON carries it."""
        script = f"JSON.stringify({expression})"
        target = {"context": self._tab}
        answer = self.call("script.evaluate", expression=script, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def wait_until(self, expression: str) -> None:
        """Return once a JavaScript expression is true."""
        wait_for(lambda: self.evaluate(f"Boolean({expression})"), ANSWER_S, pause_s=0.1)

    def choose_file(self, selector: str, file: Path) -> None:
        """Give a file to a file input, as a user does in the dialog."""
        [node] = self.call(
            "browsingContext.locateNodes", context=self._tab, locator={"type": "css", "value": selector}
        )["nodes"]
        element = {"sharedId": node["sharedId"]}
        self.call("input.setFiles", context=self._tab, element=element, files=[str(file)])

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call(
            "input.performActions", context=self._tab, actions=[{"type": "key", "id": "keys", "actions": actions}]
        )


@contextmanager
def firefox(folder: Path) -> Iterator[Page]:
    """Start a headless Firefox with a new profile in ``folder`` and yield its tab; end it at last."""
    path = find_firefox()
    assert path
    command = [path, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port=0", "about:blank"]
    address = folder / "WebDriverBiDiServer.json"
    with (folder / "log").open("wb") as log:
        environment = os.environ | {"HOME": str(folder)}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: address.exists() or process.poll() is not None, START_S, pause_s=0.2)
        assert process.poll() is None, (folder / "log").read_text()
        port = json.loads(address.read_text())["ws_port"]
        with connect(f"ws://{HOST}:{port}/session", max_size=None, proxy=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(60)
