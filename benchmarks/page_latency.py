"""When a reject is on the live page: from the making of its verdict's message to the change that a browser shows.

A real daemon, the page's process and headless Chromium, all on this machine; parts arrive as files, one after the
other, and about half of them are rejects. In the page a MutationObserver notes when the lamp names a reject, when the
live picture is that reject's, and when its card is first of the gallery. The page is never loaded again.

    python benchmarks/page_latency.py --rejects 100 --json page.json

Times are of the wall clock, which all processes here share; a verdict carries it to the millisecond.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.bundles import make_bundle, rendered_frames
from benchmarks.machine import describe_machine
from benchmarks.results import Row, check_folders, format_table, positive
from benchmarks.service_process import Service
from benchmarks.station_watch import Said, StationWatch
from benchmarks.viewers import live_page
from calibration.procedure import calibrate
from edge.demo.child import command_line
from edge.verdict import Evaluation, Verdict
from edge.worker import Worker
from engines.errors import DataError, InspectError
from engines.extras import import_extra
from engines.registry import open_engine

CAMERA = "top"
PLACES = ("lamp", "picture", "gallery")
# Notes in `seen` when each place of the page has changed, and to which part; it runs before the page's own scripts.
OBSERVE = """
window.seen = [];
document.addEventListener("DOMContentLoaded", () => {
  const places = {
    lamp: () => document.getElementById("part")?.textContent,
    picture: () => document.getElementById("picture")?.getAttribute("aria-label"),
    gallery: () => document.querySelector("#rejects li b")?.textContent,
  };
  const last = {};
  const look = () => {
    for (const [place, shows] of Object.entries(places)) {
      const text = shows();
      if (!text || text === last[place]) continue;
      last[place] = text;
      window.seen.push({ place, text, at_ms: performance.timeOrigin + performance.now() });
    }
  };
  const everything = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(look).observe(document.body, everything);
});
"""

_FRAMES = 20
_PITCH_S = 1.5
_LIMIT_S = 120.0
_LOOK_S = 0.1


class PageLatencyError(InspectError):
    """A page that does not show what the daemon says."""

    exit_code = 1


def delays_ms(rejects: Sequence[Verdict], seen: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """By place, the milliseconds from a reject's message to its sight, for those that were seen there."""
    found: dict[str, list[float]] = {place: [] for place in PLACES}
    for verdict in rejects:
        said_ms = datetime.fromisoformat(verdict.sent_at).timestamp() * 1e3
        for place in PLACES:
            # The picture's label holds the part's name among other words.
            at = next((s["at_ms"] for s in seen if s["place"] == place and (verdict.part_id or "?") in s["text"]), None)
            if at is not None:
                found[place].append(at - said_ms)
    return found


def measure(folder: Path, count: int) -> list[Row]:
    """Send parts until `count` are rejects; a row for each place. Raises PageLatencyError."""
    inbox, station = folder / "in", folder / "station.toml"
    inbox.mkdir()
    frames = rendered_frames(_FRAMES)
    station.write_text(_station_file(folder, inbox, _bundle(folder, frames)), encoding="utf-8")
    watch = StationWatch(f"ipc://{folder}/verdicts")
    with ExitStack() as stack:
        listening = Worker("watch", watch)
        listening.start()
        stack.callback(listening.stop, 5.0)
        stack.enter_context(Service("daemon", command_line(["run", "--config", str(station)]), folder / "daemon.log"))
        page = stack.enter_context(_browser())
        page.goto(stack.enter_context(live_page(station)))
        rejects = list(_rejects(watch, inbox, frames, count))
        time.sleep(2 * _PITCH_S)
        found = delays_ms(rejects, page.evaluate("() => window.seen"))
    return [_row(place, ms, count) for place, ms in found.items()]


def table(rows: Sequence[Row]) -> str:
    """The rows as text, times in milliseconds."""
    cells = [
        [r["place"], f"{r['seen']} of {r['rejects']}", *(f"{r[k]:.0f}" for k in ("p50", "p99", "max"))] for r in rows
    ]
    return format_table(("reject on the page", "seen", "p50", "p99", "max"), cells)


@contextmanager
def _browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise DataError("chromium is not installed: make system-deps")
    with import_extra("playwright.sync_api", "test").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(OBSERVE)
        yield page
        browser.close()


def _row(place: str, ms: Sequence[float], count: int) -> Row:
    if not ms:
        raise PageLatencyError(f"expected {count} rejects at the page's {place}, found none")
    p50, p99 = (float(np.percentile(ms, percent)) for percent in (50, 99))
    return {"place": place, "rejects": count, "seen": len(ms), "p50": p50, "p99": p99, "max": float(max(ms))}


def _rejects(watch: StationWatch, inbox: Path, frames: Sequence[NDArray[np.uint8]], count: int) -> Iterator[Verdict]:
    number = 0
    while count:
        name = f"part-{number:05d}.png"
        draft = inbox / f".{name}"
        draft.write_bytes(cv2.imencode(".png", frames[number % len(frames)])[1].tobytes())
        draft.rename(inbox / name)
        said = watch.await_first(0.0, partial(_is_of, name), _LIMIT_S)
        if said is None or not isinstance(said.message, Verdict):
            raise PageLatencyError(f"no verdict on {name} within {_LIMIT_S:g} s")
        if said.message.evaluation is not Evaluation.OK:
            count -= 1
            yield said.message
            time.sleep(_PITCH_S)
        number += 1


def _is_of(name: str, said: Said) -> bool:
    return isinstance(said.message, Verdict) and said.message.part_id == name


def _bundle(folder: Path, frames: Sequence[NDArray[np.uint8]]) -> Path:
    bundle = make_bundle(folder / "bundle", "resnet18", False)
    with open_engine(bundle, "auto", "auto") as engine:
        # Half of the very frames that come are above the threshold.
        return calibrate(bundle, engine, [bundle.info.preprocessing(frame) for frame in frames], 0.5).path


def _station_file(folder: Path, inbox: Path, bundle: Path) -> str:
    return (
        f'station = "page"\n[recipes.any]\nbundle = {json.dumps(str(bundle))}\n'
        f'[cameras.{CAMERA}]\nkind = "folder"\npath = "{inbox}"\n[engine]\nin_flight = 1\n'
        f'[publish]\nbind = "ipc://{folder}/verdicts"\n[archive]\nfolder = "{folder}/archive"\n'
        f'[live]\nbind = "ipc://{folder}/live"\n[web]\nbind = "127.0.0.1:0"\n'
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rejects", type=positive, default=100, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    options = parser.parse_args(argv)
    machine = describe_machine()
    try:
        check_folders(options.json)
        with tempfile.TemporaryDirectory(prefix="page-latency-") as folder:
            rows = measure(Path(folder), options.rejects)
    except InspectError as error:
        print(f"page_latency: {error}", file=sys.stderr)
        return error.exit_code
    print(table(rows))
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']} at the start")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
