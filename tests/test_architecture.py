"""The import arrows of the house, `edge -> calibration -> engines <- trainer`, and what a runtime never loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MAY_IMPORT = {
    "engines": {"engines"},
    "calibration": {"calibration", "engines"},
    "trainer": {"trainer", "engines"},
    "edge": {"edge", "calibration", "engines"},
}
OURS = {*MAY_IMPORT, "benchmarks", "tests"}
RUNTIME = ("engines", "calibration", "edge")
TORCH = {"torch", "torchvision", "torchaudio"}
# The runtime installation has none of these; what needs one of them imports it inside the function that does.
TRAINING_ONLY = {"onnx", "safetensors", "scipy", "sklearn", "tqdm"}
# A subcommand's module is imported for every `--help`. (numpy is not in the list: it takes a tenth of a second.)
HEAVY = {"cv2", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "zmq"} | TORCH | TRAINING_ONLY
COMMANDS = ("calibration.commands", "edge.commands", "edge.demo.commands", "engines.commands", "trainer.commands")


@dataclass(frozen=True)
class Import:
    """One import of a module, where it stands, and whether it runs as soon as its file is imported."""

    module: str
    place: str
    at_import: bool

    @property
    def package(self) -> str:
        """The top-level package that is imported."""
        return self.module.partition(".")[0]


def imports_of(path: Path, root: Path = REPOSITORY) -> list[Import]:
    """Every import of a file, also relative ones and `import_module("...")` with a constant name."""
    name = path.relative_to(root)
    package = ".".join(name.parts[:-1])
    tree = ast.parse(path.read_text(), str(path))
    return [
        Import(module, f"{name}:{line} imports {module}", at_import)
        for node, at_import in _nodes(tree, at_import=True)
        for module, line in _modules(node, package)
    ]


def _nodes(node: ast.AST, at_import: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        yield child, at_import
        yield from _nodes(child, at_import and not lazy)


def _modules(node: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, node.lineno
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        yield ".".join([*parents, *([node.module] if node.module else [])]), node.lineno
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__", "import_extra") and isinstance(node.args[0].value, str):
            yield node.args[0].value, node.lineno


def files_of(package: str, root: Path = REPOSITORY) -> list[Path]:
    return sorted((root / package).rglob("*.py"))


def arrow_violations(package: str, root: Path = REPOSITORY) -> list[str]:
    found = (item for path in files_of(package, root) for item in imports_of(path, root))
    return [item.place for item in found if item.package in OURS - MAY_IMPORT[package]]


def torch_violations(package: str, root: Path = REPOSITORY) -> list[str]:
    found = (item for path in files_of(package, root) for item in imports_of(path, root))
    return [item.place for item in found if item.package in TORCH]


def eager_violations(package: str, root: Path = REPOSITORY) -> list[str]:
    found = (item for path in files_of(package, root) for item in imports_of(path, root))
    return [item.place for item in found if item.at_import and item.package in TRAINING_ONLY]


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_arrows_point_one_way(package: str) -> None:
    assert files_of(package)
    assert arrow_violations(package) == []


@pytest.mark.parametrize("package", RUNTIME)
def test_only_the_trainer_imports_torch(package: str) -> None:
    assert torch_violations(package) == []


@pytest.mark.parametrize("package", RUNTIME)
def test_what_only_training_needs_is_not_imported_at_the_start(package: str) -> None:
    assert eager_violations(package) == []


@pytest.mark.parametrize("module", COMMANDS)
def test_a_module_of_subcommands_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) & HEAVY == set()


@pytest.mark.parametrize(
    ("package", "source", "arrow", "torch", "eager"),
    [
        ("engines", "import calibration", True, False, False),
        ("engines", "from trainer.weights import find", True, False, False),
        ("calibration", "def f():\n    import edge.daemon", True, False, False),
        ("edge", "from importlib import import_module\nimport_module('trainer.data')", True, False, False),
        ("trainer", "import calibration.threshold as t", True, False, False),
        ("edge", "import tests", True, False, False),
        ("edge", "from calibration.golden import check_parity", False, False, False),
        ("edge", "from . import sibling", False, False, False),
        ("edge", "def f():\n    import torch.nn", False, True, False),
        ("engines", "from torch import nn", False, True, False),
        ("engines", "import onnx", False, False, True),
        ("engines", "try:\n    import scipy.ndimage\nexcept ImportError:\n    pass", False, False, True),
        ("engines", "class A:\n    from sklearn import metrics", False, False, True),
        ("engines", "def f():\n    import onnx", False, False, False),
        ("engines", "f = lambda: __import__('onnx')", False, False, False),
        ("engines", "if TYPE_CHECKING:\n    import onnx", False, False, False),
    ],
)
def test_the_rules_catch_what_they_forbid(
    tmp_path: Path, package: str, source: str, arrow: bool, torch: bool, eager: bool
) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "module.py").write_text(source)
    found = (arrow_violations, torch_violations, eager_violations)
    assert tuple(bool(check(package, tmp_path)) for check in found) == (arrow, torch, eager)


def test_a_violation_names_file_line_and_module(tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "daemon.py").write_text("import os\n\nimport trainer.loss\n")
    assert arrow_violations("edge", tmp_path) == ["edge/daemon.py:3 imports trainer.loss"]
