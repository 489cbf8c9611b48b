"""S3 and stores that speak it in other ways: settings, conditional writes and error codes. No server is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthray.data.manifest import MANIFEST
from synthray.errors import ConfigError, Conflict, NotFound, StorageError
from synthray.storage import Store, open_store, retry
from synthray.storage.retry import RETRY_TIMEOUT
from synthray.storage.s3_client import client
from tests import foreign
from tests.conftest import convert_here
from tests.storage.small_s3 import Answer, SmallS3, running_small_s3

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the keys and nothing else, the same for each test, so that they share a client."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv(RETRY_TIMEOUT, "0")
    monkeypatch.setattr(retry, "FIRST_DELAY_S", 0.01)


@pytest.fixture
def profiles(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of AWS's profiles."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture(scope="module")
def shared_s3() -> Iterator[SmallS3]:
    with running_small_s3() as running:
        yield running


@pytest.fixture
def small_s3(aws: None, shared_s3: SmallS3, monkeypatch: pytest.MonkeyPatch) -> SmallS3:
    """Return an empty store."""
    vars(shared_s3).update(vars(SmallS3(shared_s3.url)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared_s3.url)
    return shared_s3


@pytest.fixture
def store(small_s3: SmallS3) -> Store:
    return open_store("s3://bucket/prefix")


PROFILES = "[default]\nregion = nl-ams\n[profile other]\nregion = fr-par\n"


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, "nl-ams"),
        ({"AWS_PROFILE": "other"}, "fr-par"),
        ({"AWS_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_DEFAULT_REGION": "eu-south-1"}, "eu-south-1"),
        ({"AWS_DEFAULT_REGION": "eu-south-1", "AWS_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_REGION": "", "AWS_PROFILE": "other"}, "fr-par"),
        ({"AWS_CONFIG_FILE": "/dev/null"}, "us-east-1"),
    ],
    ids=str,
)
def test_region_comes_from_variables_and_profiles(
    variables: dict[str, str],
    region: str,
    profiles: Path,
    small_s3: SmallS3,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profiles.write_text(PROFILES)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert not store.exists("x")
    assert small_s3.regions == [region]


@pytest.mark.parametrize("source", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "profile", "services"])
def test_endpoint_comes_from_variables_and_profiles_and_is_named_in_errors(
    source: str, profiles: Path, small_s3: SmallS3, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", DEAD)
    if source.startswith("AWS_"):
        monkeypatch.setenv(source, small_s3.url)
    else:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        services = f"services = local\n[services local]\ns3 =\n  endpoint_url = {small_s3.url}\n"
        profiles.write_text("[default]\n" + (f"endpoint_url = {small_s3.url}\n" if source == "profile" else services))
    store.write("x", b"1")
    assert store.read("x") == b"1"
    small_s3.answers["GET"] = [(500, "InternalError")]
    with pytest.raises(StorageError, match=rf"\(endpoint: {small_s3.url}\)"):
        store.read("x")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AWS_ENDPOINT_URL": "localhost"}, r"Check the settings of AWS \(AWS_ENDPOINT_URL is 'localhost'\)"),
        ({"AWS_ENDPOINT_URL_S3": "localhost"}, r"AWS_ENDPOINT_URL_S3 is 'localhost'"),
    ],
    ids=str,
)
def test_invalid_setting_of_aws_is_named(
    variables: dict[str, str], message: str, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        open_store("s3://bucket").read("x")


def test_unknown_profile_is_named(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(StorageError, match=r"^s3://bucket/x: .*profile \(absent\).*Check the AWS_… variables"):
        open_store("s3://bucket").read("x")


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_endpoint_on_this_machine_uses_no_proxy(
    name: str, small_s3: SmallS3, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, DEAD)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)  # another client, which sees the proxy
    store.write("x", b"1")
    assert small_s3.objects == {"prefix/x": b"1"}


@pytest.mark.parametrize(
    ("endpoint", "uses_proxy"),
    [
        ("", True),
        ("https://s3.nl-ams.scw.cloud", True),
        ("https://10.0.0.9:9000", False),
        ("http://minio.storage.svc:9000", False),
        ("http://[fd00::9]:9000", False),
    ],
)
def test_only_private_endpoints_bypass_the_proxy(
    endpoint: str, uses_proxy: bool, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    monkeypatch.setenv("https_proxy", DEAD)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    made = client(30.0)
    url = made.meta.endpoint_url
    assert bool(made._endpoint.http_session._proxy_config.proxy_url_for(url)) == uses_proxy


REFUSED: list[Answer] = [(501, "NotImplemented"), (405, "MethodNotAllowed"), (400, "InvalidArgument")]
WITHOUT_CONDITIONS = ["ignored", *REFUSED]


@pytest.mark.parametrize("conditional", WITHOUT_CONDITIONS, ids=str)
def test_store_without_conditional_writes_is_reported_and_replaces_nothing(
    conditional: Answer | str, small_s3: SmallS3, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    small_s3.conditional = conditional
    store.write("x", b"first", replace=False)
    assert caplog.messages == [
        "s3://bucket/prefix: the store has no conditional writes. Do not run two commands with the same --out at once."
    ]
    with pytest.raises(Conflict, match="prefix/x exists already"):
        store.write("x", b"second", replace=False)
    assert small_s3.objects == {"prefix/x": b"first"}


@pytest.mark.parametrize("conditional", WITHOUT_CONDITIONS, ids=str)
def test_write_that_another_one_replaced_raises_conflict(
    conditional: Answer | str, small_s3: SmallS3, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_s3.conditional = conditional
    own_answer = small_s3.answer

    def answer(method: str, *arguments: object) -> tuple[int, bytes]:
        if method == "GET":  # the other writer also saw no object, and its put came last
            small_s3.objects["prefix/x"] = b"theirs"
        return own_answer(method, *arguments)

    monkeypatch.setattr(small_s3, "answer", answer)
    with pytest.raises(Conflict, match="another command wrote it at the same time"):
        store.write("x", b"ours", replace=False)
    assert small_s3.objects == {"prefix/x": b"theirs"}


def test_store_with_conditional_writes_is_not_reported(
    small_s3: SmallS3, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        store.write("x", b"first", replace=False)
    assert caplog.messages == []
    assert store.read("x") == b"first"


@pytest.mark.parametrize("answer", [(400, "ExpiredToken"), (400, "EntityTooLarge"), (403, "AccessDenied")], ids=str)
def test_new_object_that_is_refused_for_another_cause_names_it(
    answer: Answer, small_s3: SmallS3, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    small_s3.answers["PUT"] = [answer, answer]
    with pytest.raises(StorageError, match=answer[1]):
        store.write("x", b"first", replace=False)
    assert (small_s3.objects, caplog.messages) == ({}, [])


@pytest.mark.parametrize("conditional", ["ignored", REFUSED[0]], ids=str)
def test_data_set_is_published_without_conditional_writes(
    conditional: Answer | str, small_s3: SmallS3, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small_s3.conditional = conditional
    source = foreign.write(tmp_path / "training_data")
    published = convert_here(source, store.uri)
    assert small_s3.objects[f"prefix/{MANIFEST}"] == published.encode()
    assert "has no conditional writes" in caplog.text
    with pytest.raises(Conflict, match="already holds a data set with another dtype"):
        convert_here(source, store.uri, dtype="float16")
    assert small_s3.objects[f"prefix/{MANIFEST}"] == published.encode()


TRANSIENT: list[Answer] = [
    (503, "SlowDown"),
    (500, "InternalError"),
    (400, "RequestTimeout"),
    (408, "Timeout"),
    (429, "Anything"),
    (400, "RequestLimitExceeded"),
    (409, "OperationAborted"),
    (409, "ConditionalRequestConflict"),
    (509, "BandwidthLimitExceeded"),
]


@pytest.mark.parametrize("answer", TRANSIENT, ids=str)
@pytest.mark.parametrize("replace", [True, False])
def test_transient_answer_is_retried_and_then_named(
    answer: Answer, replace: bool, small_s3: SmallS3, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RETRY_TIMEOUT, "20")
    small_s3.answers["PUT"] = [answer]
    store.write("x", b"1", replace=replace)
    assert small_s3.objects == {"prefix/x": b"1"}
    monkeypatch.setenv(RETRY_TIMEOUT, "0")
    small_s3.answers["PUT"] = [answer]
    with pytest.raises(StorageError, match=f"{answer[0]} {answer[1]}.* gave up"):
        store.write("y", b"1", replace=replace)
    assert "prefix/y" not in small_s3.objects


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((404, "NoSuchKey"), NotFound, r"prefix/x does not exist"),
        ((404, "NoSuchBucket"), NotFound, r"no bucket 'bucket'\. Create it first"),
        ((403, "AccessDenied"), StorageError, r"denies access \(AccessDenied.*Without s3:ListBucket, missing objects"),
        ((403, "RequestTimeTooSkewed"), StorageError, r"denies access \(RequestTimeTooSkewed"),
        ((401, "Unauthorized"), StorageError, r"denies access \(Unauthorized"),
        ((400, "ExpiredToken"), StorageError, r"the store answers 400 ExpiredToken: made by the test"),
        ((400, "IllegalLocationConstraintException"), StorageError, r"Set AWS_REGION to the region of the bucket"),
        ((507, "StorageFull"), StorageError, r"the store is full \(StorageFull\)"),
        ((501, "NotImplemented"), StorageError, r"the store answers 501 NotImplemented"),
    ],
    ids=str,
)
def test_permanent_answer_is_not_retried(
    answer: Answer,
    kind: type[Exception],
    message: str,
    small_s3: SmallS3,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(RETRY_TIMEOUT, "20")
    small_s3.answers["GET"] = [answer]
    with pytest.raises(kind, match=message):
        store.read("x")
    assert [method for method, _ in small_s3.requests].count("GET") == 1


def test_missing_object_that_may_not_be_seen_is_no_absence(small_s3: SmallS3, store: Store) -> None:
    small_s3.answers["HEAD"] = [(403, "AccessDenied")]
    with pytest.raises(StorageError, match="Without s3:ListBucket, missing objects are denied"):
        store.exists("x")
