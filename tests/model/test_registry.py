"""Which model a place serves: promoted, put back, gone, changed; and what is listed."""

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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``SYNTHRAY_HOME/models``, with three models of which the last is the newest."""
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path))
    for hour, path in enumerate(["a/model_9_3.keras", "a/model_9_4.keras", "b/deep/model_1_1.keras"]):
        write_model(tmp_path / "models", path, path.encode(), hour)
    return tmp_path / "models"


def test_a_place_serves_the_promoted_model_or_else_the_newest(place: Path) -> None:
    newest = f"{place}/b/deep/model_1_1.keras"
    assert served_model() == served_model(str(place)) == newest
    began = datetime.now(UTC).replace(microsecond=0)
    change = promote(f"{place}/a/model_9_3.keras")
    assert (change.place, change.before, change.now.model) == (str(place), None, "a/model_9_3.keras")
    assert began <= datetime.fromisoformat(change.now.promoted_at) <= datetime.now(UTC)
    assert served_model() == served_model(str(place)) == f"{place}/a/model_9_3.keras"
    assert served_model(newest) == newest
    assert resolve_model() == newest  # what was trained last is still what is scored
    assert served_model(f"{place}/a") == f"{place}/a/model_9_4.keras"  # a place of its own


def test_rollback_goes_back_one_promotion_at_a_time(place: Path) -> None:
    with pytest.raises(NotFound, match=f"nothing is promoted at {place}"):
        rollback()
    for path in ("a/model_9_3.keras", "a/model_9_4.keras", "a/model_9_3.keras", "b/deep/model_1_1.keras"):
        promote(f"{place}/{path}")
    for path in ("a/model_9_3.keras", "a/model_9_4.keras", "a/model_9_3.keras"):
        assert rollback().now.model == path
        assert served_model() == f"{place}/{path}"
    with pytest.raises(NotFound, match=r"nothing was promoted at .* before a/model_9_3\.keras; promote another one"):
        rollback(str(place))
    assert served_model() == f"{place}/a/model_9_3.keras"


def test_promoting_what_is_promoted_changes_nothing(place: Path) -> None:
    promote(f"{place}/a/model_9_3.keras")
    before = (place / PROMOTIONS_FILE).read_bytes()
    change = promote(f"{place}/a/model_9_3.keras")
    assert change.before == change.now
    assert (place / PROMOTIONS_FILE).read_bytes() == before


def test_a_model_trained_anew_is_promoted_anew(place: Path) -> None:
    uri = f"{place}/a/model_9_3.keras"
    promote(uri)
    write_model(place, "a/model_9_3.keras", b"other")
    with pytest.raises(ModelError, match="has changed since it was promoted"):
        served_model()
    assert promote(uri).before is not None
    assert served_model() == uri
    with pytest.raises(ModelError, match="has changed since it was promoted"):
        rollback()  # the file that was meant before is no more


def test_what_cannot_be_promoted_is_told_and_nothing_is_changed(place: Path) -> None:
    uri, card = place / "a/model_9_3.keras", place / "a/model_9_3.json"
    with pytest.raises(NotFound, match=r"there is no model at .*nothing\.keras"):
        promote(f"{place}/nothing.keras")
    with pytest.raises(ConfigError, match=r"names no \.keras file; synthray models ls shows"):
        promote(str(place))
    with pytest.raises(ConfigError, match=r"model_9_3\.keras does not lie below .*/b; name a folder above it"):
        promote(str(uri), f"{place}/b")
    with pytest.raises(ConfigError, match="its card has the name of the alias"):
        promote(write_model(place, "promoted.keras"))
    (place / PROMOTIONS_FILE).unlink()
    uri.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="is not the file that its card describes"):
        promote(str(uri))
    card.unlink()
    with pytest.raises(NotFound, match="has no card"):
        promote(str(uri))
    assert promoted(str(place)) is None


def test_a_promoted_model_that_is_gone_is_told_and_no_other_is_served(place: Path) -> None:
    promote(f"{place}/a/model_9_3.keras")
    promote(f"{place}/a/model_9_4.keras")
    (place / "a/model_9_4.keras").unlink()
    with pytest.raises(
        NotFound, match=rf"model_9_4\.keras was promoted, and is gone: synthray models rollback --registry {place}"
    ):
        served_model()
    assert rollback().now.model == "a/model_9_3.keras"
    promote(f"{place}/b/deep/model_1_1.keras")
    (place / "a/model_9_3.keras").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="is not the file that its card describes"):
        rollback()
    assert served_model() == f"{place}/b/deep/model_1_1.keras"


@pytest.mark.parametrize(
    "alias",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"format": "synthray-promoted/2", "history": [{}]}',
        b'{"format": "synthray-promoted/1", "history": []}',
        b'{"format": "synthray-promoted/1", "history": [{"model": "a/model_9_3.keras"}]}',
        b'{"format": "synthray-promoted/1", "history": [{"model": "../x.keras", "sha256": "", "promoted_at": ""}]}',
        b'{"format": "synthray-promoted/1", "history": [{"model": 3, "sha256": "", "promoted_at": ""}]}',
    ],
)
def test_a_damaged_alias_is_told(place: Path, alias: bytes) -> None:
    (place / PROMOTIONS_FILE).write_bytes(alias)
    for ask in (served_model, rollback, lambda: promote(f"{place}/a/model_9_3.keras")):
        with pytest.raises(ModelError, match=rf"{place}/{PROMOTIONS_FILE} does not say what is promoted .*; remove it"):
            ask()


def test_models_are_listed_with_what_is_wrong_with_them(place: Path) -> None:
    write_model(place, "a/checkpoints/0123/model_7_7.keras")
    write_model(place, "logs/train/model_8_8.keras")
    promote(f"{place}/a/model_9_4.keras")
    (place / "a/model_9_3.json").write_text("{}")
    (place / "b/deep/model_1_1.json").unlink()
    write_model(place, "model_2_2.keras", hour=9)
    (place / "model_2_2.json").write_text((place / "model_2_2.json").read_text().replace('"range"', '"rnage"'))
    first, second, third, last = list_models(str(place))
    assert (first.name, first.version, first.card) == ("a", "model_9_3", None)
    assert "damaged: " in first.problem
    assert "is not a model card" in first.problem
    assert (second.name, second.version, second.problem, second.size) == ("a", "model_9_4", "", 17)
    assert second.promoted_at
    assert second.card is not None
    assert second.card.metrics == {"epoch": 3, "val_loss": 1.25}
    assert (third.name, third.uri) == ("b/deep", f"{place}/b/deep/model_1_1.keras")
    assert "has no card" in third.problem
    assert (last.name, last.version) == ("models", "model_2_2")
    assert "rnage" in last.problem
    assert not any(model.promoted_at for model in (first, third, last))
    assert find_model(second.uri, str(place)) == second


def test_a_promoted_model_is_listed_when_it_is_gone_or_has_changed(place: Path) -> None:
    promote(f"{place}/a/model_9_4.keras")
    write_model(place, "a/model_9_4.keras", b"other", hour=1)
    assert [model.problem for model in list_models(str(place))] == ["", "has changed since", ""]
    (place / "a/model_9_4.keras").unlink()
    *_, gone = list_models(str(place))
    assert (gone.version, gone.problem, bool(gone.promoted_at)) == ("model_9_4", "its file is gone", True)


def test_a_model_is_promoted_at_home_or_else_beside_itself(place: Path, tmp_path: Path) -> None:
    assert registry_of(f"{place}/a/model_9_3.keras") == str(place)
    assert registry_of(f"{place}/a/../a/model_9_3.keras") == str(place)
    other = write_model(tmp_path / "models-of-others", "model_9_3.keras")
    assert registry_of(other) == str(tmp_path / "models-of-others")
    assert registry_of("s3://bucket/models/x/model_9_3.keras") == "s3://bucket/models/x"
    (tmp_path / "link").symlink_to(place)
    assert promote(f"{tmp_path}/link/a/model_9_3.keras").now.model == "a/model_9_3.keras"


def test_of_two_first_promotions_none_is_lost(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = LocalStore.write

    def write(store: LocalStore, path: str, data: bytes, *, replace: bool = True) -> None:
        monkeypatch.setattr(LocalStore, "write", original)
        promote(f"{place}/a/model_9_3.keras")  # someone else's, between our look and our writing
        original(store, path, data, replace=replace)

    monkeypatch.setattr(LocalStore, "write", write)
    change = promote(f"{place}/a/model_9_4.keras")
    assert change.before is not None
    assert change.before.model == "a/model_9_3.keras"
    assert [entry["model"] for entry in json.loads((place / PROMOTIONS_FILE).read_text())["history"]] == [
        "a/model_9_3.keras",
        "a/model_9_4.keras",
    ]


def test_whoever_looks_while_others_promote_sees_one_of_theirs(place: Path) -> None:
    uris = [f"{place}/a/model_9_3.keras", f"{place}/a/model_9_4.keras"]
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
def test_the_same_on_s3(on_s3: str) -> None:
    place = open_store(f"{on_s3}/models").uri
    first, second = (write_model(place, f"{name}/model_9_3.keras", name.encode()) for name in ("first", "second"))
    with pytest.raises(NotFound, match="nothing is promoted at s3://"):
        rollback(place)
    assert served_model(place) in (first, second)  # S3 keeps whole seconds
    assert promote(first, place).before is None
    assert served_model(place) == first
    promote(second, place)
    assert [bool(model.promoted_at) for model in list_models(place)] == [
        model.uri == second for model in list_models(place)
    ]
    assert rollback(place).now.model == "first/model_9_3.keras"
    assert served_model(place) == first
    assert find_model(first, place).promoted_at
    open_store(place).delete("first/model_9_3.keras")
    with pytest.raises(NotFound, match=f"{first} was promoted, and is gone"):
        served_model(place)
