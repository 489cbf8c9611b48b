"""A page, at ``/docs``, that shows the OpenAPI document without scripts and without another host."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from synthray.serve.openapi import api_of, document

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid; padding: .5rem 0; }
h2, code, pre { font-family: ui-monospace, monospace; font-size: 1rem; }
pre { overflow-x: auto; max-height: 30rem; }
td, th { text-align: left; vertical-align: top; padding-right: 1.5rem; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


async def api_page(request: Request) -> Response:
    """Return the page."""
    api = document(api_of(request))
    return Response(render(api), media_type="text/html", headers=_HEADERS)


def render(api: dict[str, Any]) -> str:
    """Return an OpenAPI document as HTML."""
    info = api["info"]
    operations = [
        _operation(method, path, operation) for path, item in api["paths"].items() for method, operation in item.items()
    ]
    schemas = [_schema(name, schema) for name, schema in api["components"]["schemas"].items()]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])} API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} "
        '<a href="openapi.json">OpenAPI document</a>. <a href="./">Page that matches a sound</a>.</p>'
        f"{''.join(operations)}<h1>Schemas</h1>{''.join(schemas)}</main></body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation['summary'])}</p>"]
    if parameters := operation.get("parameters"):
        rows = [(p["name"], p["in"], p.get("description", ""), p.get("example", "")) for p in parameters]
        parts.append(_table(("parameter", "in", "meaning", "example"), rows))
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body: <code>{escape(kind)}</code> {_schema_name(body.get('schema', {}))}</p>")
        if "example" in body:
            parts.append(f"<details><summary>Example</summary><pre>{_json(body['example'])}</pre></details>")
    answers = operation["responses"]
    for kind, body in answers["200"]["content"].items():
        parts.append(f"<p>Answer: <code>{escape(kind)}</code> {_schema_name(body['schema'])}</p>")
    if errors := ", ".join(sorted(set(answers) - {"200"})):
        parts.append(f"<p>Errors: {errors}</p>")
    return f'<section id="{escape(operation["operationId"])}">{"".join(parts)}</section>'


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = f"<summary><code>{escape(name)}</code></summary><pre>{_json(schema)}</pre>"
    return f'<details id="schema-{escape(name)}">{text}</details>'


def _schema_name(schema: dict[str, Any]) -> str:
    """Return links to the named schemas in a schema."""
    options = [schema, *schema.get("anyOf", [])]
    names = [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]
    return " or ".join(f'<a href="#schema-{escape(name)}">{escape(name)}</a>' for name in names)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f"<table><tr>{titles}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _json(value: Any) -> str:
    return escape(json.dumps(value, indent=2))
