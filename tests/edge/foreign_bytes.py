"""Everything that reads foreign bytes, and a coverage-guided search for bytes that it does not stand.

The promise: whatever comes, a parser returns something or raises an InspectError. The tests hold it with random bytes
and random changes of good ones; this program searches further, guided by the branches that are taken:

    pip install atheris
    python -m tests.edge.foreign_bytes request --seconds 60

It guides by our own code, which it instruments; the JSON, TOML and image libraries behind it are searched blindly.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np

import edge.verdict as protocol
from edge import requests
from edge.config import load_config
from edge.keys import KeyFolder, Role, read_client_key
from edge.plc import heartbeat
from edge.sequence import SequenceWatch
from edge.service.journal import entry
from engines.bundle import SCHEMA, BackboneInfo, Bundle, BundleInfo, Provenance, write_bundle
from engines.errors import InspectError
from engines.head import Head
from engines.images import decode_image
from engines.preprocess import Preprocessing
from tests.edge.messages import WHEN, beat, verdict


@dataclass(frozen=True)
class Parser:
    """One reader of foreign bytes, and bytes that it takes."""

    parse: Callable[[bytes], object]
    seeds: Sequence[bytes]

    def stands(self, data: bytes) -> None:
        """Parse bytes. What it raises is a fault of the parser."""
        try:
            self.parse(data)
        except InspectError:
            return


def parsers(folder: Path) -> Mapping[str, Parser]:
    """All of them, by name. They keep what they need in `folder`, an empty one."""
    keys = KeyFolder(folder / "keys")
    keys.new_client("panel", Role.READ, folder / "panel.key")
    client_file = keys.path / "clients" / "panel.json"
    return {
        "published": Parser(_hear, [protocol.encode(message) for message in (verdict(2), beat(2))]),
        "gateway": Parser(heartbeat.decode, [heartbeat.encode(GATEWAY)]),
        "request": Parser(requests.decode_request, [requests.encode(request) for request in _REQUESTS]),
        "reply": Parser(requests.decode_reply, [requests.encode(reply) for reply in _REPLIES]),
        "config": Parser(_of_file(folder / "station.toml", load_config), [_STATION_FILE]),
        "client-key": Parser(_of_file(folder / "fuzzed.key", read_client_key), [(folder / "panel.key").read_bytes()]),
        "client-list": Parser(_of_file(client_file, lambda _: keys.clients()), [client_file.read_bytes()]),
        "bundle-info": _bundle_parser(folder, "bundle.json", consistent=True),
        "bundle-manifest": _bundle_parser(folder, "MANIFEST.json", consistent=False),
        "image": Parser(lambda data: decode_image(data, "fuzzed"), _pictures()),
        "journal": Parser(lambda data: entry({"PART_ID": data.decode("utf-8", "surrogateescape")}), [b"a.png"]),
    }


def _hear(data: bytes) -> object:
    message = protocol.decode(data)
    watch = SequenceWatch()
    for now in (0.0, 1.0):
        watch.repeated(message)
        watch.note(message, now)
    return watch.silent(1e9)


def _of_file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        path.write_bytes(data)
        path.chmod(0o600)
        return read(path)

    return parse


def _bundle_parser(folder: Path, name: str, consistent: bool) -> Parser:
    """The parser of one of a bundle's files. `consistent`: the manifest is right about it, as a forger would see to."""
    bundle = write_bundle(folder / f"bundle-{name}", _INFO, b"no network", _head())
    seed = (bundle.path / name).read_bytes()
    manifest = (bundle.path / "MANIFEST.json").read_bytes()

    def parse(data: bytes) -> Bundle:
        (bundle.path / name).write_bytes(data)
        if consistent:
            digests = (hashlib.sha256(seed).hexdigest().encode(), hashlib.sha256(data).hexdigest().encode())
            (bundle.path / "MANIFEST.json").write_bytes(manifest.replace(*digests))
        return Bundle.open(bundle.path)

    return Parser(parse, [seed])


def _pictures() -> list[bytes]:
    picture = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    return [cv2.imencode(suffix, picture)[1].tobytes() for suffix in (".png", ".jpg", ".bmp", ".tif", ".webp")]


def _head() -> Head:
    two, one = np.ones((2, 2), np.float32), np.ones(2, np.float32)
    return Head(two, two, one, one, one, one, one, one, np.ones(1, np.float32))


_INFO = BundleInfo(
    schema=SCHEMA,
    product="flange",
    preprocessing=Preprocessing(),
    backbone=BackboneInfo("resnet18", "0" * 64, "random"),
    provenance=Provenance("0" * 64, 1, (), 0, {"name": "none"}, {}, WHEN, ()),
)
GATEWAY = heartbeat.GatewayHeartbeat(
    session_id="s1",
    station="a",
    sent_at=WHEN,
    interval_s=1.0,
    state_s=2.0,
    condition=heartbeat.Condition(
        state=heartbeat.GatewayState.NOT_READY,
        fault="lockout",
        reason="10 defective parts in a row",
        lockout=True,
        rate_alarm=False,
        plc=heartbeat.PlcLink.UP,
    ),
    parts=heartbeat.Sorted(released=3, rejected=2, late=1),
    faults={"lockout": 1},
)
_REQUESTS = (
    requests.StatusRequest(request_id="a"),
    requests.ReplayRequest(session_id="s1", first=1, last=2),
    requests.RecipeRequest(camera="top", recipe="flange"),
    requests.TriggerRequest(camera="top", part_id="7", encoder=-1),
    requests.ReloadRequest(),
)
_REPLIES = (
    requests.Done(message="done"),
    requests.Refused(reason="why"),
    requests.StatusReply(status=beat(2)),
    requests.ReplayReply(first=2, verdicts=(msgspec.Raw(protocol.encode(verdict(2))),)),
)
_STATION_FILE = b"""
station = "line-1"
[recipes.flange]
bundle = "flange"
job = 1
[cameras.top]
kind = "folder"
path = "in"
recipe = "flange"
[publish]
bind = "tcp://127.0.0.1:5555"
heartbeat_s = 0.5
[security]
keys = "keys"
[plc]
travel = 1.0
margin = 0.1
[plc.modbus]
host = "10.0.0.2"
"""


def main() -> None:
    """Search until the time is over, or a fault is found, which is kept as a file."""
    import atheris

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parser", help="name of the parser; a wrong one lists them")
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="foreign-bytes-"))
    known = parsers(folder)
    if options.parser not in known:
        sys.exit(f"known parsers: {', '.join(known)}")
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(known[options.parser].seeds):
        (corpus / str(number)).write_bytes(seed)
    atheris.instrument_all()
    limits = (f"-max_total_time={options.seconds}", f"-artifact_prefix={folder}/", "-print_final_stats=1")
    arguments = [sys.argv[0], *limits, str(corpus)]
    atheris.Setup(arguments, known[options.parser].stands)
    # Ends the process, after it has printed the number of runs.
    atheris.Fuzz()


if __name__ == "__main__":
    main()
