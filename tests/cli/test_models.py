"""``synthray models``: listing, showing, promoting and rolling back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synthray.cli.main import main
from tests.cli.conftest import assert_fails
from tests.model.files import write_model


@pytest.fixture
def registry(home: Path) -> Path:
    """``SYNTHRAY_HOME/models`` with two versions of one model."""
    about = {
        "dataset": {"uri": "s3://bucket/data", "digest": "d" * 64, "holdout": {"first": 1000, "count": 24}},
        "config": {"data": "s3://bucket/data", "out": "here", "network": "notebook", "epochs": 3, "batch_size": 32},
    }
    write_model(home / "models", "mine/model_9_3.keras", b"x" * 1_500_000, 0, **about)
    write_model(home / "models", "mine/model_9_4.keras", b"y", 1, **about)
    return home / "models"


def test_ls_lists_models_by_time_and_marks_corrupt_ones(registry: Path, capsys: pytest.CaptureFixture) -> None:
    write_model(registry, "z_corrupt/model_9_5.keras", hour=2)
    (registry / "z_corrupt/model_9_5.json").write_text("{}")
    main(["models", "promote", f"{registry}/mine/model_9_3.keras"])
    capsys.readouterr()
    assert main(["models", "ls"]) == 0
    head, first, second, third = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "version", "number", "epochs", "val_loss", "size", "sha256", "saved", "promoted"]
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d"
    assert re.fullmatch(rf"mine +model_9_3 +1 +3 +1\.2500 +1\.5 MB +[0-9a-f]{{12}}  {time}  {time}", first)
    assert re.fullmatch(rf"mine +model_9_4 +2 +3 +1\.2500 +0\.0 MB +[0-9a-f]{{12}}  {time}", second)
    assert head.index("promoted") == first.rindex("  ") + 2
    assert re.match(r"z_corrupt +model_9_5 +corrupt: .* is not a model card", third)
    (registry / "mine/model_9_3.keras").unlink()
    assert main(["models", "ls", str(registry)]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"mine +model_9_3 +promoted, but .+", last)


def test_show_prints_the_card_of_the_promoted_model(registry: Path, capsys: pytest.CaptureFixture) -> None:
    main(["models", "promote", f"{registry}/mine/model_9_3.keras"])
    capsys.readouterr()
    assert main(["models", "show"]) == 0
    shown = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["model"] == f"{registry}/mine/model_9_3.keras"
    assert shown["name"] == "mine"
    assert shown["version"] == f"model_9_3, number 1 in {registry}"
    assert re.fullmatch(rf"\S+ in {registry}", shown["promoted"])
    assert (shown["data set"], shown["digest"]) == ("s3://bucket/data", "d" * 64)
    assert shown["held out"] == "24 examples from 1,000 on"
    assert shown["training"] == "epochs 3, network notebook, batch_size 32"
    assert shown["metrics"] == "epoch 3, val_loss 1.2500"
    assert shown["features"] == "5 x 7"
    assert shown["parameters"] == "6, of which 5 are learned"
    assert shown["file"].startswith("1.5 MB, saved 20")
    assert len(shown["sha256"]) == 64
    assert main(["models", "show", f"{registry}/mine/model_9_4.keras"]) == 0
    assert f"promoted    no, not in {registry}\n" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["shipped"]])
def test_show_without_own_models_prints_the_card_of_the_shipped_one(
    argv: list[str], home: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["models", "show", *argv]) == 0
    assert re.search(r"^version +shipped, number 1 in .*/model/shipped$", capsys.readouterr().out, re.MULTILINE)


def test_show_json_contains_the_complete_card(registry: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["models", "show", str(registry), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["uri"] == f"{registry}/mine/model_9_4.keras"
    assert (body["name"], body["version"], body["size"], body["promoted_at"]) == ("mine", "model_9_4", 1, None)
    assert body["number"] == 2
    assert body["card"] == json.loads((registry / "mine/model_9_4.json").read_text())


def test_promote_and_rollback_print_the_served_and_the_previous_model(
    registry: Path, capsys: pytest.CaptureFixture
) -> None:
    def printed(*argv: str) -> str:
        assert main(["models", *argv]) == 0
        return capsys.readouterr().out

    first, second = (f"{registry}/mine/model_9_{epochs}.keras" for epochs in (3, 4))
    assert printed("promote", first) == f"{registry} now serves mine/model_9_3.keras\n"
    assert printed("promote", second) == f"{registry} now serves mine/model_9_4.keras, before mine/model_9_3.keras\n"
    assert re.fullmatch(rf"{registry} already serves mine/model_9_4\.keras, since \S+\n", printed("promote", second))
    assert printed("rollback") == f"{registry} now serves mine/model_9_3.keras, before mine/model_9_4.keras\n"
    assert (
        printed("promote", second, "--registry", f"{registry}/mine") == f"{registry}/mine now serves model_9_4.keras\n"
    )


def test_rollback_command_of_an_error_message_works(registry: Path, capsys: pytest.CaptureFixture) -> None:
    for epochs in (3, 4):
        assert main(["models", "promote", f"{registry}/mine/model_9_{epochs}.keras"]) == 0
    (registry / "mine/model_9_4.keras").unlink()
    assert main(["models", "show"]) == 1
    command = re.search(r"synthray (models rollback \S+ [^\s,`]+)", capsys.readouterr().err)
    assert command
    assert main(command[1].split()) == 0
    assert capsys.readouterr().out.startswith(f"{registry} now serves mine/model_9_3.keras")


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["ls", "{registry}/none"], 1, "/none: no model here. Make one with `synthray train`."),
        (["show", "{registry}/none"], 1, "no model"),
        (["show", "{registry}/none.keras"], 1, "no model"),
        (["show", "{registry}/mine/bare.keras"], 1, "no card"),
        (["promote", "{registry}/mine"], 2, ".keras file"),
        (["promote", "{registry}/mine/bare.keras"], 1, "no card"),
        (["promote", "{registry}/mine/model_9_3.keras", "--registry", "{registry}/other"], 2, "/other"),
        (["rollback"], 1, "promote"),
        (["rollback", "--registry", "ftp://x"], 2, "ftp://"),
    ],
)
def test_a_failure_is_one_line(
    registry: Path, argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    (registry / "mine/bare.keras").write_bytes(b"")
    assert_fails(["models", *(part.format(registry=registry) for part in argv)], code, message, capsys)


def test_models_commands_import_neither_ray_nor_tensorflow(registry: Path) -> None:
    code = (
        "import sys; from synthray.cli.main import main\n"
        f"main(['models', 'promote', '{registry}/mine/model_9_3.keras']); main(['models', 'show'])\n"
        "print([name for name in ('ray', 'tensorflow', 'keras') if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"
