from __future__ import annotations

import errno
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from edge.archive import store as store_module
from edge.archive.index import PICTURES, ArchiveIndex
from edge.archive.part import ArchiveError, Kept, Query
from edge.archive.store import ArchiveStore, Entry
from edge.verdict import Evaluation
from tests.edge.archive.parts import bare, entry, frame, moment, verdict


def files(folder: Path) -> set[Path]:
    return {path for path in (folder / PICTURES).rglob("*") if path.is_file()}


def named(folder: Path) -> set[Path]:
    """The files that the index names."""
    found: set[Path] = set()
    before = None
    with ArchiveIndex.open(folder) as index:
        while page := index.search(Query(), 1000, before):
            found |= {path for part in page for path in (part.picture, part.map) if path is not None}
            before = page[-1].key
    return found


def test_a_part_is_held_with_its_verdict_and_its_pictures(tmp_path: Path) -> None:
    one = entry(part_id="P1")
    with ArchiveStore(tmp_path) as store:
        (key,) = store.add([one])
        part = store.index.part(key)
    assert part is not None
    assert (part.verdict, part.product, part.kept_because) == (one.verdict, "Flange", Kept.REJECT)
    assert files(tmp_path) == {part.picture, part.map} == named(tmp_path)


def test_a_part_without_pictures_says_why(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        (key,) = store.add([Entry(verdict(), "Flange", Kept.REJECT, missing="disk full")])
        part = store.index.part(key)
    assert part is not None
    assert (part.picture, part.map, part.map_view, part.missing) == (None, None, None, "disk full")
    assert files(tmp_path) == set()


def test_a_frame_without_a_map_is_held_alone(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        (key,) = store.add([Entry(verdict(), "Flange", Kept.REJECT, frame=frame())])
        part = store.index.part(key)
    assert part is not None
    assert files(tmp_path) == {part.picture}


def test_an_archive_goes_on_after_the_end_of_its_writer(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        (first,) = store.add([entry(0)])
    with ArchiveStore(tmp_path) as store:
        (second,) = store.add([entry(1)])
        assert [part.key for part in store.index.search(Query())] == [second, first]
    assert len(files(tmp_path)) == 4


def test_two_writers_of_one_archive_are_one_too_many(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path), pytest.raises(ArchiveError, match="another process writes"):
        ArchiveStore(tmp_path)
    ArchiveStore(tmp_path).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match=r"archive\.folder: cannot write in .*file"):
        ArchiveStore(tmp_path / "file")


def test_what_is_removed_leaves_neither_rows_nor_files(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        keys = store.add([entry(second, second) for second in range(5)])
        store.remove(keys[:3])
        assert [part.key for part in store.index.search(Query())] == keys[:2:-1]
        assert files(tmp_path) == named(tmp_path)
        assert len(files(tmp_path)) == 4
        store.remove(keys[3:])
        store.remove(keys)
        assert (store.room().parts, store.room().pictures) == (0, 0)
    assert files(tmp_path) == set()


def test_folders_that_are_empty_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PARTS_A_FOLDER", 2)
    with ArchiveStore(tmp_path) as store:
        keys = [key for second in range(6) for key in store.add([entry(second)])]
        assert len(list((tmp_path / PICTURES).glob("*/*"))) == 3
        store.remove(keys[:4])
        assert len(list((tmp_path / PICTURES).glob("*/*"))) == 1
        store.remove(keys[4:])
    ArchiveStore(tmp_path).close()
    assert list((tmp_path / PICTURES).iterdir()) == []


def test_the_room_that_files_take_is_known(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        store.add([entry(0), entry(1), entry(2, evaluation=Evaluation.OK)])
        room = store.room()
    blocks = {path: -(-path.stat().st_size // 4096) * 4096 for path in files(tmp_path)}
    assert (room.parts, room.pictures) == (3, sum(blocks.values()))
    assert room.total == room.pictures + room.index
    # The log may be shorter than it counts, and holds what is not in the database's file yet.
    index = sum(path.stat().st_size for path in tmp_path.glob("index.sqlite*") if not path.name.endswith("-shm"))
    assert 0 <= room.index - index <= 5 << 20


def test_the_oldest_are_told_by_evaluation_and_age(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        rejects = store.add([entry(second) for second in (3, 1, 2)])
        store.add([bare(0)])
        assert store.oldest(Evaluation.NOT_OK, 2) == [rejects[1], rejects[2]]
        assert store.oldest(Evaluation.NOT_OK, 9, before=moment(3)) == [rejects[1], rejects[2]]
        assert store.oldest(Evaluation.NOT_OK, 9, before=moment(3) + timedelta(milliseconds=1))[-1] == rejects[0]
        assert len(store.oldest(Evaluation.OK, 9)) == 1


def test_a_batch_is_held_whole_or_not_at_all(tmp_path: Path) -> None:
    unwritable = Entry(verdict(1), "Flange", Kept.REJECT, frame=frame()[:0])
    with ArchiveStore(tmp_path) as store:
        with pytest.raises(OSError, match="cannot be encoded"):
            store.add([entry(0), unwritable])
        assert store.index.search(Query()) == []
        assert files(tmp_path) == set()
        store.add([entry(0)])
    assert files(tmp_path) == named(tmp_path)


def test_a_file_that_may_not_grow_leaves_the_archive_as_it_was(tmp_path: Path) -> None:
    """The kernel refuses a write in the middle, as a full disk does."""
    code = (
        "import sys, pathlib, resource, signal; from tests.edge.archive.parts import entry, frame\n"
        "from edge.archive.store import ArchiveStore, Entry; from edge.archive.part import Kept\n"
        "with ArchiveStore(pathlib.Path(sys.argv[1])) as store:\n"
        "    store.add([entry(0)])\n"
        "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, -1))\n"
        "    large = Entry(entry(1).verdict, 'Flange', Kept.REJECT, frame=frame(shape=(600, 600, 3)))\n"
        "    try: store.add([entry(2), large])\n"
        "    except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == errno.EFBIG
    assert files(tmp_path) == named(tmp_path)
    assert len(files(tmp_path)) == 2


WRITER = """
import itertools, pathlib, sys
from edge.archive.store import ArchiveStore
from edge.verdict import Evaluation
from tests.edge.archive.parts import bare, entry
with ArchiveStore(pathlib.Path(sys.argv[1])) as store:
    for turn in itertools.count(int(sys.argv[2])):
        for key in store.add([entry(turn, turn % 9), bare(turn + 0.5), entry(turn + 0.7, evaluation=Evaluation.OK)]):
            print(key, flush=True)
        if turn % 5 == 0:
            gone = store.oldest(Evaluation.OK, 3)
            print(*(-key for key in gone), sep="\\n", flush=True)
            store.remove(gone)
"""


def test_after_a_kill_at_any_moment_index_and_files_agree(tmp_path: Path) -> None:
    """What was acknowledged is there, but for what its writer had begun to remove."""
    acknowledged: set[int] = set()
    for kill in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(1000 * kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(20 + 17 * kill)]
            writer.kill()
            said += writer.stdout.readlines()
        # The last line may be half a number.
        keys = [int(line) for line in said if line.endswith("\n")]
        acknowledged |= {key for key in keys if key > 0}
        acknowledged -= {-key for key in keys if key < 0}
        with ArchiveStore(tmp_path) as store:
            assert acknowledged <= {part.key for part in store.index.search(Query(), 1000)}
        assert files(tmp_path) == named(tmp_path)
    assert len(acknowledged) > 50
