"""Structure, safety and size of whole reports."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from synthray.evaluate.html.markup import VOID_ELEMENTS
from synthray.evaluate.html.page import render_report
from synthray.evaluate.html.size import MAX_BYTES, examples_that_fit
from synthray.evaluate.parts import BASELINES
from synthray.synth.audible.audible import audible
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from tests.evaluate.html.samples import SETTINGS, answer, evaluation, example, noise, sine

HOSTILE = '</title></script><img src=x onerror="alert(1)">&\'{}$title'


class Page(HTMLParser):
    """Elements of a page as (name, attributes), and the text of each kind; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open = ["document"]
        self.feed(text)
        self.close()
        assert self.open == ["document", "html"] or self.open == ["document"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1], data))

    def all(self, name: str, class_: str = "") -> list[dict[str, str | None]]:
        found = [attributes for tag, attributes in self.elements if tag == name]
        return [each for each in found if not class_ or class_ in (each.get("class") or "").split()]

    def text_of(self, name: str) -> str:
        return " ".join(data for tag, data in self.texts if tag == name)


@pytest.fixture(scope="module")
def text() -> str:
    examples = (
        example(sine(440), answer("first", sine(441)), answer("second", noise(1))),
        example(noise(2), answer("second", sine(500)), kind="worst"),
    )
    return render_report(evaluation(["first", "second"], examples))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_report_has_its_sections_players_and_pictures(page: Page) -> None:
    assert page.text_of("h2").split() == ["Models", "Listen", "Distances", "Parameters"]
    assert len(page.all("section", "example")) == len(page.all("div", "player")) == 2
    assert len(page.all("audio")) == len(page.all("input", "")) - 2 == 3 + 2
    assert len(page.all("img")) == (1 + 2 * 2) + (1 + 2)
    assert all(image["alt"] for image in page.all("img"))
    assert "Gains: original" in page.text_of("p")


def test_report_refers_only_to_itself(text: str, page: Page) -> None:
    sources = [a[key] for _, a in page.elements for key in ("src", "href", "data", "action", "poster") if key in a]
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|\bimport\(", text)


def test_report_has_unique_ids_and_every_reference_exists(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids) > 10
    names = [a[key] for _, a in page.elements for key in ("for", "aria-labelledby") if key in a]
    names += [link["href"][1:] for link in page.all("a")]
    assert set(names) <= set(ids)


def test_report_sliders_follow_the_media_seek_pattern(page: Page) -> None:
    sliders = [attributes for _, attributes in page.elements if attributes.get("role") == "slider"]
    assert len(sliders) == 2
    for slider in sliders:
        assert slider["tabindex"] == "0"
        assert slider["aria-label"]
        assert slider["aria-valuetext"] == "0.00 of 2.00 seconds"


def test_report_tables_have_captions_and_scopes(page: Page) -> None:
    tables = page.all("table")
    assert len(page.all("caption")) == len(tables) == 1 + 2 + 1 + 2
    assert all(header.get("scope") for header in page.all("th"))


def test_report_greys_out_what_is_inaudible(page: Page) -> None:
    of_original, of_answer = (~audible(SETTINGS[:2])).sum(axis=1)
    expected = 2 * of_original + 3 * of_answer
    assert len(page.all("td", "inaudible")) == page.text_of("span").count("inaudible") == expected


def test_report_escapes_every_text() -> None:
    page = Page(render_report(evaluation([HOSTILE], (example(sine(440), answer(HOSTILE, sine(441))),), data=HOSTILE)))
    assert not [image for image in page.all("img") if "onerror" in image]
    assert len(page.all("script")) == 1
    assert page.text_of("title") == page.text_of("h1") == HOSTILE
    assert page.text_of("code") == HOSTILE
    assert [audio["aria-label"] for audio in page.all("audio")] == ["original", HOSTILE]
    places = {tag for tag, data in page.texts if HOSTILE in data}
    assert places >= {"title", "h1", "code", "p", "th", "b", "dd", "span", "li", "h3"}


@pytest.mark.parametrize(("models", "count"), [(1, 4 * examples_that_fit(1)), (3, 12), (6, 4 * examples_that_fit(6))])
def test_report_of_noisy_examples_is_below_the_limit(models: int, count: int) -> None:
    names = [f"model {number}" for number in range(models)]
    answers = [answer(name, noise(place + 1)) for place, name in enumerate(names)]
    kinds = ("best", "median", "worst", "random")
    examples = tuple(example(noise(0), *answers, kind=kind) for kind in kinds) * (count // 4)
    size = len(render_report(evaluation(names, examples)).encode())
    assert 0.6 * MAX_BYTES < size < MAX_BYTES


def test_report_compares_any_number_of_models() -> None:
    names = [f"model {number}" for number in range(9)]
    text = render_report(evaluation(names, (example(sine(440), *(answer(name, sine(450)) for name in names)),)))
    assert all(text.count(name) > 6 for name in names)


def test_report_of_a_silent_answer_says_so() -> None:
    silent = example(sine(440), answer("only", np.zeros(N_SAMPLES, np.float32)))
    assert "only is silent" in render_report(evaluation(["only"], (silent,)))


def test_report_tables_count_sounds_where_they_are_not_all(page: Page) -> None:
    notes = [data for tag, data in page.texts if tag == "span" and data.endswith(" sounds")]
    assert notes == ["400 sounds"] * 2 * len(INSTRUMENT.learned)


def test_report_marks_the_best_model(text: str) -> None:
    page = Page(text)
    best = page.text_of("strong").replace(" 0.500", "")  # the distances in which they are equal
    assert best == "16.7 % 11.1 % 3.33"  # the first has the best choices, the second the rest
    others = ", ".join(f"15.3 ({name})" for name in BASELINES)
    assert f"The closest answers come from <b>second</b>: a mean MSS of <b>3.33</b>, compared with {others}." in text


def test_report_is_reproducible(text: str) -> None:
    examples = (
        example(sine(440), answer("first", sine(441)), answer("second", noise(1))),
        example(noise(2), answer("second", sine(500)), kind="worst"),
    )
    assert render_report(evaluation(["first", "second"], examples)) == text
