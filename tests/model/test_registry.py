"""Registries: promotion, rollback, missing and changed models, and listing."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synthray.errors import ConfigError, ModelError, NotFound
from synthray.model.registry import (
    PROMOTIONS_FILE,
    find_model,
    list_models,
    model_number,
    promote,
    promoted,
    registry_of,
    rollback,
    served_model,
)
from synthray.model.saved import resolve_model
from synthray.storage import open_store
from synthray.storage.local import LocalStore
from tests.model.files import write_model

GOOD = (
    b'{"format": "synthray-promoted/1", "versions": VERSIONS,'
    b' "history": [{"model": "x.keras", "sha256": "", "promoted_at": ""}]}'
)
"""A file of promotions without its versions."""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``SYNTHRAY_HOME/models`` with three models, the newest last."""
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path))
    for hour, path in enumerate(["a/model_9_3.keras", "a/model_9_4.keras", "b/deep/model_1_1.keras"]):
        write_model(tmp_path / "models", path, path.encode(), hour)
    return tmp_path / "models"


def test_served_model_is_the_promoted_one_or_else_the_newest(registry: Path) -> None:
    newest = f"{registry}/b/deep/model_1_1.keras"
    assert served_model() == served_model(str(registry)) == newest
    began = datetime.now(UTC).replace(microsecond=0)
    change = promote(f"{registry}/a/model_9_3.keras")
    assert (change.registry, change.before, change.now.model) == (str(registry), None, "a/model_9_3.keras")
    assert began <= datetime.fromisoformat(change.now.promoted_at) <= datetime.now(UTC)
    assert served_model() == served_model(str(registry)) == f"{registry}/a/model_9_3.keras"
    assert served_model(newest) == newest
    assert resolve_model() == newest  # evaluation still takes the newest
    assert served_model(f"{registry}/a") == f"{registry}/a/model_9_4.keras"  # a registry of its own


def test_rollback_undoes_one_promotion_at_a_time(registry: Path) -> None:
    with pytest.raises(NotFound, match=f"nothing is promoted at {registry}"):
        rollback()
    for path in ("a/model_9_3.keras", "a/model_9_4.keras", "a/model_9_3.keras", "b/deep/model_1_1.keras"):
        promote(f"{registry}/{path}")
    for path in ("a/model_9_3.keras", "a/model_9_4.keras", "a/model_9_3.keras"):
        assert rollback().now.model == path
        assert served_model() == f"{registry}/{path}"
    with pytest.raises(NotFound, match=r"nothing was promoted at .* before a/model_9_3\.keras\. Promote another model"):
        rollback(str(registry))
    assert served_model() == f"{registry}/a/model_9_3.keras"


def test_promote_of_the_promoted_model_changes_nothing(registry: Path) -> None:
    promote(f"{registry}/a/model_9_3.keras")
    before = (registry / PROMOTIONS_FILE).read_bytes()
    change = promote(f"{registry}/a/model_9_3.keras")
    assert change.before == change.now
    assert (registry / PROMOTIONS_FILE).read_bytes() == before


def test_promote_of_a_retrained_model_is_a_new_promotion(registry: Path) -> None:
    uri = f"{registry}/a/model_9_3.keras"
    promote(uri)
    write_model(registry, "a/model_9_3.keras", b"other")
    with pytest.raises(ModelError, match="has changed since it was promoted"):
        served_model()
    assert promote(uri).before is not None
    assert served_model() == uri
    with pytest.raises(ModelError, match="has changed since it was promoted"):
        rollback()  # the file of the earlier promotion was replaced


def test_promote_of_an_unusable_model_raises_and_changes_nothing(registry: Path) -> None:
    uri, card = registry / "a/model_9_3.keras", registry / "a/model_9_3.json"
    with pytest.raises(NotFound, match=r"there is no model at .*nothing\.keras"):
        promote(f"{registry}/nothing.keras")
    with pytest.raises(ConfigError, match=r"is not a \.keras file\. Run synthray models ls"):
        promote(str(registry))
    with pytest.raises(ConfigError, match=r"model_9_3\.keras is not below the registry .*/b\. Name a folder above it"):
        promote(str(uri), f"{registry}/b")
    with pytest.raises(ConfigError, match=r"its card would be overwritten by promoted\.json"):
        promote(write_model(registry, "promoted.keras"))
    (registry / PROMOTIONS_FILE).unlink()
    uri.write_bytes(b"corrupt")
    with pytest.raises(ModelError, match="does not match its card"):
        promote(str(uri))
    card.unlink()
    with pytest.raises(NotFound, match="has no card"):
        promote(str(uri))
    assert promoted(str(registry)) is None


def test_served_model_missing_raises_not_found_instead_of_serving_another(registry: Path) -> None:
    promote(f"{registry}/a/model_9_3.keras")
    promote(f"{registry}/a/model_9_4.keras")
    (registry / "a/model_9_4.keras").unlink()
    with pytest.raises(
        NotFound,
        match=rf"model_9_4\.keras was promoted, but its file is missing\. Run .* rollback --registry {registry}, or",
    ):
        served_model()
    assert rollback().now.model == "a/model_9_3.keras"
    promote(f"{registry}/b/deep/model_1_1.keras")
    (registry / "a/model_9_3.keras").write_bytes(b"corrupt")
    with pytest.raises(ModelError, match="does not match its card"):
        rollback()
    assert served_model() == f"{registry}/b/deep/model_1_1.keras"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"format": "synthray-promoted/2", "history": [{}]}',
        b'{"format": "synthray-promoted/1", "history": []}',
        b'{"format": "synthray-promoted/1", "history": [{"model": "a/model_9_3.keras"}]}',
        b'{"format": "synthray-promoted/1", "history": [{"model": "../x.keras", "sha256": "", "promoted_at": ""}]}',
        GOOD.replace(b"VERSIONS", b'{"x": 1, "y": 1}'),
        GOOD.replace(b"VERSIONS", b'{"x": 0}'),
        GOOD.replace(b"VERSIONS", b'{"x": "1"}'),
        GOOD.replace(b"VERSIONS", b"3"),
        b'{"format": "synthray-promoted/1", "history": [{"model": 3, "sha256": "", "promoted_at": ""}]}',
    ],
)
def test_corrupt_promotions_file_raises_model_error(registry: Path, content: bytes) -> None:
    (registry / PROMOTIONS_FILE).write_bytes(content)
    for ask in (served_model, rollback, lambda: promote(f"{registry}/a/model_9_3.keras")):
        with pytest.raises(ModelError, match=rf"{registry}/{PROMOTIONS_FILE} is corrupt .*\. Delete it"):
            ask()


def test_list_models_reports_the_problem_of_each_model(registry: Path) -> None:
    write_model(registry, "a/checkpoints/0123/model_7_7.keras")
    write_model(registry, "logs/train/model_8_8.keras")
    promote(f"{registry}/a/model_9_4.keras")
    (registry / "a/model_9_3.json").write_text("{}")
    (registry / "b/deep/model_1_1.json").unlink()
    write_model(registry, "model_2_2.keras", hour=9)
    (registry / "model_2_2.json").write_text((registry / "model_2_2.json").read_text().replace('"range"', '"rnage"'))
    first, second, third, last = list_models(str(registry))
    assert (first.name, first.version, first.card) == ("a", "model_9_3", None)
    assert "corrupt: " in first.problem
    assert "is not a model card" in first.problem
    assert (second.name, second.version, second.problem, second.size) == ("a", "model_9_4", "", 17)
    assert second.promoted_at
    assert second.card is not None
    assert second.card.metrics == {"epoch": 3, "val_loss": 1.25}
    assert (third.name, third.uri) == ("b/deep", f"{registry}/b/deep/model_1_1.keras")
    assert "has no card" in third.problem
    assert (last.name, last.version) == ("models", "model_2_2")
    assert "rnage" in last.problem
    assert not any(model.promoted_at for model in (first, third, last))
    assert find_model(second.uri, str(registry)) == second


def test_list_models_reports_a_promoted_model_that_is_missing_or_changed(registry: Path) -> None:
    promote(f"{registry}/a/model_9_4.keras")
    write_model(registry, "a/model_9_4.keras", b"other", hour=1)
    assert [model.problem for model in list_models(str(registry))] == ["", "has changed since", ""]
    (registry / "a/model_9_4.keras").unlink()
    *_, gone = list_models(str(registry))
    assert (gone.version, gone.problem, bool(gone.promoted_at)) == ("model_9_4", "its file is missing", True)


def numbers(registry: Path | str) -> dict[str, int]:
    return {model.path: model.number for model in list_models(str(registry))}


def test_numbers_without_promotion_follow_the_times_of_usable_models(registry: Path) -> None:
    write_model(registry, "0/corrupt.keras", b"0", hour=0)
    (registry / "0/corrupt.json").write_text("{}")
    assert numbers(registry) == {
        "0/corrupt.keras": 0,
        "a/model_9_3.keras": 1,
        "a/model_9_4.keras": 2,
        "b/deep/model_1_1.keras": 3,
    }
    assert numbers(registry / "b") == {"deep/model_1_1.keras": 1}  # a registry of its own
    assert find_model(f"{registry}/a/model_9_4.keras", str(registry)).number == 2


def test_numbers_after_promotion_are_kept_and_never_given_again(registry: Path) -> None:
    promote(f"{registry}/a/model_9_4.keras")
    write_model(registry, "c/early.keras", b"5", hour=-2)
    write_model(registry, "c/earlier.keras", b"4", hour=-3)
    expected = {"a/model_9_3.keras": 1, "a/model_9_4.keras": 2, "b/deep/model_1_1.keras": 3}
    assert numbers(registry) == expected | {"c/earlier.keras": 4, "c/early.keras": 5}
    promote(f"{registry}/c/early.keras")
    rollback()
    (registry / "a/model_9_3.keras").unlink()
    (registry / "c/early.keras").unlink()
    write_model(registry, "b/deep/model_1_1.keras", b"trained again", hour=9)
    assert numbers(registry) == {"a/model_9_4.keras": 2, "b/deep/model_1_1.keras": 6, "c/earlier.keras": 4}
    promote(f"{registry}/b/deep/model_1_1.keras")
    (registry / "b/deep/model_1_1.keras").unlink()
    assert numbers(registry)["b/deep/model_1_1.keras"] == 6


def test_numbers_with_promotions_of_an_earlier_release_are_frozen_at_the_next(registry: Path) -> None:
    promote(f"{registry}/b/deep/model_1_1.keras")
    file = registry / PROMOTIONS_FILE
    body = json.loads(file.read_text())
    del body["versions"]
    file.write_text(json.dumps(body))
    assert list(numbers(registry).values()) == [1, 2, 3]
    assert promote(f"{registry}/a/model_9_4.keras").before is not None
    assert sorted(json.loads(file.read_text())["versions"].values()) == [1, 2, 3]


def test_model_number_counts_in_the_registry_above_or_else_in_its_own(registry: Path, tmp_path: Path) -> None:
    newest = f"{registry}/b/deep/model_1_1.keras"
    assert model_number(newest) == model_number(newest, str(registry)) == model_number(newest, f"{registry}/a") == 3
    assert model_number(newest, f"{registry}/b") == 1
    assert model_number(write_model(tmp_path / "other", "x.keras"), str(registry)) == 1
    promote(newest)
    assert model_number(newest) == 3
    assert model_number(write_model(registry, "a/checkpoints/x.keras", b"not listed")) == 4
    with pytest.raises(NotFound, match="has no card"):
        model_number(f"{registry}/none.keras")


def test_registry_of_a_model_is_the_home_registry_or_its_own_folder(registry: Path, tmp_path: Path) -> None:
    assert registry_of(f"{registry}/a/model_9_3.keras") == str(registry)
    assert registry_of(f"{registry}/a/../a/model_9_3.keras") == str(registry)
    other = write_model(tmp_path / "models-of-others", "model_9_3.keras")
    assert registry_of(other) == str(tmp_path / "models-of-others")
    assert registry_of("s3://bucket/models/x/model_9_3.keras") == "s3://bucket/models/x"
    (tmp_path / "link").symlink_to(registry)
    assert promote(f"{tmp_path}/link/a/model_9_3.keras").now.model == "a/model_9_3.keras"


def test_promote_keeps_a_simultaneous_first_promotion(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = LocalStore.write

    def write(store: LocalStore, path: str, data: bytes, **options: bool) -> None:
        monkeypatch.setattr(LocalStore, "write", original)
        promote(f"{registry}/a/model_9_3.keras")  # another process, between our read and our write
        original(store, path, data, **options)

    monkeypatch.setattr(LocalStore, "write", write)
    change = promote(f"{registry}/a/model_9_4.keras")
    assert change.before is not None
    assert change.before.model == "a/model_9_3.keras"
    assert [entry["model"] for entry in json.loads((registry / PROMOTIONS_FILE).read_text())["history"]] == [
        "a/model_9_3.keras",
        "a/model_9_4.keras",
    ]


def test_served_model_during_promotions_is_one_of_the_promoted(registry: Path) -> None:
    uris = [f"{registry}/a/model_9_3.keras", f"{registry}/a/model_9_4.keras"]
    promote(uris[0])
    threads = [threading.Thread(target=lambda uri=uri: [promote(uri) for _ in range(50)]) for uri in uris]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        seen.append(served_model())
    assert seen
    assert set(seen) <= set(uris)


@pytest.mark.s3
def test_registry_on_s3_promotes_lists_and_rolls_back(on_s3: str) -> None:
    registry = open_store(f"{on_s3}/models").uri
    first, second = (write_model(registry, f"{name}/model_9_3.keras", name.encode()) for name in ("first", "second"))
    with pytest.raises(NotFound, match="nothing is promoted at s3://"):
        rollback(registry)
    assert served_model(registry) in (first, second)  # S3 stores whole seconds, so either may be the newest
    assert promote(first, registry).before is None
    assert served_model(registry) == first
    promote(second, registry)
    assert [bool(model.promoted_at) for model in list_models(registry)] == [
        model.uri == second for model in list_models(registry)
    ]
    assert rollback(registry).now.model == "first/model_9_3.keras"
    assert served_model(registry) == first
    assert find_model(first, registry).promoted_at
    open_store(registry).delete("first/model_9_3.keras")
    with pytest.raises(NotFound, match=f"{first} was promoted, but its file is missing"):
        served_model(registry)
