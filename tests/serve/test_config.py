"""Configuration names what is wrong with it."""

import socket

import pytest

from synthray.errors import ConfigError, SynthrayError
from synthray.serve.config import Address, ReplicaConfig


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"modle": "x"}, "args hold 'modle', which is none of model, follow"),
        ({"model": 3}, "model is 3, expected a URI"),
        ({"follow": None}, "follow is None, expected a URI"),
        ({"follow_s": -1}, "follow_s is -1"),
        ({"follow_s": float("nan")}, "follow_s is nan"),
        ({"replicas": 0}, "replicas is 0"),
        ({"num_cpus": -1}, "num_cpus is -1"),
        ({"max_body_bytes": "1"}, "max_body_bytes is '1'"),
    ],
)
def test_wrong_arguments_are_told(args, message):
    with pytest.raises(ConfigError, match=message):
        ReplicaConfig.from_args(args)


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")])
def test_an_address_is_told_as_a_client_writes_it(host, url):
    assert Address(host, 80).url == url


@pytest.mark.parametrize(("host", "port"), [("", 80), ("127.0.0.1", 0), ("127.0.0.1", 65536)])
def test_a_wrong_address_is_told(host, port):
    with pytest.raises(ConfigError, match=r"the host is empty|the port is"):
        Address(host, port)


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SynthrayError, match=f"cannot listen at 127.0.0.1:{port}"):
            Address("127.0.0.1", port).check_free()
    Address("127.0.0.1", port).check_free()
