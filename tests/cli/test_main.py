"""The command line as a whole: commands, help, usage errors, imports and the scripts in ``jobs/``."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from infra.ray_head import REPOSITORY
from synthray.cli.main import COMMANDS, main
from tests.cli.conftest import assert_fails

JOBS = sorted((REPOSITORY / "jobs").glob("*.py"))


def help_of(*argv: str, capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as exited:
        main([*argv, "--help"])
    assert exited.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_on_one_line(capsys: pytest.CaptureFixture) -> None:
    lines = help_of(capsys=capsys).splitlines()
    for name, summary in COMMANDS.items():
        assert f"    {name:<10}{summary}" in lines
    assert "  synthray match sound.wav --out preset.json --wav match.wav" in lines


GROUPED = ("data ls", "data show", "data stats", "data verify")
GROUPED += ("models ls", "models show", "models promote", "models rollback")


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPED])
def test_help_of_a_command_has_examples(name: str, capsys: pytest.CaptureFixture) -> None:
    text = help_of(*name.split(), capsys=capsys)
    assert f"usage: synthray {name} " in text
    assert f"examples:\n  synthray {name}" in text


@pytest.mark.parametrize(
    "argv", [[], ["match"], ["render", "x"], ["nothing"], ["data"], ["models"], ["train", "--epoch", "3"]]
)
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exited:
        main(argv)
    assert exited.value.code == 2
    assert "usage: synthray" in capsys.readouterr().err


@pytest.mark.parametrize("position", [0, 2])
def test_verbose_before_or_after_the_command_shows_the_traceback(
    position: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = ["data", "show", str(tmp_path)]
    assert main([*argv[:position], "--verbose", *argv[position:]]) == 1
    errors = capsys.readouterr().err
    assert "Traceback" in errors
    assert errors.splitlines()[-1].startswith("synthray: ")


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["generate", "--batches", "0"], 2, "batches is 0"),
        (["generate", "--dtype", "float16"], 2, "--dtype needs --format parquet"),
        (["convert"], 1, "/batches: no batches here. Make some with `synthray generate`, or give --source."),
        (["train"], 1, "/data: no data set here. Make one with `synthray generate` and `synthray convert`"),
        (["tune"], 1, "/data: no data set here. Make one with `synthray generate` and `synthray convert`"),
        (["evaluate"], 1, "no model"),
        (["serve", "--model", "none"], 1, "no model"),
        (["serve", "--replicas", "0"], 2, "replicas is 0"),
    ],
)
def test_a_failure_before_ray_starts_is_one_line(
    home: Path, argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    assert_fails(argv, code, message, capsys)


def loaded(script: str, *names: str, argv: tuple[str, ...] = ()) -> list[str]:
    """Run a script in a new process and return those of the modules ``names`` that it has imported."""
    script += f"\nimport json; print(json.dumps([n for n in {names!r} if n in sys.modules]), file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", script, *argv], cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stderr.splitlines()[-1])


def test_parsing_any_command_imports_neither_ray_nor_tensorflow_nor_numba() -> None:
    script = (
        "import sys; from synthray.cli.main import COMMANDS, build_parser\n"
        "build_parser(list(COMMANDS)).format_help()\n"
        "assert 'synthray.cli.models' in sys.modules"
    )
    assert loaded(script, "ray", "tensorflow", "keras", "numba", "scipy.stats") == []


def test_parsing_without_a_command_imports_no_library() -> None:
    script = "import sys; from synthray.cli.main import build_parser\nbuild_parser(['--help']).format_help()"
    assert loaded(script, "numpy", "pyarrow", "boto3") == []


@pytest.mark.slow
def test_render_and_match_import_neither_ray_nor_tensorflow(files: Path, tmp_path: Path) -> None:
    script = "import sys; from synthray.cli.main import main\nassert main(sys.argv[1:]) == 0"
    render = ("render", str(files / "preset.json"), "--out", str(tmp_path / "a.wav"))
    heavy = ("ray", "tensorflow", "keras", "scipy.signal")
    assert loaded(script, *heavy, argv=render) == []
    match = ("match", str(files / "sound.wav"), "--model", str(files / "models"), "--out", str(tmp_path / "a.json"))
    assert loaded(script, *heavy, argv=match) == []


def test_commands_multiply_matrices_in_one_thread_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in ((None, "1"), ("2", "2")):
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", given or "")
        if given is None:
            monkeypatch.delenv("OPENBLAS_NUM_THREADS")
        with pytest.raises(SystemExit):
            main(["--version"])
        assert os.environ["OPENBLAS_NUM_THREADS"] == expected


def test_jobs_are_the_commands_that_need_a_cluster() -> None:
    assert [job.stem for job in JOBS] == ["convert", "evaluate", "generate", "serve", "train", "tune"]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_a_job_calls_its_command(job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert len(job.read_text().splitlines()) <= 10
    monkeypatch.setattr(sys, "argv", [str(job), "--help"])
    with pytest.raises(SystemExit) as exited:
        runpy.run_path(str(job), run_name="__main__")
    assert exited.value.code == 0
    assert f"-- python jobs/{job.name}" in capsys.readouterr().out


def test_a_job_returns_the_exit_code(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["jobs/train.py"])
    with pytest.raises(SystemExit) as exited:
        runpy.run_path(str(REPOSITORY / "jobs" / "train.py"), run_name="__main__")
    assert exited.value.code == 1
