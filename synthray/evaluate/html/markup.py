"""HTML that escapes every text, and numbers for people.

There is no template language: each function that shows something calls ``tag``, and only ``tag`` makes markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from synthray.text_tables import printable

VOID_ELEMENTS = frozenset({"br", "img", "input", "meta"})


class Html(str):
    """Text that is already markup, and is not escaped again."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | bool | None) -> Html:
    """Return an element.

    Args:
        name: the element's name.
        children: markup, or text that is escaped.
        attributes: underscores stand for hyphens, and a last one is dropped (``class_``). An attribute that is None or
            False is left out; one that is True has no value.
    """
    start = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(start) if name in VOID_ELEMENTS else Html(f"{start}{join(children)}</{name}>")


def join(children: Iterable[str], between: str = "") -> Html:
    """Return markup and escaped texts in a row."""
    return Html(_escape(between).join(map(_escape, children)))


def _escape(child: str) -> str:
    return child if isinstance(child, Html) else html.escape(child)


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def number(value: float) -> str:
    """Return a number of about three significant digits, without an exponent unless it is tiny."""
    size = abs(value)
    if size >= 100 or value == 0:
        return _signed(f"{value:,.0f}")
    if size >= 0.01:
        return _signed(f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}")
    return _signed(f"{value:.2g}")


def percent(share: float) -> str:
    """Return a share in [0, 1] as a CSS or SVG length, to a hundredth of a percent."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def readable(name: str) -> str:
    """Return a parameter's name with spaces, and with escapes for characters that a page would leave out."""
    return printable(name).replace("_", " ")


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}", 1)
