"""``synthray serve``: how flags become configurations. Nothing is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synthray.cli.main import main
from synthray.serve.config import Address, ReplicaConfig
from tests.cli.conftest import assert_fails


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ReplicaConfig, Address, bool]]:
    started: list[tuple[ReplicaConfig, Address, bool]] = []

    def serve(config: ReplicaConfig, address: Address, *, take_over: bool, verbose: bool) -> None:
        started.append((config, address, take_over))

    monkeypatch.setattr("synthray.cluster.serving.session.serve_until_stopped", serve)
    return started


def test_serve_without_flags_has_the_defaults_of_its_configs(
    files: Path, sessions: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", str(files))
    assert main(["serve"]) == 0
    assert sessions == [(ReplicaConfig(), Address(), False)]


def test_serve_flags_set_model_address_and_replicas(files: Path, sessions: list) -> None:
    model = f"{files}/models/model_2_1.keras"
    flags = ["--host", "0.0.0.0", "--port", "9000", "--grpc-port", "9001", "--replicas", "3", "--replace"]
    assert main(["serve", "--model", model, *flags]) == 0
    assert sessions == [(ReplicaConfig(model=model, replicas=3), Address("0.0.0.0", 9000, grpc_port=9001), True)]


def test_serve_flags_set_canary_limits_and_tls(files: Path, sessions: list) -> None:
    model, pem = f"{files}/models/model_2_1.keras", f"{files}/pem"
    Path(pem).write_text("")
    flags = ["--canary", model, "--canary-percent", "2.5", "--max-refine-s", "5", "--max-body-mib", "0.5"]
    flags += ["--max-waiting", "7", "--max-sounds", "3", "--max-searches", "4", "--body-timeout-s", "2.5"]
    flags += ["--allow-origin", "https://a.org", "--allow-origin", "https://b.org", "--tls-cert", pem, "--tls-key", pem]
    assert main(["serve", "--model", model, *flags]) == 0
    [(config, address, _)] = sessions
    assert config == ReplicaConfig(
        model=model,
        canary=model,
        canary_percent=2.5,
        max_refine_s=5.0,
        max_body_bytes=2**19,
        max_waiting=7,
        max_sounds=3,
        max_searches=4,
        body_timeout_s=2.5,
        allow_origins=("https://a.org", "https://b.org"),
    )
    assert address.url == "https://127.0.0.1:8000"


@pytest.mark.parametrize("joins", [False, True])
def test_serve_haproxy_sets_the_environment_of_a_new_ray_only(
    files: Path, sessions: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], joins: bool
) -> None:
    monkeypatch.setattr("os.environ", {"RAY_ADDRESS": "127.0.0.1:6379"} if joins else {})
    flags = ["serve", "--model", f"{files}/models/model_2_1.keras", "--haproxy", "--host", "0.0.0.0"]
    assert main(flags) == (2 if joins else 0)
    assert len(sessions) == (not joins)
    assert os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == (None if joins else "1")
    expected = "Set RAY_SERVE_ENABLE_HA_PROXY=1 where Ray is started" if joins else "Set SYNTHRAY_API_TOKEN"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--canary", "none.keras"], 1, "none.keras"),
        (["--canary-percent", "101"], 2, "canary_percent is 101.0, expected 0 to 100"),
        (["--max-body-mib", "0"], 2, "--max-body-mib is 0.0. Give a number of MiB above 0."),
        (["--tls-cert", "none.pem"], 2, "TLS needs both"),
        (["--no-ray", "--replicas", "2"], 2, "--no-ray: it has no replicas"),
        (["--no-ray", "--haproxy"], 2, "Leave out --replicas, --replace and --haproxy"),
        (["--haproxy"], 2, "HAProxy listens at 0.0.0.0:8000 only"),
    ],
)
def test_serve_invalid_flag_is_one_line(
    files: Path, sessions: list, flags: list[str], code: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    assert_fails(["serve", "--model", f"{files}/models/model_2_1.keras", *flags], code, message, capsys)
    assert sessions == []


@pytest.mark.parametrize(
    ("host", "token", "warns"), [("0.0.0.0", None, True), ("0.0.0.0", "secret", False), ("127.0.0.1", None, False)]
)
def test_serve_open_to_other_machines_without_token_warns(
    files: Path,
    sessions: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    host: str,
    token: str | None,
    warns: bool,
) -> None:
    monkeypatch.delenv("SYNTHRAY_API_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("SYNTHRAY_API_TOKEN", token)
    assert main(["serve", "--model", f"{files}/models/model_2_1.keras", "--host", host]) == 0
    assert len(sessions) == 1
    warning = "0.0.0.0:8000: open to every machine that can reach it. Set SYNTHRAY_API_TOKEN to require a token.\n"
    assert capsys.readouterr().err == (warning if warns else "")


def test_serve_with_an_empty_token_is_an_error(
    files: Path, sessions: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("SYNTHRAY_API_TOKEN", "")
    flags = ["serve", "--model", f"{files}/models/model_2_1.keras", "--host", "0.0.0.0"]
    assert_fails(flags, 2, "SYNTHRAY_API_TOKEN: holds no token", capsys)
    assert sessions == []
