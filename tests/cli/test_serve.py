"""``synthray serve``: how flags become configurations. Nothing is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthray.cli.main import main
from synthray.serve.config import Address, ReplicaConfig


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ReplicaConfig, Address, bool]]:
    started: list[tuple[ReplicaConfig, Address, bool]] = []

    def serve(config: ReplicaConfig, address: Address, *, take_over: bool, verbose: bool) -> None:
        started.append((config, address, take_over))

    monkeypatch.setattr("synthray.cluster.session.serve_until_stopped", serve)
    return started


def test_serve_without_flags_has_the_defaults_of_its_configs(
    files: Path, sessions: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", str(files))
    assert main(["serve"]) == 0
    assert sessions == [(ReplicaConfig(), Address(), False)]


def test_serve_flags_set_model_address_and_replicas(files: Path, sessions: list) -> None:
    model = f"{files}/models/model_2_1.keras"
    flags = ["--host", "0.0.0.0", "--port", "9000", "--replicas", "3", "--replace"]
    assert main(["serve", "--model", model, *flags]) == 0
    assert sessions == [(ReplicaConfig(model=model, replicas=3), Address("0.0.0.0", 9000), True)]
