"""The tables `[cameras.NAME]` of the station file, one type a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.table import Count, Rate, Seconds, Table


class AnyCamera(Table, frozen=True, kw_only=True, tag_field="kind"):
    """What every camera has: the recipe that judges its parts, and how long to wait before it is opened again."""

    recipe: Annotated[
        str | None,
        msgspec.Meta(description="Name of the recipe to begin with; may be left out where there is only one."),
    ] = None
    roi: Annotated[
        tuple[int, int, int, int] | None,
        msgspec.Meta(
            description="Region of the picture that is inspected: x, y, width, height in pixels. It takes the place of "
            "the bundle's; the bundle must have been trained and calibrated on pictures of that region."
        ),
    ] = None
    ignore: Annotated[
        tuple[tuple[tuple[int, int], ...], ...],
        msgspec.Meta(
            description="Areas that nobody cares about: polygons of corners [x, y] in pixels of the picture. A part is "
            "then judged by the largest value of the anomaly map outside, against the map's own threshold. The map is "
            "blurred: draw them some pixels larger."
        ),
    ] = ()
    ignore_mask: Annotated[
        Path | None,
        msgspec.Meta(description="The same as a picture of the camera's size: what is not black is ignored."),
    ] = None
    retry_s: Annotated[Seconds, msgspec.Meta(description="First pause before an absent camera is tried again.")] = 0.5
    retry_max_s: Annotated[
        Seconds, msgspec.Meta(description="Longest such pause; it doubles from `retry_s` up to here.")
    ] = 10.0


class LiveCamera(AnyCamera, frozen=True, kw_only=True):
    """What every camera has that is a device: when it counts as lost although its driver says nothing."""

    frame_timeout_s: Annotated[
        Seconds,
        msgspec.Meta(
            description="A free-running camera that gives no frame for so long is lost, and so is one that does not "
            "answer a software trigger; it is opened again."
        ),
    ] = 2.0
    frozen_frames: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=100_000,
            description="After so many equal pictures in a row a further one is no picture of a part: NotDecidable, "
            "and the camera is opened again. 0 never looks.",
        ),
    ] = 5


class FolderCamera(AnyCamera, frozen=True, kw_only=True, tag="folder"):
    """A watched folder: every image file is a part, taken once when its writer has closed it or moved it in.

    Left alone are hidden files and other suffixes, so a writer may use such a name until a file is complete. Files
    already there are taken first, by name, at every start of the daemon.
    """

    path: Annotated[Path, msgspec.Meta(description="Folder that another program writes image files into.")]
    watch: Annotated[
        Literal["auto", "inotify", "poll"],
        msgspec.Meta(
            description="How new files are noticed. `auto` polls on network file systems, where the kernel does not "
            "report what other machines write."
        ),
    ] = "auto"
    settle_s: Annotated[
        Seconds,
        msgspec.Meta(
            description="A file counts as complete after it has not changed for so long: when polling, and for files "
            "that were just being written at the start."
        ),
    ] = 1.0


class VideoCamera(AnyCamera, frozen=True, kw_only=True, tag="video"):
    """A video file: every frame is a part. The daemon ends with exit code 0 after the last one."""

    path: Annotated[Path, msgspec.Meta(description="Video file.")]
    pace: Annotated[
        Literal["fast", "realtime"],
        msgspec.Meta(
            description="`fast` inspects every frame as quickly as the engine can; `realtime` plays at the file's own "
            "rate like a live camera, where the newest frame wins and the others are counted as dropped."
        ),
    ] = "fast"


class OpenCVCamera(LiveCamera, frozen=True, kw_only=True, tag="opencv"):
    """A free-running camera through OpenCV (Video4Linux). The newest frame wins, the others count as dropped."""

    device: Annotated[int | str, msgspec.Meta(description="Index of the camera, or its path such as `/dev/video0`.")]
    width: Annotated[Count | None, msgspec.Meta(description="Width asked of the camera, in pixels.")] = None
    height: Annotated[Count | None, msgspec.Meta(description="Height asked of the camera, in pixels.")] = None
    fps: Annotated[Rate | None, msgspec.Meta(description="Frames a second asked of the camera.")] = None
    format: Annotated[
        Annotated[str, msgspec.Meta(pattern=r"^[ -~]{4}$")] | None,
        msgspec.Meta(description="Pixel format by its four characters, e.g. `MJPG` or `YUYV`; else the camera's own."),
    ] = None
    exposure_us: Annotated[
        Annotated[float, msgspec.Meta(ge=100)] | None,
        msgspec.Meta(description="Exposure in microseconds, in steps of 100; else automatic."),
    ] = None


class GStreamerCamera(LiveCamera, frozen=True, kw_only=True, tag="gstreamer"):
    """A free-running camera behind any GStreamer pipeline that ends in an appsink. Needs the extra `genicam`."""

    pipeline: Annotated[
        str,
        msgspec.Meta(
            description="As `gst-launch-1.0` takes it, e.g. `v4l2src device=/dev/video0 ! videoconvert ! appsink`. "
            "The appsink takes BGR, BGRx or GRAY8."
        ),
    ]


class CSICamera(LiveCamera, frozen=True, kw_only=True, tag="csi"):
    """A camera module on a Jetson's CSI connector, through NVIDIA's `nvarguscamerasrc`. Needs the extra `genicam`."""

    sensor: Annotated[int, msgspec.Meta(ge=0, le=15, description="Number of the connector.")] = 0
    width: Annotated[Count, msgspec.Meta(description="Width in pixels, one of the sensor's modes.")] = 1280
    height: Annotated[Count, msgspec.Meta(description="Height in pixels, one of the sensor's modes.")] = 720
    fps: Annotated[Count, msgspec.Meta(description="Frames a second, one of the sensor's modes.")] = 30
    flip: Annotated[
        int, msgspec.Meta(ge=0, le=7, description="How `nvvidconv` turns the picture: 0 not at all, 2 by 180 degrees.")
    ] = 0


class RTSPCamera(LiveCamera, frozen=True, kw_only=True, tag="rtsp"):
    """A network camera's RTSP stream, free-running. With the extra `genicam` through GStreamer, else through OpenCV."""

    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^rtsps?://[^@\s]+$", description="Address, `rtsp://HOST:PORT/PATH`, without user and password."
        ),
    ]
    user: Annotated[str | None, msgspec.Meta(description="User name, where the camera asks for one.")] = None
    password_file: Annotated[Path | None, msgspec.Meta(description="File whose first line is the password.")] = None
    transport: Annotated[
        Literal["tcp", "udp"],
        msgspec.Meta(description="`tcp` loses nothing of a picture; `udp` needs GStreamer."),
    ] = "tcp"
    codec: Annotated[
        Literal["h264", "h265", "mjpeg"], msgspec.Meta(description="How the camera encodes; OpenCV finds out itself.")
    ] = "h264"
    backend: Annotated[
        Literal["auto", "gstreamer", "opencv"],
        msgspec.Meta(description="`auto`: GStreamer where it is installed. OpenCV is one frame period later."),
    ] = "auto"
    frozen_frames: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=100_000,
            description="As for every camera. Encoders send nothing of what does not change, so equal pictures are "
            "common here, and the default is high.",
        ),
    ] = 250


class IndustrialCamera(LiveCamera, frozen=True, kw_only=True):
    """What cameras with an input for a light barrier have."""

    trigger: Annotated[
        Literal["none", "software", "hardware"],
        msgspec.Meta(
            description="`none` runs free: the newest frame wins. `hardware` takes a part for each signal on "
            "`trigger_line`, `software` for each trigger request."
        ),
    ] = "none"
    pixel_format: Annotated[
        str | None, msgspec.Meta(description="As the camera names it, e.g. `Mono8`, `BayerRG8`; else as it is set.")
    ] = None
    exposure_us: Annotated[
        Annotated[float, msgspec.Meta(gt=0)] | None,
        msgspec.Meta(description="Exposure in microseconds; else as the camera is set."),
    ] = None
    gain: Annotated[
        Annotated[float, msgspec.Meta(ge=0)] | None,
        msgspec.Meta(description="Gain in the camera's unit, mostly dB; else as the camera is set."),
    ] = None
    fps: Annotated[Rate | None, msgspec.Meta(description="Frames a second when running free.")] = None
    buffers: Annotated[
        int, msgspec.Meta(ge=2, le=1000, description="Frames that the driver may hold until they are read.")
    ] = 16


class GenICamCamera(IndustrialCamera, frozen=True, kw_only=True, tag="genicam"):
    """A GigE Vision or USB3 Vision camera, through Aravis. Needs the extra `genicam`."""

    device: Annotated[
        str, msgspec.Meta(description="Address of the camera, or its id as `arv-tool-0.8` lists it (vendor-serial).")
    ]
    trigger_line: Annotated[
        str, msgspec.Meta(description="Input that the light barrier is wired to, by the camera's name for it.")
    ] = "Line0"
    packet_size: Annotated[
        int,
        msgspec.Meta(
            ge=576,
            le=16_000,
            description="GigE: bytes of a packet with its headers, no more than the smallest MTU on the way. "
            "8000 or more, with jumbo frames everywhere, spares the processor.",
        ),
    ] = 1500


class BaslerCamera(IndustrialCamera, frozen=True, kw_only=True, tag="basler"):
    """A Basler camera, through Basler's own pylon. Needs the extra `basler`."""

    serial: Annotated[str, msgspec.Meta(description="Serial number of the camera.")]
    trigger_line: Annotated[str, msgspec.Meta(description="Input that the light barrier is wired to.")] = "Line1"


class SyntheticCamera(LiveCamera, frozen=True, kw_only=True, tag="synthetic"):
    """A camera that does not exist: it draws parts, for rehearsals. A verdict's `part_id` tells the truth."""

    product: Annotated[
        Literal["flange", "plate", "connector", "gasket"], msgspec.Meta(description="Kind of part that is drawn.")
    ] = "flange"
    rate: Annotated[Rate, msgspec.Meta(description="Parts a second; software triggers set their own.")] = 10.0
    trigger: Annotated[
        Literal["none", "software", "hardware"],
        msgspec.Meta(
            description="`none` runs free: the newest frame wins. `hardware` acts as a light barrier that fires at "
            "`rate`, and every part counts. `software` takes a part for each trigger request."
        ),
    ] = "none"
    width: Annotated[Count | None, msgspec.Meta(description="Width in pixels; 512 where left out.")] = None
    height: Annotated[Count | None, msgspec.Meta(description="Height in pixels; 512 where left out.")] = None
    defective: Annotated[float, msgspec.Meta(ge=0, le=1, description="Share of the pictures that show a defect.")] = 0.0
    pictures: Annotated[
        int,
        msgspec.Meta(ge=2, le=1000, description="Different pictures, drawn at the start and shown in turns."),
    ] = 8
    seed: Annotated[int, msgspec.Meta(ge=0, description="Other seeds draw other parts.")] = 0


CameraTable = (
    FolderCamera
    | VideoCamera
    | OpenCVCamera
    | GStreamerCamera
    | CSICamera
    | RTSPCamera
    | GenICamCamera
    | BaslerCamera
    | SyntheticCamera
)
