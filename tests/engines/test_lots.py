from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import DataError
from engines.lots import FOLDERS, list_by_lot, lots_of


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("monday/1.png", "monday/2.png", "tuesday/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_are_lots(photos: Path) -> None:
    paths = list_by_lot(photos)
    assert lots_of(paths, photos, FOLDERS) == ("monday", "monday", "tuesday")


def test_a_table_names_files_below_the_folder_or_by_bare_name(photos: Path) -> None:
    table = photos / "lots.csv"
    table.write_text("lot,file\nA,monday/1.png\nB,2.png\nC,tuesday/1.png\n")
    assert lots_of(list_by_lot(photos), photos, str(table)) == ("A", "B", "C")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,lot\nmonday/1.png,A\n", "names no lot for 2 of 3 photographs .*2.png"),
        ("file,lot\nmonday/1.png,\nmonday/2.png,A\ntuesday/1.png,A\n", "names no lot for 1 of 3"),
        ("name,batch\n1.png,A\n", "columns file and lot in its first line"),
        ("", "columns file and lot in its first line"),
        (None, "expected the word folders, or a csv file"),
    ],
)
def test_a_table_that_does_not_say_is_refused(photos: Path, table: str | None, message: str) -> None:
    if table is not None:
        (photos / "lots.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        lots_of(list_by_lot(photos), photos, str(photos / "lots.csv"))


def test_no_folder_is_no_lot(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder of photographs for each lot"):
        list_by_lot(tmp_path)
