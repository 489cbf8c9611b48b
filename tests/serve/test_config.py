"""Errors of the service's configuration, and the address."""

import socket

import pytest

from synthray.errors import ConfigError, SynthrayError
from synthray.serve.config import Address, ReplicaConfig, from_values
from tests.waiting import free_port


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"modle": "x"}, "args: 'modle' is unknown, expected one of max_body_bytes, "),
        ({"model": 3}, "model is 3, expected a URI"),
        ({"follow": None}, "follow is None, expected a URI"),
        ({"follow_s": -1}, "follow_s is -1"),
        ({"follow_s": float("nan")}, "follow_s is nan"),
        ({"replicas": 0}, "replicas is 0"),
        ({"num_cpus": -1}, "num_cpus is -1"),
        ({"canary": 3}, "canary is 3, expected a URI"),
        ({"canary_percent": 101}, "canary_percent is 101, expected 0 to 100"),
        ({"canary_percent": float("nan")}, "canary_percent is nan"),
        ({"canary_percent": True}, "canary_percent is True"),
        ({"max_body_bytes": 0}, "max_body_bytes is 0"),
        ({"max_body_bytes": "1"}, "max_body_bytes is '1'"),
    ],
)
def test_replica_config_invalid_value_raises(args, message):
    with pytest.raises(ConfigError, match=message):
        from_values(ReplicaConfig, args)


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")])
def test_address_url_is_reachable_from_this_machine(host, url):
    assert Address(host, 80).url == url


@pytest.mark.parametrize(("host", "port"), [("", 80), ("127.0.0.1", 0), ("127.0.0.1", 65536)])
def test_address_invalid_raises(host, port):
    with pytest.raises(ConfigError, match=r"host is empty|port is"):
        Address(host, port)


@pytest.mark.parametrize("port", [-1, 65536, 8000])
def test_address_invalid_grpc_port_raises(port):
    with pytest.raises(ConfigError, match=f"grpc_port is {port}"):
        Address(grpc_port=port)


@pytest.mark.faults
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_listener_of_two_services_at_once_has_one_winner(host):
    """Both have found the port free."""
    addresses = [Address(host, free_port())] * 2
    for address in addresses:
        address.check_free()
    with addresses[0].listener(), pytest.raises(SynthrayError, match=rf"{host}:\d+: cannot listen .* Try --port"):
        addresses[1].listener()
    addresses[1].listener().close()


@pytest.mark.parametrize("host", ["8.8.8.8", "999.1.1.1", "a..b"])
def test_listener_at_an_address_of_another_machine_asks_for_the_host(host):
    with pytest.raises(SynthrayError, match=rf"{host}:\d+: cannot listen .* Try --host"):
        Address(host, free_port()).listener()


def test_check_free_port_in_use_raises():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SynthrayError, match=f"127.0.0.1:{port}: cannot listen"):
            Address("127.0.0.1", port).check_free()
        with pytest.raises(SynthrayError, match=rf"{port}: cannot listen .* Try --grpc-port"):
            Address("127.0.0.1", free_port(), grpc_port=port).check_free()
    Address("127.0.0.1", port).check_free()
