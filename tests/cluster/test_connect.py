"""Choice of the cluster that a job joins. A job does not wait for a cluster that has ended."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthray.errors import ConfigError


@pytest.fixture
def address_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Ray stores the address of the cluster that was started on this machine."""
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
        bound.bind(("127.0.0.1", 0))  # reserves the port, so that no other process listens there
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_cluster_address_skips_a_local_cluster_that_has_ended(address_file: Path, listening: str, silent: str) -> None:
    from synthray.cluster.connect import cluster_address

    assert cluster_address() is None
    address_file.write_text(silent)
    assert cluster_address() == "local"
    address_file.write_text(f"{listening}\n")
    assert cluster_address() is None


def test_cluster_address_lets_ray_decide_without_its_private_helper(
    address_file: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthray.cluster.connect import cluster_address

    address_file.write_text(silent)
    monkeypatch.setitem(sys.modules, "ray._common.utils", None)
    assert cluster_address() is None


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_cluster_address_of_a_named_cluster_that_does_not_answer_is_refused(
    form: str, address_file: Path, listening: str, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthray.cluster.connect import cluster_address

    monkeypatch.setenv("RAY_ADDRESS", form.format(silent))
    with pytest.raises(ConfigError, match=rf"RAY_ADDRESS: no cluster answers at '.*{silent}'\. Start it or unset"):
        cluster_address()
    monkeypatch.setenv("RAY_ADDRESS", form.format(listening))
    assert cluster_address() is None


@pytest.mark.parametrize("address", ["auto", "local"])
def test_cluster_address_leaves_names_to_ray(
    address: str, address_file: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthray.cluster.connect import cluster_address

    address_file.write_text(silent)
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert cluster_address() is None
