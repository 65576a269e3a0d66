"""The dispatcher: exit codes, one clear line for each error, and nothing imported that was not called."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from engines import __version__, cli
from engines.errors import EngineError, InspectError, UsageError

COMMANDS = """
import argparse
from engines.cli import Command
from engines.errors import DataError, EngineError

def configure(parser):
    parser.add_argument("--parts", type=int, required=True, help="how many")

def run(options):
    if options.parts == 0:
        raise DataError("expected parts, found none; photograph some")
    if options.parts == 1:
        raise EngineError("the engine is broken; repair it")
    if options.parts == 2:
        raise KeyboardInterrupt
    if options.parts == 3:
        raise RuntimeError("ours")
    print(options.parts)
    return 5 if options.parts == 5 else None

count = Command("Count the parts.", "edge-inspect count --parts 7", configure, run)
wrong = "no command"
"""


@pytest.fixture(autouse=True)
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real entry points of a real module, in place of the installed ones."""
    (tmp_path / "counting.py").write_text(COMMANDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "counting", raising=False)
    registered = [EntryPoint(name, f"counting:{name}", cli.GROUP) for name in ("count", "wrong")]
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry for entry in registered if entry.group == group])


def test_a_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["count", "--parts", "7"]) == 0
    assert capsys.readouterr().out == "7\n"


def test_a_command_may_choose_its_exit_code() -> None:
    assert cli.main(["count", "--parts", "5"]) == 5
    assert cli.invoke("count", ["--parts", "5"]) == 5


@pytest.mark.parametrize(
    ("parts", "code", "line"),
    [
        ("0", 2, "edge-inspect count: expected parts, found none; photograph some\n"),
        ("1", 1, "edge-inspect count: the engine is broken; repair it\n"),
        ("2", 130, "edge-inspect count: stopped by Ctrl-C\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], parts: str, code: int, line: str
) -> None:
    assert cli.main(["count", "--parts", parts]) == code
    assert capsys.readouterr() == ("", line)


def test_our_own_failures_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="ours"):
        cli.main(["count", "--parts", "3"])


def test_invoke_leaves_errors_to_its_caller() -> None:
    with pytest.raises(InspectError, match="expected parts"):
        cli.invoke("count", ["--parts", "0"])


@pytest.mark.parametrize("arguments", [[], ["--parts"], ["--parts", "many"], ["--part", "7"], ["--parts", "7", "more"]])
def test_wrong_options_leave_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["count", *arguments])
    assert left.value.code == 2
    assert "usage: edge-inspect count" in capsys.readouterr().err


def test_help_shows_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["count", "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "Count the parts." in out
    assert "example:\n  edge-inspect count --parts 7" in out


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cuont"]) == 2
    assert capsys.readouterr().err == "edge-inspect: no command 'cuont'; known: count, wrong\n"


def test_what_is_no_command_is_our_failure() -> None:
    with pytest.raises(TypeError, match=r"entry point 'counting:wrong' is a str, expected a Command"):
        cli.main(["wrong"])


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_the_overview(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    entry = EntryPoint("count", "counting:count", cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry])
    assert cli.main(arguments) == code
    assert "count  Count the parts." in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-inspect {__version__}\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    """As in `edge-inspect watch | head -1`: the next print meets a closed pipe."""
    script = (
        "import sys; from engines import cli\n"
        "def run(options):\n    for _ in range(100000): print('verdict', flush=True)\n"
        "command = cli.Command('', '', lambda parser: None, run)\n"
        "cli._registered, cli._load = lambda: {'talk': command}, lambda entry: entry\n"
        "sys.exit(cli.main(['talk']))"
    )
    talker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert talker.stdout is not None
    assert talker.stderr is not None
    assert talker.stdout.readline() == b"verdict\n"
    talker.stdout.close()
    assert (talker.wait(30), talker.stderr.read()) == (0, b"")
    talker.stderr.close()


def test_the_installed_command_answers() -> None:
    program = Path(sys.executable).with_name("edge-inspect")
    if not program.exists():
        pytest.skip("the package is not installed in this environment")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"edge-inspect {__version__}\n"), done.stderr


def test_finding_a_command_imports_no_package_of_ours() -> None:
    script = (
        "import sys; from engines import cli; cli.main(['nothing']); "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    heavy = ["trainer", "calibration", "edge", "torch", "cv2", "numpy", "openvino", "onnxruntime"]
    command = [sys.executable, "-c", script, *heavy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_every_command_of_the_design_is_registered() -> None:
    registered = {entry.name for entry in entry_points(group=cli.GROUP)}
    if not registered:
        pytest.skip("the package is not installed in this environment")
    assert registered >= {"train", "evaluate", "export", "calibrate", "run", "watch", "doctor", "demo"}


@pytest.mark.parametrize(("error", "code"), [(InspectError, 2), (UsageError, 2), (EngineError, 1)])
def test_exit_codes_tell_bad_input_from_failure(error: type[InspectError], code: int) -> None:
    assert error("").exit_code == code
