"""One operation of the OpenAPI document as HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from http import HTTPStatus

from synthray.serve.openapi.api import Json
from synthray.serve.openapi.page_json import shown_json, shown_text

Found = tuple[str, str, Json]
"""Method, path and content of an operation."""


@dataclass(frozen=True)
class Document:
    """An OpenAPI document and its parts."""

    api: Json

    def operations(self, tag: str, variant_of: str = "") -> list[Found]:
        """Return the operations of a tag that are not variants, or the variants of the operation ``variant_of``."""
        return [
            (method, path, operation)
            for path, item in self.api["paths"].items()
            for method, operation in item.items()
            if tag in operation["tags"] and operation.get("x-variant-of", "") == variant_of
        ]

    def resolved(self, value: Json) -> Json:
        """Return the component that a reference names, or any other value itself."""
        if "$ref" not in value:
            return value
        _, _, kind, name = value["$ref"].split("/")
        found: Json = self.api["components"][kind][name]
        return found

    def examples(self, media: Json) -> list[Json]:
        """Return the examples of a media type."""
        return [self.resolved(each) for each in media.get("examples", {}).values()]


def operation_html(page: Document, method: str, path: str, operation: Json) -> str:
    """Return an operation as HTML, with its variants for a version and a label."""
    name = operation["operationId"]
    parts = [
        f"<h3>{method.upper()} {path_html(path)}</h3><p><b>{code(operation['summary'])}.</b></p>",
        paragraphs(operation.get("description", "")),
        _access(page, operation),
        _samples(operation),
        _parameters("Parameters", operation.get("parameters", [])),
        _body(page, operation),
        _answer(page, operation["responses"]["200"]),
        _errors(page, operation["responses"]),
        _variants(page, operation),
    ]
    return f'<article id="{escape(name)}">{"".join(parts)}</article>'


def code(text: str) -> str:
    """Return text as HTML; parts in backticks are code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def path_html(path: str) -> str:
    """Return a path that may wrap after each of its parts."""
    return re.sub(r"([/:])", r"<wbr>\1", escape(path))


def paragraphs(text: str) -> str:
    """Return text as paragraphs."""
    return "".join(f"<p>{code(part)}</p>" for part in text.split("\n\n") if part)


def _access(page: Document, operation: Json) -> str:
    return "<p>Needs no token.</p>" if page.api["security"] and operation.get("security") == [] else ""


def _samples(operation: Json) -> str:
    parts = [
        f'<p class="label">{escape(sample["label"])}</p>'
        f'<pre class="sample">{escape(sample["source"], quote=False)}</pre>'
        for sample in operation.get("x-codeSamples", [])
    ]
    return f"<h4>curl</h4>{''.join(parts)}" if parts else ""


def _parameters(title: str, parameters: Iterable[Json]) -> str:
    rows = []
    for parameter in parameters:
        facts = [_where(parameter), _type(parameter["schema"])]
        if "example" in parameter:
            facts.append(f"for example <code>{escape(str(parameter['example']))}</code>")
        about = f"{code(parameter['description'])} <span>({', '.join(facts)})</span>"
        rows.append((f"<code>{escape(parameter['name'])}</code>", about))
    heading = f"<h4>{title}</h4>" if title else ""
    return heading + _list(rows) if rows else ""


def _where(parameter: Json) -> str:
    return {"path": "in the path", "query": "in the query", "header": "a header"}[parameter["in"]]


def _type(schema: Json) -> str:
    """Return the type and the bounds of a parameter."""
    text = "one of " + ", ".join(map(str, schema["enum"])) if "enum" in schema else str(schema["type"])
    if "maximum" in schema:
        text += f" from {schema['minimum']:g} to {schema['maximum']:g}"
    return escape(text + (f", by default {schema['default']}" if "default" in schema else ""))


def _body(page: Document, operation: Json) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return f"<h4>Body</h4>{_content(page, content)}" if content else ""


def _answer(page: Document, answer: Json) -> str:
    headers = [
        (f"<code>{escape(name)}</code>", code(header["description"]))
        for name, header in answer.get("headers", {}).items()
    ]
    listed = f"<h4>Headers of the answer</h4>{_list(headers)}" if headers else ""
    return f"<h4>Answer: 200 OK</h4><p>{code(answer['description'])}</p>{_content(page, answer['content'])}{listed}"


def _content(page: Document, content: Json) -> str:
    """Return media types with their schemas and examples."""
    rows = []
    for kind, media in content.items():
        schema = media.get("schema", {})
        about = " or ".join(
            f'<a href="#schema-{escape(name)}">{escape(name)}</a>' for name in _schema_names(schema)
        ) or code(schema.get("description", ""))
        rows.append((f"<code>{escape(kind)}</code>", about + "".join(map(_example, page.examples(media)))))
    return _list(rows)


def _schema_names(schema: Json) -> list[str]:
    """Return the names of the schemas that a schema refers to."""
    options = [schema, *schema.get("anyOf", [])]
    return [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]


def _example(example: Json) -> str:
    if "externalValue" in example:
        address = escape(example["externalValue"])
        return f'<p>Example: <a href="page/{address.partition("/page/")[2]}">{escape(example["summary"])}</a></p>'
    value = example["value"]
    text = shown_text(value) if isinstance(value, str) else shown_json(value)
    summary = f"<summary>Example: {code(example['summary'])}</summary>"
    return f'<details>{summary}<pre tabindex="0">{escape(text, quote=False)}</pre></details>'


def _errors(page: Document, responses: Json) -> str:
    rows = [
        (
            f'<a href="#error-{status}">{status}</a> {escape(HTTPStatus(int(status)).phrase)}',
            code(page.resolved(response)["description"]),
        )
        for status, response in responses.items()
        if status != "200"
    ]
    return f"<h4>Errors</h4>{_list(rows)}" if rows else ""


def _variants(page: Document, operation: Json) -> str:
    """Return the paths that name a model, with their own parameters."""
    known = [json.dumps(parameter) for parameter in operation.get("parameters", [])]
    parts = []
    for method, path, variant in page.operations(operation["tags"][0], operation["operationId"]):
        own = [parameter for parameter in variant["parameters"] if json.dumps(parameter) not in known]
        text = f"<p><code>{method.upper()} {path_html(path)}</code></p>{_parameters('', own)}"
        parts.append(f'<div id="{escape(variant["operationId"])}">{text}</div>')
    heading = "<h4>The same for one of the served models; 404 for any other</h4>"
    return heading + "".join(parts) if parts else ""


def _list(rows: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{title}</dt><dd>{text}</dd>' for title, text in rows)}</dl>"
