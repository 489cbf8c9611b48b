"""Markup and numbers."""

import pytest

from synthray.evaluate.html.markup import Html, join, number, percent, tag


def test_tag_escapes_text_and_attributes_but_not_markup():
    inner = tag("b", "1 < 2")
    assert tag("p", "a & b", inner, title='"quoted"') == ('<p title="&quot;quoted&quot;">a &amp; b<b>1 &lt; 2</b></p>')


def test_tag_attributes_follow_their_values():
    assert tag("input", class_="x", aria_label="y", hidden=True, checked=False, id=None, tabindex=0) == (
        '<input class="x" aria-label="y" hidden tabindex="0">'
    )


def test_join_escapes_plain_text_between_markup():
    assert join([Html("<i></i>"), "<i>"], " & ") == "<i></i> &amp; &lt;i&gt;"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0042, "0.0042"),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (-12.34, "\N{MINUS SIGN}12.3"),
        (1234.5, "1,234"),
        (-0.5, "\N{MINUS SIGN}0.500"),
    ],
)
def test_number_has_about_three_digits(value, text):
    assert number(value) == text


def test_percent_is_a_short_length():
    assert [percent(share) for share in (0, 0.5, 1 / 3, 1)] == ["0%", "50%", "33.33%", "100%"]
