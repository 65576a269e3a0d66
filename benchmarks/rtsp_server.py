"""An RTSP server in a process of its own: `rtsp_server.py PORT [USER PASSWORD]` serves /line, 320x240 at 25 a second.

With `--stamps FILE` it writes the monotonic clock, in nanoseconds, at which each picture was made.

SIGUSR1 changes the size to 160x120 in mid-stream, SIGUSR2 freezes the picture and lets it go on again. It prints
`ready` when it listens.
"""

from __future__ import annotations

import argparse
import signal
import time
from typing import IO, Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

_LAUNCH = (
    "( videotestsrc name=source is-live=true pattern=ball ! capsfilter name=size caps={caps} "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def _caps(width: int, height: int) -> str:
    return f"video/x-raw,format=I420,width={width},height={height},framerate=25/1"


def _guard(server: Any, factory: Any, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    role = "viewer, media.factory.access=true, media.factory.construct=true"
    factory.add_role_from_structure(Gst.Structure.new_from_string(role))


def _serve(port: str, credentials: list[str], stamps: IO[str] | None) -> None:
    Gst.init(None)
    loop, server, factory = GLib.MainLoop(), GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_service(port)
    server.set_address("127.0.0.1")
    factory.set_launch(_LAUNCH.format(caps=_caps(320, 240)))
    factory.set_shared(True)
    if credentials:
        _guard(server, factory, *credentials)
    elements: list[Any] = []
    patterns = ["ball", "black"]

    def configure(_: Any, media: Any) -> None:
        elements.append(media.get_element())
        source = elements[-1].get_by_name("source")
        source.set_property("pattern", patterns[0])
        if stamps is not None:
            source.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, stamp)

    def stamp(*_: Any) -> Any:
        print(time.monotonic_ns(), file=stamps, flush=True)
        return Gst.PadProbeReturn.OK

    factory.connect("media-configure", configure)
    server.get_mount_points().add_factory("/line", factory)
    server.attach(None)

    def shrink() -> bool:
        for each in elements:
            each.get_by_name("size").set_property("caps", Gst.Caps.from_string(_caps(160, 120)))
        return True

    def freeze() -> bool:
        patterns.reverse()
        for each in elements:
            each.get_by_name("source").set_property("pattern", patterns[0])
        return True

    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, shrink)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR2, freeze)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port")
    parser.add_argument("credentials", nargs="*")
    parser.add_argument("--stamps", type=argparse.FileType("w"))
    options = parser.parse_args()
    _serve(options.port, options.credentials, options.stamps)
