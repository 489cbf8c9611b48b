"""The Open Inference Protocol: over the test client, and with tritonclient over real sockets."""

import json
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from synthray.errors import RequestError
from synthray.serve.app import build_app
from synthray.serve.config import AppConfig
from synthray.serve.metrics import PrometheusMetrics
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.protocols.infer_codec import LENGTH_HEADER, InferRequest, decode_infer, encode_infer
from synthray.serve.service import Service
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card
from tests.serve.serving import running_with_grpc
from tests.waiting import HOST, free_port

INFER = "/v2/models/synthray/infer"
CARD = build_card(FOREIGN, FOREIGN_SHAPE)
SIZE = 5 * 7
RAW = "application/octet-stream"


def features_of(sounds, seed=0):
    return np.random.default_rng(seed).random((sounds, *FOREIGN_SHAPE), np.float32)


def service_of(*predictors, **fields):
    served = tuple(Served(predictor, version) for version, predictor in enumerate(predictors, start=1))
    return Service(FixedModels(served), AppConfig(max_body_bytes=100_000), **fields)


def request_of(features, **tensor):
    fields = {"name": "in_fft", "datatype": "FP32", "shape": list(features.shape)}
    return {"inputs": [fields | (tensor or {"data": features.tolist()})]}


def nested(depth):
    """Return nested lists that Python cannot write as text."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


def packed(request, binary=b""):
    """Return the body and headers of a request with binary tensors."""
    text = json.dumps(request).encode()
    return {"content": text + binary, "headers": {LENGTH_HEADER: str(len(text)), "content-type": RAW}}


@pytest.fixture(scope="module")
def client(foreign_predictor):
    with TestClient(build_app(service_of(foreign_predictor, foreign_predictor))) as client:
        yield client


def serving(predictor, tokens=(), **tls):
    """Serve a model over HTTP and gRPC; the context is both addresses for tritonclient."""
    return running_with_grpc(service_of(predictor, tokens=tokens, metrics=PrometheusMetrics()), **tls)


@pytest.fixture(scope="module")
def addresses(foreign_predictor):
    with serving(foreign_predictor) as addresses:
        yield addresses


@pytest.fixture(scope="module", params=["http", "grpc"])
def triton(request, addresses):
    """tritonclient's module of a protocol, and a connected client."""
    module = {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]
    with module.InferenceServerClient(addresses[request.param == "grpc"]) as client:
        yield module, client


def tensor_of(module, features, datatype="FP32", name="in_fft", **options):
    tensor = module.InferInput(name, list(features.shape), datatype)
    tensor.set_data_from_numpy(features, **options)
    return tensor


# Answers


def test_triton_client_sees_server_and_model(triton):
    module, client = triton
    json_options = {"as_json": True} if module is tritonclient.grpc else {}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("synthray")
    assert client.is_model_ready("synthray", "1")
    server = client.get_server_metadata(**json_options)
    assert (server["name"], server["extensions"]) == ("synthray", ["binary_tensor_data"])
    model = client.get_model_metadata("synthray", **json_options)
    tensors = {tensor["name"]: (tensor["datatype"], [int(n) for n in tensor["shape"]]) for tensor in model["outputs"]}
    assert model["versions"] == ["1"]
    assert [tensor["name"] for tensor in model["inputs"]] == ["in_fft"]
    assert [int(size) for size in model["inputs"][0]["shape"]] == [-1, 5, 7]
    assert tensors["out_osc_shape"] == ("FP32", [-1, 3])
    assert tensors["out_cutoff"] == ("FP32", [-1, 1])


@pytest.mark.parametrize("sounds", [1, 3])
def test_triton_client_predicts_as_the_predictor(triton, foreign_predictor, sounds):
    module, client = triton
    features = features_of(sounds)
    answer = client.infer("synthray", [tensor_of(module, features)], request_id="seven", model_version="1")
    response = answer.get_response() if module is tritonclient.http else answer.get_response(as_json=True)
    assert response["id"] == "seven"
    assert response["model_version"] == "1"
    expected = foreign_predictor.predict(features)
    assert [output["name"] for output in response["outputs"]] == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(answer.as_numpy(name), values, rtol=1e-6)


def test_triton_http_client_in_json_equals_binary(addresses, foreign_predictor):
    features = features_of(2)
    with tritonclient.http.InferenceServerClient(addresses[0]) as client:
        for binary_input, binary_output in [(False, False), (False, True), (True, False)]:
            tensor = tensor_of(tritonclient.http, features, binary_data=binary_input)
            output = tritonclient.http.InferRequestedOutput("out_on", binary_data=binary_output)
            answer = client.infer("synthray", [tensor], outputs=[output], request_compression_algorithm="gzip")
            np.testing.assert_allclose(answer.as_numpy("out_on"), foreign_predictor.predict(features)["out_on"], 1e-6)


def test_grpc_fp32_contents_equal_raw_contents(addresses):
    features = features_of(2)
    contents = service_pb2.InferTensorContents(fp32_contents=features.ravel().tolist())
    tensor = service_pb2.ModelInferRequest.InferInputTensor(
        name="in_fft", datatype="FP32", shape=[2, 5, 7], contents=contents
    )
    request = service_pb2.ModelInferRequest(model_name="synthray", inputs=[tensor])
    with tritonclient.grpc.InferenceServerClient(addresses[1]) as client:
        from_numbers = client._client_stub.ModelInfer(request)
        tensor.ClearField("contents")
        raw = service_pb2.ModelInferRequest(
            model_name="synthray", inputs=[tensor], raw_input_contents=[features.tobytes()]
        )
        assert client._client_stub.ModelInfer(raw) == from_numbers
    assert len(from_numbers.raw_output_contents) == 5


@pytest.mark.parametrize("flat", [True, False])
def test_infer_json_accepts_flat_and_nested_data(client, foreign_predictor, flat):
    features = features_of(3)
    data = features.ravel().tolist() if flat else features.tolist()
    answer = client.post(INFER, json=request_of(features, data=data) | {"id": "a"})
    assert answer.status_code == 200
    assert answer.headers["x-synthray-model"] == "model_3_1"
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("synthray", "1", "a")
    for output, (name, values) in zip(body["outputs"], foreign_predictor.predict(features).items(), strict=True):
        assert (output["name"], output["datatype"], output["shape"]) == (name, "FP32", list(values.shape))
        np.testing.assert_allclose(np.reshape(output["data"], values.shape), values, rtol=1e-6)


def test_infer_version_in_path_chooses_model(client):
    for version in ("1", "2"):
        path = f"/v2/models/synthray/versions/{version}"
        assert client.get(f"{path}/ready").json() == {"name": "synthray", "ready": True}
        assert client.get(path).json()["versions"] == ["1", "2"]
        assert client.post(f"{path}/infer", json=request_of(features_of(1))).json()["model_version"] == version
    assert client.post("/v2/models/synthray/versions/3/infer", json=request_of(features_of(1))).status_code == 404


def test_infer_binary_outputs_follow_the_json(client, foreign_predictor):
    features = features_of(2)
    request = request_of(features) | {
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "out_on"}, {"name": "out_decay", "parameters": {"binary_data": False}}],
    }
    answer = client.post(INFER, json=request)
    length = int(answer.headers[LENGTH_HEADER])
    on, decay = json.loads(answer.content[:length])["outputs"]
    assert on["parameters"] == {"binary_data_size": 2 * 2 * 4}
    assert "data" not in on
    assert len(decay["data"]) == 2
    expected = foreign_predictor.predict(features)["out_on"]
    np.testing.assert_allclose(np.frombuffer(answer.content[length:], "<f4").reshape(2, 2), expected, rtol=1e-6)


# Errors

GOOD = features_of(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "'inputs' is missing"),
        ({"inputs": []}, "the request has 0 inputs"),
        ({"inputs": [1]}, "inputs[0] is a number"),
        (request_of(GOOD, name="x"), "inputs[0]: the name is 'x', expected 'in_fft'"),
        (request_of(GOOD, datatype="FP64"), "input 'in_fft': datatype is 'FP64', expected 'FP32'"),
        (request_of(GOOD, shape=[1, 5]), "input 'in_fft': shape is [1, 5], expected [sounds, 5, 7]"),
        (request_of(GOOD, shape=[0, 5, 7]), "shape is [0, 5, 7]"),
        (request_of(GOOD, shape=[True, 5, 7]), "shape is [true, 5, 7]"),
        (request_of(GOOD, shape=None), "shape is null"),
        (request_of(GOOD, parameters={}), "has neither data nor the parameter binary_data_size"),
        (request_of(GOOD, parameters=[1], data=[]), "parameters is an array"),
        (request_of(GOOD, data=5), "data is a number"),
        (request_of(GOOD, data=[1.0] * 34), "data hold 34 numbers, expected 35 for shape [1, 5, 7]"),
        (request_of(GOOD, data=[1.0] * 34 + ["x"]), "input 'in_fft': data[34]: 'x' is not a number"),
        (request_of(GOOD, data=[1.0] * 34 + [[1]]), "data[34]: [1] is not a number"),
        (request_of(GOOD, data=[1.0] * 33 + [True, 1.5]), "data[33]: true is not a number"),
        (request_of(GOOD, data=[1.0] * 34 + [10**400]), "data hold a number that is too large for float32"),
        (request_of(GOOD, data=[1.0] * 34 + [nested(500)]), "data[34]: [[[...]]] is not a number"),
        (request_of(GOOD, shape=[10**4000, 5, 7]), "shape is [an integer of 13288 bits, 5, 7]"),
        (request_of(GOOD, shape=[2**31 + 1, 5, 7]), "with 1 to 2147483648 sounds"),
        (request_of(GOOD, name=nested(500)), "inputs[0]: the name is [[[...]]], expected 'in_fft'"),
        (request_of(GOOD, parameters={"binary_data_size": nested(500)}), "binary_data_size is [[[...]]], but"),
        (request_of(GOOD) | {"outputs": [{"name": nested(500)}]}, "the model has no output [[[...]]]"),
        (request_of(GOOD) | {"inputs": {"x": nested(500)}}, "'inputs' is {'x': [[...]]}, expected an array"),
        (request_of(GOOD) | {"id": nested(500)}, "id is [[[...]]], expected text"),
        (request_of(GOOD, data=[1.0] * 34 + [1e39]), "instance 0, row 4, column 6: inf is not a finite"),
        (request_of(GOOD, data=[[[1]]]), "input 'in_fft': instance 0: has shape (1, 1), expected (5, 7)"),
        (request_of(GOOD, data=GOOD.tolist() * 2), "data hold 2 sounds, expected 1"),
        (request_of(GOOD) | {"outputs": [{"name": "out_x"}]}, "outputs[0]: the model has no output 'out_x'"),
        (request_of(GOOD) | {"outputs": {}} | {"outputs": "x"}, "'outputs' is 'x', expected an array"),
        (
            request_of(GOOD) | {"outputs": [{"name": "out_on", "parameters": {"classification": 2}}]},
            "outputs[0]: the parameter 'classification' is not supported",
        ),
        (request_of(GOOD) | {"parameters": {"binary_data_output": 1}}, "binary_data_output is 1, expected true or"),
        (request_of(GOOD) | {"id": 7}, "id is 7, expected text"),
    ],
)
def test_infer_invalid_json_is_an_error_that_names_the_fault(client, change, message):
    answer = client.post(INFER, json=change)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("size", "binary", "message"),
    [
        (None, GOOD.tobytes(), "140 bytes follow the JSON, but the tensor has no binary_data_size"),
        (139, GOOD.tobytes(), "binary_data_size is 139, but 140 bytes follow the JSON"),
        (140.0, GOOD.tobytes(), "binary_data_size is 140.0"),
        (136, GOOD.tobytes()[4:], "the binary data have 136 bytes, expected 140 for shape [1, 5, 7]"),
        (140, b"\0\0\xc0\x7f" + GOOD.tobytes()[4:], "instance 0, row 0, column 0: nan is not a finite"),
    ],
)
def test_infer_invalid_binary_is_an_error_that_names_the_fault(client, size, binary, message):
    parameters = {} if size is None else {"binary_data_size": size}
    answer = client.post(INFER, **packed(request_of(GOOD, parameters=parameters), binary))
    assert answer.status_code == 400
    assert f"input 'in_fft': {message}" in answer.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "99999", "²", "9" * 30])
def test_infer_invalid_json_length_is_an_error(client, length):
    answer = client.post(INFER, content=b"{}", headers={LENGTH_HEADER: length.encode()})
    assert answer.status_code == 400
    assert LENGTH_HEADER in answer.json()["error"]


@pytest.mark.parametrize(
    ("contents", "parameters", "raw", "message"),
    [
        (
            {"fp64_contents": [0.0] * 35},
            {},
            [],
            "'in_fft': has fp64_contents, expected one of raw",
        ),
        ({"fp32_contents": [0.0] * 35}, {}, [bytes(140)], "has raw_input_contents, fp32_contents, expected one of"),
        ({}, {"shared_memory_region": "x"}, [bytes(140)], "the parameter 'shared_memory_region' is not supported"),
    ],
)
def test_grpc_content_that_would_be_ignored_is_refused(addresses, contents, parameters, raw, message):
    tensor = service_pb2.ModelInferRequest.InferInputTensor(
        name="in_fft",
        datatype="FP32",
        shape=[1, 5, 7],
        contents=service_pb2.InferTensorContents(**contents) if contents else None,
        parameters={name: service_pb2.InferParameter(string_param=value) for name, value in parameters.items()},
    )
    request = service_pb2.ModelInferRequest(model_name="synthray", inputs=[tensor], raw_input_contents=raw)
    with tritonclient.grpc.InferenceServerClient(addresses[1]) as client, pytest.raises(Exception, match=message):
        client._client_stub.ModelInfer(request)


def test_unknown_models_and_methods_are_errors(client):
    for path in ("/v2/models/other", "/v2/models/other/ready", "/v2/models/synthray/versions/x/ready"):
        assert client.get(path).status_code == 404
    assert "model 'other' does not exist" in client.get("/v2/models/other").json()["error"]
    assert client.get(INFER).status_code == 405
    assert client.post(INFER, content=b"{}", headers={"content-type": "text/csv"}).status_code == 415
    assert client.post(INFER, content=b"x" * 100_001).status_code == 413


def test_health_without_model_is_live_and_not_ready():
    with TestClient(build_app(service_of())) as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        for path in ("/v2/health/ready", "/v2/models/synthray/ready", "/v2/models/synthray"):
            assert client.get(path).status_code == 503


@pytest.mark.parametrize(
    ("tensor", "model", "http_status", "grpc_status", "message"),
    [
        ({"features": GOOD[:, 1:]}, "synthray", "400", "INVALID_ARGUMENT", "shape is [1, 4, 7]"),
        ({"features": GOOD.astype(np.float64), "datatype": "FP64"}, "synthray", "400", "INVALID_ARGUMENT", "'FP64'"),
        ({"features": GOOD, "name": "x"}, "synthray", "400", "INVALID_ARGUMENT", "inputs[0]: the name is 'x'"),
        ({"features": GOOD}, "other", "404", "NOT_FOUND", "model 'other' does not exist"),
        ({"features": features_of(1000)}, "synthray", "413", "RESOURCE_EXHAUSTED", ""),
    ],
)
def test_triton_client_gets_errors(triton, tensor, model, http_status, grpc_status, message):
    module, client = triton
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [tensor_of(module, **tensor)])
    assert caught.value.status() in (http_status, f"StatusCode.{grpc_status}")
    assert message in caught.value.message()


def test_grpc_corrupt_message_is_an_error(addresses):
    import grpc

    with grpc.insecure_channel(addresses[1]) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            infer(b"\xff\xff")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "the message is not a valid ModelInferRequest" in caught.value.details()


def test_grpc_unknown_rpc_is_unimplemented(addresses):
    with (
        tritonclient.grpc.InferenceServerClient(addresses[1]) as client,
        pytest.raises(InferenceServerException, match="not found"),
    ):
        client.get_model_repository_index()


def test_tokens_protect_inference_over_both_protocols(foreign_predictor):
    with serving(foreign_predictor, tokens=("secret",)) as addresses:
        for module, address, status in [
            (tritonclient.http, addresses[0], "401"),
            (tritonclient.grpc, addresses[1], "StatusCode.UNAUTHENTICATED"),
        ]:
            with module.InferenceServerClient(address) as client:
                assert client.is_server_ready()
                tensors = [tensor_of(module, GOOD)]
                with pytest.raises(InferenceServerException) as caught:
                    client.infer("synthray", tensors, headers={"authorization": "Bearer wrong"})
                assert caught.value.status() == status
                assert client.infer("synthray", tensors, headers={"authorization": "Bearer secret"})


def test_grpc_with_certificate_speaks_tls(foreign_predictor, tmp_path):
    certificate, key = write_certificate(tmp_path)
    with serving(foreign_predictor, tls_cert=certificate, tls_key=key) as (_, address):
        with tritonclient.grpc.InferenceServerClient(address, ssl=True, root_certificates=certificate) as client:
            assert client.is_server_ready()
        with (
            tritonclient.grpc.InferenceServerClient(address) as client,
            pytest.raises(InferenceServerException, match="UNAVAILABLE"),
        ):
            client.is_server_ready()


def write_certificate(folder):
    """Write a certificate for 127.0.0.1 that is valid for a day, and its key; return both paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(pem))
    paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(paths[0]), str(paths[1])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_without_ray_offers_grpc_and_ends_in_order(model_folder, stop):
    port, grpc_port = free_port(), free_port()
    command = [sys.executable, "-c", "from synthray.cli.main import main; raise SystemExit(main())", "serve"]
    command += ["--no-ray", f"--port={port}", f"--grpc-port={grpc_port}"]
    command.append(f"--model={model_folder}/foreign/model_3_1.keras")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "serving model_3_1" in process.stdout.readline()
            with tritonclient.grpc.InferenceServerClient(f"{HOST}:{grpc_port}") as client:
                assert client.infer("synthray", [tensor_of(tritonclient.grpc, GOOD)]).as_numpy("out_on").shape == (1, 2)
            process.send_signal(stop)
            assert process.wait(20) == 0
            assert f"gRPC at port {grpc_port}" in process.stdout.read()
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


# Properties

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(FLOATS, min_size=SIZE, max_size=SIZE), min_size=1, max_size=3), st.booleans())
def test_infer_tensors_round_trip(sounds, binary):
    features = np.array(sounds, np.float32).reshape(-1, *FOREIGN_SHAPE)
    raw = features.astype("<f4").tobytes() if binary else b""
    tensor = {"parameters": {"binary_data_size": len(raw)}} if binary else {"data": features.tolist()}
    text = json.dumps(request_of(features, **tensor)).encode()
    decoded = decode_infer(text + raw, str(len(text)), CARD)
    np.testing.assert_array_equal(decoded.features, features)

    class Model:
        card = CARD

    outputs = {"out_decay": features[:, 0, :1], "out_on": features[:, 1, :2]}
    request = InferRequest(features, dict.fromkeys(outputs, binary), "id")
    body, length = encode_infer(request, outputs, Served(Model()))
    answer, rest = json.loads(body[:length]), body[length:] if length else b""
    for tensor in answer["outputs"]:
        if binary:
            size = tensor["parameters"]["binary_data_size"]
            values, rest = np.frombuffer(rest[:size], "<f4"), rest[size:]
        else:
            values = np.array(tensor["data"], np.float32)
        np.testing.assert_array_equal(values.reshape(tensor["shape"]), outputs[tensor["name"]])
    assert not rest


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
REQUESTS = st.fixed_dictionaries(
    {
        "inputs": st.just(GOOD.tolist())
        | st.lists(
            st.fixed_dictionaries(
                {"name": st.just("in_fft"), "datatype": st.just("FP32"), "shape": st.just([1, 5, 7]) | JSON_VALUES},
                optional={
                    "data": JSON_VALUES,
                    "parameters": st.just({"binary_data_size": 140}) | JSON_VALUES,
                },
            ),
            max_size=2,
        )
    },
    optional={"outputs": JSON_VALUES, "parameters": JSON_VALUES, "id": JSON_VALUES},
)


@given(REQUESTS, st.binary(max_size=200) | st.binary(min_size=140, max_size=140), st.integers(-2, 2) | st.none())
def test_infer_random_bodies_give_only_request_errors(request, binary, shift):
    text = json.dumps(request).encode()
    with suppress(RequestError):  # always one of 400: nothing else is raised here
        decoded = decode_infer(text + binary, None if shift is None else str(len(text) + shift), CARD)
        assert decoded.features.shape == (1, *FOREIGN_SHAPE)


@given(st.binary(max_size=300), st.text(max_size=4) | st.integers(0, 300).map(str) | st.none())
def test_infer_random_bytes_give_only_request_errors(body, length):
    with pytest.raises(RequestError) as caught:
        decode_infer(body, length, CARD)
    assert 400 <= caught.value.status < 500
