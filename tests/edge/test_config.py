from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.cameras.tables import FolderCamera, OpenCVCamera, VideoCamera
from edge.config import RecipeTable, StationConfig, load_config, parse_config
from engines.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "docs" / "station.example.toml"
CAMERA = {"kind": "folder", "path": "in"}
LEAST: dict[str, Any] = {"station": "line-1", "recipes": {"flange": {"bundle": "b"}}, "cameras": {"top": CAMERA}}
TWO = {"flange": {"bundle": "b", "job": 1}, "plate": {"bundle": "c", "job": 2}}


def parse(changes: dict[str, Any]) -> StationConfig:
    return parse_config({**LEAST, **changes}, Path("/plant"), "station.toml")


@pytest.mark.parametrize(
    ("camera", "expected"),
    [
        ({"kind": "folder", "path": "in"}, FolderCamera(path=Path("/plant/in"))),
        ({"kind": "folder", "path": "/data/in"}, FolderCamera(path=Path("/data/in"))),
        (
            {"kind": "video", "path": "a.avi", "pace": "realtime"},
            VideoCamera(path=Path("/plant/a.avi"), pace="realtime"),
        ),
        ({"kind": "opencv", "device": 0}, OpenCVCamera(device=0)),
        ({"kind": "opencv", "device": "/dev/video2", "fps": 30}, OpenCVCamera(device="/dev/video2", fps=30.0)),
    ],
)
def test_each_kind_of_camera_has_its_own_table(camera: dict[str, Any], expected: object) -> None:
    assert parse({"cameras": {"top": camera}}).cameras == {"top": expected}


def test_a_camera_begins_with_the_recipe_it_names_or_with_the_only_one() -> None:
    assert parse({}).recipe_of("top") == "flange"
    named = {"top": {**CAMERA, "recipe": "plate"}, "side": {**CAMERA, "recipe": "flange"}}
    config = parse({"recipes": TWO, "cameras": named})
    assert (config.recipe_of("top"), config.recipe_of("side")) == ("plate", "flange")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"statoin": "x"}, "unknown key `statoin`; did you mean `station`?"),
        ({"zzz": 1}, "unknown key `zzz`; known here: station, recipes, cameras, engine, publish, control"),
        ({"cameras": {"top": {"kind": "folder", "pth": "in"}}}, "unknown key `cameras.top.pth`; did you mean `path`?"),
        ({"cameras": {"top": {"kind": "video", "path": "a", "settle_s": 1}}}, "unknown key `cameras.top.settle_s`"),
        ({"publish": {"heartbeat": 1}}, "unknown key `publish.heartbeat`; did you mean `heartbeat_s`?"),
        (
            {"cameras": {"top": {"kind": "foldr", "path": "in"}}},
            "`cameras.top.kind`: invalid value 'foldr'; choose from folder, video",
        ),
        ({"cameras": {"top": {"path": "in"}}}, "`cameras.top`: the table lacks the key `kind`"),
        ({"cameras": {"top": {"kind": "folder"}}}, "`cameras.top`: the table lacks the key `path`"),
        ({"cameras": "folder"}, "`cameras`: expected `table`, got `str`"),
        ({"cameras": {}}, "`cameras`: expected `table` of length >= 1"),
        ({"cameras": {"to p": CAMERA}}, "expected `str` matching regex"),
        ({"recipes": TWO}, "`cameras.top`: the table lacks the key `recipe`; choose from flange, plate"),
        ({"cameras": {"top": {**CAMERA, "recipe": "x"}}}, "`cameras.top.recipe`: there is no recipe 'x'; choose from"),
        (
            {
                "recipes": {name: {"bundle": name, "job": 7} for name in "ab"},
                "cameras": {"c": {**CAMERA, "recipe": "a"}},
            },
            "`recipes.b.job`: 7 is the job of 'a' already; choose another",
        ),
        (
            {"engine": {"backend": "openvno"}},
            "invalid enum value 'openvno'; choose from auto, tensorrt, tensorrt-rtx, openvino, onnxruntime",
        ),
        ({"pipeline": {"frames": "4"}}, "`pipeline.frames`: expected `int`, got `str`"),
        ({"pipeline": {"frames": 0}}, "`pipeline.frames`: expected `int` >= 1"),
        ({"publish": {"heartbeat_s": 0}}, "`publish.heartbeat_s`: expected `float` > 0.0"),
        ({"publish": {"bind": "localhost:5555"}}, "`publish.bind`: expected `str` matching regex"),
        ({"recipes": {"flange": {"bundle": 3}}}, "`recipes.flange.bundle`: expected `str`, got `int`"),
        ({"station": "line 1/a"}, "`station`: expected `str` matching regex"),
    ],
)
def test_a_wrong_key_or_value_is_named_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(changes)
    assert str(caught.value).startswith("station.toml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'station = "a', "not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b'station = "a"', "the table lacks the key `recipes`"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "station.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["line-1\n", "line 1", "a/b", ""])
def test_a_station_is_named_in_letters_of_one_line(tmp_path: Path, name: str) -> None:
    data = {"station": name, "recipes": {"a": {"bundle": "b"}}, "cameras": {"c": {"kind": "folder", "path": "in"}}}
    with pytest.raises(ConfigError, match="`station`"):
        parse_config(data, tmp_path, "station.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml, which cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml")


def test_the_example_shows_the_defaults() -> None:
    example = load_config(EXAMPLE)
    camera = FolderCamera(path=EXAMPLE.parent / "incoming", recipe="flange")
    recipes = {"flange": RecipeTable(bundle=EXAMPLE.parent / "bundles" / "flange", job=1)}
    assert example == StationConfig(station="line-1", recipes=recipes, cameras={"top": camera})


def test_the_example_names_every_key_of_its_tables() -> None:
    text = EXAMPLE.read_text()
    config = load_config(EXAMPLE)
    for table in (config.recipes["flange"], config.cameras["top"], config.engine, config.publish, config.pipeline):
        for key in msgspec.structs.asdict(table):
            assert re.search(rf"^(# )?{key} = ", text, re.MULTILINE), key
