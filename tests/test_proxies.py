"""Proxies of the environment: the hosts that bypass them, as each library that synthray uses reads the variables."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.request import proxy_bypass_environment

import grpc
import httpx
import pytest
from botocore.utils import get_environ_proxies as proxies_of_boto3
from requests.utils import get_environ_proxies as proxies_of_ray_jobs

from synthray.cluster.training.tf_backend import _set_tf_config
from synthray.proxies import LOCAL_HOSTS, bypass, is_private
from synthray.storage.s3_client import client

DEAD = "http://127.0.0.1:9"
PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy")
LISTS = ("no_proxy", "NO_PROXY", "no_grpc_proxy")
ALL_NAMES = (*LISTS, "grpc_proxy", *PROXY_NAMES, *(name.upper() for name in PROXY_NAMES))


def set_proxies(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ALL_NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def apply(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    for name, value in bypass(os.environ, hosts).items():
        monkeypatch.setenv(name, value)


def uses_proxy(host: str) -> bool:
    """Return whether a library would send a request to this host to a proxy.

    urllib and boto3 are left out for an IPv6 address, to which synthray's own requests with them pass no proxy.
    """
    netloc = f"[{host}]:8000" if ":" in host else f"{host}:8000"
    url = f"http://{netloc}/"
    if ":" in host:
        return bool(proxies_of_ray_jobs(url, no_proxy=None))
    return bool(
        not proxy_bypass_environment(netloc) or proxies_of_boto3(url) or proxies_of_ray_jobs(url, no_proxy=None)
    )


FORMS = (
    "",
    " ",
    "localhost,127.0.0.1,[::1]",
    "localhost, 127.0.0.1 , ::1 ,",
    "[::1]:8000",
    "::1",
    "fe80::/10",
    "[fe80::1%eth0]",
    "10.0.0.0/8",
    "*",
    "*,.corp",
    ".corp",
    "*.corp",
    "corp:8080",
    "localhost 127.0.0.1",
    "http://[::1]",
    "<local>",
    "ü.example",
)
REFUSED_BY_HTTPX = ("localhost,127.0.0.1,[::1]", "[::1]:8000", "fe80::/10", "[fe80::1%eth0]", "ü.example")
"""Forms with which no client of HTTPX can be made."""


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("form", FORMS)
def test_bypass_works_with_any_form_of_list_and_keeps_its_entries(
    form: str, name: str, grpc_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxies(monkeypatch, http_proxy=DEAD, https_proxy=DEAD, **{name: form})
    apply(monkeypatch, "172.16.3.4", "fd00::7")
    for host in (*LOCAL_HOSTS, "172.16.3.4", "fd00::7"):
        assert not uses_proxy(host), host
    with grpc.insecure_channel(grpc_address) as channel:
        assert channel.unary_unary("/service/method")(b"text", timeout=30) == b"text"
    kept = [entry.strip() for entry in form.split(",") if entry.strip()]
    assert os.environ[name].split(",")[: len(kept)] == kept
    if form in REFUSED_BY_HTTPX:
        with pytest.raises(httpx.InvalidURL):
            httpx.Client(verify=False)  # certificates take long to read
    else:
        httpx.Client(verify=False).close()


@pytest.mark.parametrize(
    ("form", "host"),
    [
        ("", "127.0.0.1"),
        ("", "10.1.2.3"),
        ("", "localhost"),
        *itertools.product(("", "fe80::/10"), ("[::1]", "[fd00::7]")),
    ],
)
def test_s3_client_of_a_private_address_has_no_proxy(host: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_proxies(monkeypatch, http_proxy=DEAD, https_proxy=DEAD, no_proxy=form)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, f"{form} {host}")  # another client for each test
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:8333")
    apply(monkeypatch)
    assert client(30.0)._endpoint.http_session._proxy_config.proxy_url_for(f"http://{host}:8333/bucket") is None


@pytest.mark.parametrize(
    "variables",
    [
        {"http_proxy": DEAD},
        {"https_proxy": DEAD, "http_proxy": DEAD, "no_proxy": ""},
        {"HTTP_PROXY": DEAD, "HTTPS_PROXY": DEAD},
        {"all_proxy": DEAD, "ALL_PROXY": "socks5://127.0.0.1:9"},
        {"http_proxy": DEAD, "no_proxy": "example.org"},
        {"http_proxy": DEAD, "NO_PROXY": "example.org"},
        {"http_proxy": DEAD, "no_proxy": " , ", "NO_PROXY": "a.example.org, .example.org,,"},
        {"http_proxy": DEAD, "no_proxy": "10.0.0.0/8,example.org", "NO_PROXY": "10.0.0.0/8"},
    ],
    ids=str,
)
def test_bypass_exempts_this_machine_and_the_given_hosts_only(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxies(monkeypatch, **variables)
    apply(monkeypatch, "172.16.3.4", "fd00::7", "node-7")
    for host in (*LOCAL_HOSTS, "172.16.3.4", "fd00::7", "node-7"):
        assert not uses_proxy(host), host
    for host in ("bucket.s3.us-west-2.amazonaws.com", "172.16.3.5", "8.8.8.8"):
        assert uses_proxy(host), host
    if "example.org" in str(variables):
        assert not uses_proxy("www.example.org")


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_bypass_keeps_a_list_that_exempts_every_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_proxies(monkeypatch, http_proxy=DEAD, **{name: " * "})
    apply(monkeypatch, "10.0.0.7")
    assert (os.environ["no_proxy"], os.environ["NO_PROXY"]) == ("*", "*")
    assert not uses_proxy("s3.amazonaws.com")
    assert "10.0.0.7" in os.environ[LISTS[2]].split(",")  # gRPC compares * with the host


@pytest.fixture(scope="module")
def grpc_address() -> Iterator[str]:
    """The address of a gRPC server, such as another worker's TensorFlow."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(lambda request, _: request)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait(10)


@pytest.mark.parametrize(
    "variables",
    [
        {"http_proxy": DEAD, "https_proxy": DEAD},
        {"https_proxy": DEAD, "no_proxy": "*"},
        {"https_proxy": DEAD, "NO_PROXY": "127.0.0.1"},
        {"grpc_proxy": DEAD, "no_proxy": "example.org"},
        {"http_proxy": DEAD, "no_proxy": "127.0.0.1", "no_grpc_proxy": "example.org"},
    ],
    ids=str,
)
def test_bypass_holds_for_grpc_which_no_proxy_does_not_always_reach(
    variables: dict[str, str], grpc_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> bytes:
        with grpc.insecure_channel(grpc_address) as channel:
            return channel.unary_unary("/service/method")(b"text", timeout=30)

    set_proxies(monkeypatch, **variables)
    with pytest.raises(grpc.RpcError):
        call()
    apply(monkeypatch)
    assert call() == b"text"


def test_bypass_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    set_proxies(monkeypatch, http_proxy=DEAD, no_proxy="example.org")
    apply(monkeypatch, "10.0.0.7")
    once = {name: os.environ[name] for name in LISTS}
    apply(monkeypatch)
    assert {name: os.environ[name] for name in LISTS} == once


@pytest.mark.parametrize(
    ("address", "host"), [("10.0.0.7:4000", "10.0.0.7"), ("[fd00::7]:4000", "fd00::7"), ("node-7:4000", "node-7")]
)
def test_training_worker_reaches_the_others_without_a_proxy(
    address: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxies(monkeypatch, http_proxy=DEAD, https_proxy=DEAD, no_grpc_proxy="example.org", TF_CONFIG="")
    monkeypatch.setattr("os.environ", dict(os.environ))
    _set_tf_config(["10.0.0.6:4000", address], 1)
    assert json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1
    for name in LISTS:
        assert {host, "10.0.0.6"} <= set(os.environ[name].split(",")), name
    assert "example.org" in os.environ[LISTS[2]]


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("[::1]", True),
        ("10.1.2.3", True),
        ("192.168.0.9", True),
        ("172.31.0.1", True),
        ("fd00::5", True),
        ("[fe80::1%eth0]", True),
        ("169.254.169.254", True),
        ("minio", True),
        ("minio.storage.svc", True),
        ("minio.storage.svc.cluster.local", True),
        ("s3.localhost.", True),
        ("STORE.INTERNAL", True),
        ("8.8.8.8", False),
        ("2600:1f18::1", False),
        ("s3.amazonaws.com", False),
        ("bucket.s3.nl-ams.scw.cloud", False),
        ("storage.googleapis.com", False),
        ("internal.example.org", False),
    ],
)
def test_is_private_by_address_or_name(host: str, private: bool) -> None:
    assert is_private(host) == private
