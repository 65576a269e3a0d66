"""The documents: links lead somewhere, commands and options that they name exist, tables are whole."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from engines.cli import GROUP, main

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_COMMAND = re.compile(r"(?<![\w./-])edge-inspect (?!edge-inspect)([a-z][a-z-]*)([^`|\n#]*)")


def prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text())


@cache
def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings; a repeated one would have a number, and is not linked to."""
    headings = (
        _LINK.sub(lambda link: link[0][1:].partition("]")[0], text) for text in _HEADING.findall(prose(document))
    )
    return {re.sub(r"[^\w -]", "", text.lower()).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    for link in _LINK.findall(prose(document)):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_row_of_a_table_has_its_table(document: Path) -> None:
    lines = prose(document).splitlines()
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if line.startswith("|") and not before.startswith("|"):
            assert re.fullmatch(r"[|: -]+", after), f"a table without a head: {line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_command_and_option_exists(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = document.read_text().replace("\\\n", " ")
    for name, rest in _COMMAND.findall(text):
        known = usage(name, rest.split()[:1], capsys)
        assert known, f"edge-inspect {name}"
        for option in re.findall(r"(?<!\S)\[?(--[a-z-]+)", rest):
            assert option in known, f"edge-inspect {name} {option}"


def test_the_readme_lists_every_command() -> None:
    listed = re.findall(r"^\| `edge-inspect ([a-z-]+)", DOCUMENTS[0].read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(entry.name for entry in entry_points(group=GROUP))


def usage(name: str, action: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `--help` says of a command, and of its action where it has some."""
    said = ""
    for words in ([name], [name, *action]):
        try:
            main([*words, "--help"])
        except SystemExit as done:
            said += capsys.readouterr().out if done.code == 0 else ""
    return said
