"""``synthray models …``: what it tells of models, and what promoting and going back print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synthray.cli.main import main
from tests.model.files import write_model


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``SYNTHRAY_HOME/models`` with two models of one name."""
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path))
    about = {
        "dataset": {"uri": "s3://bucket/data", "digest": "d" * 64, "holdout": {"first": 1000, "count": 24}},
        "config": {"data": "s3://bucket/data", "out": "here", "model": "notebook", "epochs": 3, "batch_size": 32},
    }
    write_model(tmp_path / "models", "mine/model_9_3.keras", b"x" * 1_500_000, 0, **about)
    write_model(tmp_path / "models", "mine/model_9_4.keras", b"y", 1, **about)
    return tmp_path / "models"


def test_ls_tells_every_model_the_newest_last(place: Path, capsys: pytest.CaptureFixture) -> None:
    write_model(place, "z_damaged/model_9_5.keras", hour=2)
    (place / "z_damaged/model_9_5.json").write_text("{}")
    main(["models", "promote", f"{place}/mine/model_9_3.keras"])
    capsys.readouterr()
    assert main(["models", "ls"]) == 0
    head, first, second, third = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "version", "epochs", "val_loss", "size", "sha256", "saved", "promoted"]
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d"
    assert re.fullmatch(rf"mine +model_9_3 +3 +1\.2500 +1\.5 MB +[0-9a-f]{{12}}  {time}  {time}", first)
    assert re.fullmatch(rf"mine +model_9_4 +3 +1\.2500 +0\.0 MB +[0-9a-f]{{12}}  {time}", second)
    assert head.index("promoted") == first.rindex("  ") + 2
    assert re.match(r"z_damaged +model_9_5 +corrupt: .* is not a model card", third)
    (place / "mine/model_9_3.keras").unlink()
    assert main(["models", "ls", str(place)]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"mine +model_9_3 +promoted, but its file is missing", last)


def test_show_tells_what_the_promoted_model_is(place: Path, capsys: pytest.CaptureFixture) -> None:
    main(["models", "promote", f"{place}/mine/model_9_3.keras"])
    capsys.readouterr()
    assert main(["models", "show"]) == 0
    shown = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["model"] == f"{place}/mine/model_9_3.keras"
    assert shown["name"] == "mine"
    assert re.fullmatch(r"model_9_3, for the service's clients \d+", shown["version"])
    assert re.fullmatch(rf"\S+ at {place}", shown["promoted"])
    assert (shown["data set"], shown["digest"]) == ("s3://bucket/data", "d" * 64)
    assert shown["held out"] == "24 examples from 1,000 on"
    assert shown["training"] == "epochs 3, model notebook, batch_size 32"
    assert shown["metrics"] == "epoch 3, val_loss 1.2500"
    assert shown["features"] == "5 x 7"
    assert shown["parameters"] == "6, of which 5 are learned"
    assert shown["file"].startswith("1.5 MB, saved 20")
    assert len(shown["sha256"]) == 64
    assert main(["models", "show", f"{place}/mine/model_9_4.keras"]) == 0
    assert f"promoted    no, not at {place}\n" in capsys.readouterr().out


def test_show_as_json_has_the_whole_card(place: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["models", "show", str(place), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["uri"] == f"{place}/mine/model_9_4.keras"
    assert (body["name"], body["version"], body["size"], body["promoted_at"]) == ("mine", "model_9_4", 1, None)
    assert body["card"] == json.loads((place / "mine/model_9_4.json").read_text())


def test_promote_and_rollback_say_what_is_served_and_what_was(place: Path, capsys: pytest.CaptureFixture) -> None:
    def say(*argv: str) -> str:
        assert main(["models", *argv]) == 0
        return capsys.readouterr().out

    first, second = (f"{place}/mine/model_9_{epochs}.keras" for epochs in (3, 4))
    assert say("promote", first) == f"{place} serves mine/model_9_3.keras\n"
    assert say("promote", second) == f"{place} serves mine/model_9_4.keras, before it was mine/model_9_3.keras\n"
    assert re.fullmatch(rf"{place} serves mine/model_9_4\.keras already, since \S+\n", say("promote", second))
    assert say("rollback") == f"{place} serves mine/model_9_3.keras, before it was mine/model_9_4.keras\n"
    assert say("promote", second, "--place", f"{place}/mine") == f"{place}/mine serves model_9_4.keras\n"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["ls", "{place}/none"], 1, "/none holds no model; jobs/train.py makes one"),
        (["show", "{place}/none"], 1, "/none holds no model. Run synthray train"),
        (["show", "{place}/none.keras"], 1, "there is no model at "),
        (["show", "{place}/mine/bare.keras"], 1, "has no card"),
        (["promote", "{place}/mine"], 2, "is not a .keras file"),
        (["promote", "{place}/mine/bare.keras"], 1, "has no card"),
        (["promote", "{place}/mine/model_9_3.keras", "--place", "{place}/other"], 2, "is not below the registry"),
        (["rollback"], 1, "nothing is promoted at "),
        (["rollback", "ftp://x"], 2, "unknown scheme ftp://"),
    ],
)
def test_a_failure_is_one_line(
    place: Path, argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    (place / "mine/bare.keras").write_bytes(b"")
    assert main(["models", *(part.format(place=place) for part in argv)]) == code
    told = capsys.readouterr().err
    assert told.startswith("synthray: ")
    assert message in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("command", ["ls", "show", "promote", "rollback"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as told:
        main(["models", command, "--help"])
    assert told.value.code == 0
    assert f"examples:\n  synthray models {command}" in capsys.readouterr().out


def test_it_imports_neither_ray_nor_tensorflow(place: Path) -> None:
    code = (
        "import sys; from synthray.cli.main import main\n"
        f"main(['models', 'promote', '{place}/mine/model_9_3.keras']); main(['models', 'show'])\n"
        "print([name for name in ('ray', 'tensorflow', 'keras') if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"
