"""A cluster that has ended is not waited for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthray.errors import ConfigError


@pytest.fixture
def left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Ray says which cluster was started on this machine."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # taken, so that nobody else listens there, and not listened to
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_one_of_this_machine_that_has_ended_is_done_without(left_behind: Path, listening: str, silent: str) -> None:
    from synthray.cluster.connect import cluster_address

    assert cluster_address() is None
    left_behind.write_text(silent)
    assert cluster_address() == "local"
    left_behind.write_text(f"{listening}\n")
    assert cluster_address() is None


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_one_that_was_named_and_does_not_answer_is_told(
    form: str, left_behind: Path, listening: str, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthray.cluster.connect import cluster_address

    monkeypatch.setenv("RAY_ADDRESS", form.format(silent))
    with pytest.raises(ConfigError, match=rf"RAY_ADDRESS is '.*{silent}', and nothing answers there: start that"):
        cluster_address()
    monkeypatch.setenv("RAY_ADDRESS", form.format(listening))
    assert cluster_address() is None


@pytest.mark.parametrize("address", ["auto", "local"])
def test_other_names_are_for_ray_to_understand(
    address: str, left_behind: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthray.cluster.connect import cluster_address

    left_behind.write_text(silent)
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert cluster_address() is None
