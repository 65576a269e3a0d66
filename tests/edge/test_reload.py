from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from edge.cameras.tables import FolderCamera
from edge.config import PublishTable, RecipeTable, StationConfig
from edge.reload import HangUp, Reloader
from edge.requests import ReloadRequest
from engines.bundle import Bundle
from engines.errors import ConfigError

OLD = StationConfig(
    station="cell-7",
    recipes={"flange": RecipeTable(bundle=Path("a"), job=1)},
    cameras={"top": FolderCamera(path=Path("in"))},
)


def changed(**changes: object) -> StationConfig:
    return msgspec.structs.replace(OLD, **changes)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (OLD, "nothing has changed"),
        (
            changed(recipes={**OLD.recipes, "plate": RecipeTable(bundle=Path("b"))}),
            "changed: recipes.plate, from the next change of recipe on",
        ),
        (changed(recipes={}), "changed: recipes.flange, from the next change of recipe on"),
        (
            changed(publish=PublishTable(heartbeat_s=2.0), cameras={"side": OLD.cameras["top"]}),
            "needs a restart: cameras.top, cameras.side, publish",
        ),
    ],
)
def test_it_says_what_has_changed_and_what_needs_a_restart(new: StationConfig, message: str) -> None:
    reloader = Reloader(OLD, lambda: new)
    assert reloader.answer(ReloadRequest()).message == message
    assert reloader.config.recipes == new.recipes
    assert (reloader.config.cameras, reloader.config.publish) == (OLD.cameras, OLD.publish)


def test_a_file_that_is_wrong_changes_nothing() -> None:
    def read() -> StationConfig:
        raise ConfigError("not valid TOML")

    reloader = Reloader(OLD, read)
    with pytest.raises(ConfigError):
        reloader.reload()
    assert reloader.config is OLD


def test_sighup_is_a_wish_as_long_as_it_is_entered() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with HangUp() as hang_up:
        assert not hang_up.made
        signal.raise_signal(signal.SIGHUP)
        assert hang_up.made
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_running_daemon_takes_a_new_recipe_over(
    start_daemon, listener, cli, tmp_path: Path, calibrated_bundle: Bundle
) -> None:
    address = f"ipc://{tmp_path}/control"
    daemon = start_daemon(f'kind = "folder"\npath = "{tmp_path}"', f'[control]\nbind = "{address}"')
    listener.until(lambda heard: "Running" in heard.states)
    station = tmp_path / "daemon-0" / "station.toml"
    good = station.read_text().replace('kind = "folder"', 'recipe = "flange"\nkind = "folder"')
    station.write_text("no TOML at all")
    daemon.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while "nothing has changed" not in "\n".join(daemon.errors):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    station.write_text(f'{good}\n[recipes.plate]\nbundle = "{calibrated_bundle.path}"\njob = 9\n')

    def control(*words: str) -> str:
        command = [*cli, "control", "--connect", address, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert "changed: recipes.plate, from the next change of recipe on; needs a restart: cameras.top" in control(
        "reload"
    )
    assert control("recipe", "--job", "9") == "recipe plate judges camera top\n"
    assert daemon.end() == 0
