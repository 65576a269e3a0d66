"""Nothing that came from elsewhere is ever run: no shell, no pickle, no eval in what is installed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("engines", "calibration", "trainer", "edge")
RUNNING = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "pty", "commands"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
# Each of these can read pickles; the word that forbids it must stand beside the call.
UNPICKLING = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


def findings(source: str, name: str) -> list[str]:
    """Places where a file runs a shell, unpickles or evaluates."""
    return [f"{name}:{line} {what}" for line, what in _found(ast.parse(source))]


def _found(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names if each.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield node.lineno, str(node.module)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in RUNNING | SHELLS or _shell(node) or _unpickles(called, node):
                yield node.lineno, called


def _shell(call: ast.Call) -> bool:
    return any(word.arg == "shell" and ast.unparse(word.value) != "False" for word in call.keywords)


def _unpickles(called: str, call: ast.Call) -> bool:
    if called not in UNPICKLING:
        return False
    name, safe = UNPICKLING[called]
    words = {word.arg: ast.unparse(word.value) for word in call.keywords}
    # numpy forbids it by itself.
    return words.get(name, str(safe) if called == "np.load" else "") != str(safe)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_that_is_installed_runs_foreign_code(package: str) -> None:
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    assert [place for path in files for place in findings(path.read_text(), str(path.relative_to(REPOSITORY)))] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("eval('1')", True),
        ("exec(data)", True),
        ("network.eval()", False),
        ("re.compile('a')", False),
        ("import pickle", True),
        ("from pickle import loads", True),
        ("os.system('ls')", True),
        ("subprocess.run('ls', shell=True)", True),
        ("subprocess.run(['ls'], shell=flag)", True),
        ("subprocess.run(['ls'])", False),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, weights_only=True)", False),
        ("np.load(path, allow_pickle=True)", True),
        ("np.load(path)", False),
    ],
)
def test_the_rule_catches_what_it_forbids(source: str, found: bool) -> None:
    assert bool(findings(source, "a.py")) is found
