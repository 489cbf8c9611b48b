"""The page at /docs: it shows the whole document, in the order of use, without scripts and without another host."""

import re
from http import HTTPStatus

import pytest
from starlette.testclient import TestClient

from synthray.serve.app import build_app
from synthray.serve.openapi.api import Api
from synthray.serve.openapi.document import document as document_for
from synthray.serve.openapi.page import render
from synthray.serve.openapi.page_json import shown_json, shown_text
from tests.serve.openapi.parts import document_of, operations_of, service_of


@pytest.fixture(scope="module")
def document(predictor):
    return document_of(predictor)


@pytest.fixture(scope="module")
def answer(predictor):
    return TestClient(build_app(service_of(predictor))).get("/docs")


@pytest.fixture(scope="module")
def page(answer):
    """The page with plain paths, without the hints where they may wrap."""
    return answer.text.replace("<wbr>", "")


def article(page, name):
    """Return the part of the page about one operation."""
    return page.partition(f'<article id="{name}">')[2].partition("</article>")[0]


def test_page_needs_no_script_and_no_other_host(answer):
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    addresses = re.findall(r'(?:href|src|action)="([^"]*)"', answer.text)
    assert len(addresses) > 50
    assert [each for each in addresses if "://" in each or each.startswith("//")] == []


def test_page_shows_each_operation(page, document):
    names = []
    for path, method, operation in operations_of(document):
        assert f"{method.upper()} {path}</" in page
        assert f'id="{operation["operationId"]}"' in page
        names.append(operation["operationId"])
    assert {"match", "predictLabel", "modelInferVersion", "metrics"} <= set(names)


def test_page_begins_with_what_is_used_most(page):
    order = re.findall(r'<article id="(\w+)"', page)
    assert order[:6] == ["match", "render", "analyse", "predict", "status", "metadata"]
    assert order[-2:] == ["page", "pageFile"]
    assert order.index("metadata") < order.index("modelInfer") < order.index("health")


def test_contents_lead_to_each_operation(page):
    contents = page.partition("<nav")[2].partition("</nav>")[0]
    links = re.findall(r'href="#(\w+)"', contents)
    assert links[:3] == ["match", "render", "analyse"]
    assert links[-2:] == ["errors", "schemas"]
    assert set(links[:-2]) == set(re.findall(r'<article id="(\w+)"', page))


def test_links_within_the_page_have_targets(page):
    targets = re.findall(r'href="#([^"]*)"', page)
    assert len(targets) > 50
    identifiers = re.findall(r' id="([^"]*)"', page)
    assert len(set(identifiers)) == len(identifiers)
    assert set(targets) <= set(identifiers)


@pytest.mark.parametrize("name", ["match", "render", "analyse", "predict", "modelInfer"])
def test_errors_on_the_page_have_the_phrase_of_their_status(name, page, document):
    text = article(page, name)
    [responses] = [each["responses"] for _, _, each in operations_of(document) if each["operationId"] == name]
    statuses = sorted(set(responses) - {"200"})
    assert len(statuses) > 5
    for status in statuses:
        assert f">{status}</a> {HTTPStatus(int(status)).phrase}</dt><dd>" in text


def test_errors_have_examples_of_their_messages(page):
    errors = page.partition('<section id="errors">')[2]
    assert "filter_cutoff is 9000. It must be from 60 to 5000 Hz." in errors
    assert "no model is ready yet" in errors


@pytest.mark.parametrize("name", ["match", "render", "analyse", "predict", "status", "metadata", "modelInfer"])
def test_main_operations_have_a_command_at_the_address_of_the_service(name, page):
    samples = re.findall(r'<pre class="sample">([^<]*)</pre>', article(page, name))
    assert samples
    assert all("curl" in sample and "http://testserver/v" in sample for sample in samples)


def test_parameters_of_paths_have_a_meaning(page):
    assert "number of a served model" in article(page, "predict")
    assert "name of the model, always <code>synthray</code>" in article(page, "modelInfer")
    assert "path of the file below" in article(page, "pageFile")


def test_long_features_are_shortened(page):
    assert "[[[0, 0, 0, 0, … 551 numbers], … 20 arrays]]" in article(page, "predict")
    assert len(page) < 250_000


def test_tokens_are_told(predictor):
    text = TestClient(build_app(service_of(predictor, tokens=("open sesame",)))).get("/docs").text
    assert "Authorization: Bearer $SYNTHRAY_API_TOKEN" in article(text, "match")
    assert "Needs no token." in article(text, "health")
    assert "Needs no token." not in article(text, "match")
    assert "open sesame" not in text


def test_address_cannot_add_markup(predictor):
    service = service_of(predictor)
    text = render(document_for(Api(service, service.models.choose(), "http://a'\"><img src=x>")))
    assert "src=x" in text
    assert "<img" not in text


def test_shown_json_of_a_short_value_is_one_line():
    assert shown_json({"value": 57.0, "unit": "semitones"}) == '{"value": 57.0, "unit": "semitones"}'


def test_shown_json_of_a_long_value_is_indented():
    text = shown_json({"a": {"b": "x" * 100}, "c": {"d": "y" * 100}})
    assert text == f'{{\n  "a": {{"b": "{"x" * 100}"}},\n  "c": {{"d": "{"y" * 100}"}}\n}}'


def test_shown_json_shortens_numbers_but_no_names():
    assert shown_json(list(range(9))) == "[0, 1, 2, 3, 4, 5, 6, 7, 8]"
    assert shown_json(list(range(99))) == "[0, 1, 2, 3, … 99 numbers]"
    assert shown_json([[[0] * 70] * 5]) == "[[[0, 0, 0, 0, … 70 numbers], … 5 arrays]]"
    names = [f"parameter_{number}" for number in range(50)]
    assert all(f'"{name}"' in shown_json(names) for name in names)


def test_shown_text_shortens_long_lines():
    assert shown_text("short\n" + "x" * 1000) == f"short\n{'x' * 40}… 1,000 characters"
