"""A page, at ``/docs``, that shows the OpenAPI document. It needs no scripts and no files of other hosts.

Operations are in page_operation.py, the looks in page_style.py.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from synthray.serve.openapi.api import Json, api_of
from synthray.serve.openapi.document import document
from synthray.serve.openapi.page_json import shown_json
from synthray.serve.openapi.page_operation import Document, code, operation_html, paragraphs
from synthray.serve.openapi.page_style import STYLE

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    "content-security-policy": f"default-src 'none'; img-src 'self'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_NOTE = (
    "The commands for curl can be pasted as they are. Examples of JSON are shortened with an ellipsis (…); the "
    'complete ones are in the <a href="openapi.json">OpenAPI document</a>.'
)


async def api_page(request: Request) -> Response:
    """Return the page."""
    return Response(render(document(api_of(request))), media_type="text/html", headers=_HEADERS)


def render(content: Json) -> str:
    """Return an OpenAPI document as HTML."""
    page = Document(content)
    info = content["info"]
    title = f"{info['title']} {info['version']}"
    head = (
        f'<meta charset="utf-8"><title>{escape(title)} HTTP API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="page/icon.svg" type="image/svg+xml"><style>{STYLE}</style>'
    )
    intro = (
        f"<header><h1>{escape(title)} HTTP API</h1><p>{escape(info['summary'])}.</p>{paragraphs(info['description'])}"
        f'<p>{_NOTE} <a href="./">Page that matches a sound</a>.</p></header>'
    )
    groups = "".join(_group(page, tag) for tag in content["tags"])
    body = f"{intro}{_contents(page)}<main>{groups}{_errors(page)}{_schemas(page)}</main>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def _contents(page: Document) -> str:
    """Return links to the operations by tag."""
    parts = []
    for tag in page.api["tags"]:
        links = [
            f'<li><a href="#{escape(operation["operationId"])}"><code>{escape(path)}</code></a></li>'
            for _, path, operation in page.operations(tag["name"])
        ]
        parts.append(f"<li><b>{escape(tag['name'])}</b><ul>{''.join(links)}</ul></li>")
    rest = '<ul><li><a href="#errors">Errors</a></li><li><a href="#schemas">Schemas</a></li></ul>'
    parts.append(f"<li><b>Reference</b>{rest}</li>")
    return f'<nav aria-labelledby="contents"><h2 id="contents">Contents</h2><ul>{"".join(parts)}</ul></nav>'


def _group(page: Document, tag: Json) -> str:
    operations = [operation_html(page, *operation) for operation in page.operations(tag["name"])]
    return f"<section><h2>{escape(tag['name'])}</h2><p>{code(tag['description'])}</p>{''.join(operations)}</section>"


def _errors(page: Document) -> str:
    """Return the meanings of the errors, each with messages."""
    parts = []
    for name, response in page.api["components"]["responses"].items():
        status = int(name.removeprefix("Error"))
        [content] = response["content"].values()
        messages = [f"<li>{escape(each['value']['error'])}</li>" for each in page.examples(content)]
        parts.append(
            f'<dt id="error-{status}"><b>{status}</b> {escape(HTTPStatus(status).phrase)}</dt>'
            f"<dd>{code(response['description'])}<ul>{''.join(messages)}</ul></dd>"
        )
    text = "An error is JSON with the entry <code>error</code>. Below each status are examples of its text."
    return f'<section id="errors"><h2>Errors</h2><p>{text}</p><dl>{"".join(parts)}</dl></section>'


def _schemas(page: Document) -> str:
    parts = [
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f'<pre tabindex="0">{escape(shown_json(schema), quote=False)}</pre></details>'
        for name, schema in page.api["components"]["schemas"].items()
    ]
    text = "JSON schemas of bodies and answers, as in the OpenAPI document."
    return f'<section id="schemas"><h2>Schemas</h2><p>{text}</p>{"".join(parts)}</section>'
