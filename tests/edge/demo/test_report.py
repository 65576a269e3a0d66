"""The report: one file that needs nothing else, with every part in it, whatever its name."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from edge.demo.report import Story, render_report
from tests.edge.demo.stories import story


class Page(HTMLParser):
    """What a test asks of a page: references, ids, classes and text, and that every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.links += [values[key] or "" for key in ("src", "href", "xlink:href", "data") if key in values]
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def mixed() -> Story:
    """Two escapes, one false reject, one part without a score, and parts judged rightly."""
    defects = [None, "scratch", None, "dent", "crack", None, "stain"]
    return story(defects, [-0.4, 0.8, 0.1, -0.3, None, -0.2, -0.5])


def test_page_refers_to_nothing_outside_itself(mixed: Story) -> None:
    html = render_report(mixed)
    page = Page(html)
    assert not page.open
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    without_pictures = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", without_pictures)
    assert "script" not in page.tags
    assert "link" not in page.tags


def test_every_part_is_there_once_with_two_pictures(mixed: Story) -> None:
    page = Page(render_report(mixed))
    assert len(page.ids) == len(set(page.ids))
    cards = [identity for identity in page.ids if identity.startswith("part-")]
    assert len(cards) == len(mixed.parts)
    assert page.tags.count("img") == 2 * len(mixed.parts)
    assert all(part.name in page.text for part in mixed.parts)


def test_chart_leads_to_parts_that_exist(mixed: Story) -> None:
    page = Page(render_report(mixed))
    targets = [link[1:] for link in page.links if link.startswith("#")]
    scored = [part for part in mixed.parts if part.verdict.score is not None]
    assert len(targets) == len(scored)
    assert set(targets) <= set(page.ids)


def test_wrong_verdicts_come_first(mixed: Story) -> None:
    html = render_report(mixed)
    order = re.findall(r'<article class="part( wrong)?" id="(part-\d+)"', html)
    assert [bool(wrong) for wrong, _ in order] == [True, True, True, False, False, False, False]
    assert {identity for wrong, identity in order if wrong} == {"part-3", "part-4", "part-7"}


def test_undecidable_parts_count_as_rejected() -> None:
    decided = story([None, "scratch"], [None, None])
    assert [part.mistake for part in decided.parts] == ["false reject", ""]


def test_summary_counts_escapes_and_false_rejects(mixed: Story) -> None:
    assert (mixed.count("escape"), mixed.count("false reject")) == (2, 1)
    text = Page(render_report(mixed)).text
    assert "escapes of 4 defective parts" in text
    assert "false rejects of 3 good parts" in text


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.png", 'a"b&c.png', "ümläut 1.png"])
def test_names_are_text_never_markup(name: str) -> None:
    html = render_report(story([None], [-0.4], names=[name]))
    page = Page(html)
    assert name in page.text
    assert page.tags.count("img") == 2
    assert "<img src=x" not in html


def test_reason_of_an_undecidable_part_is_shown_and_escaped() -> None:
    assert "truncated <b>" in Page(render_report(story([None], [None]))).text


@pytest.mark.parametrize(("source", "said"), [("random, seed 0", True), ("resnet18.pth", False)])
def test_random_backbone_is_said_plainly(source: str, said: bool) -> None:
    assert ("Random backbone." in render_report(story([None], [-0.4], weights=source))) is said


def test_one_part_or_equal_scores_make_a_page() -> None:
    assert render_report(story([None, None], [-0.12, -0.12]))
