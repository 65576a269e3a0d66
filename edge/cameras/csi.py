"""The pipeline of a camera module on a Jetson's CSI connector."""

from __future__ import annotations

from edge.cameras.tables import CSICamera


def csi_pipeline(table: CSICamera) -> str:
    """NVIDIA's source, its converter for turning and leaving the GPU's memory, and an appsink.

    nvvidconv gives BGRx and no BGR; the fourth byte is left out when the frame is copied into Python.
    """
    size = f"width=(int){table.width}, height=(int){table.height}, framerate=(fraction){table.fps}/1"
    return (
        f"nvarguscamerasrc sensor-id={table.sensor} ! video/x-raw(memory:NVMM), {size} "
        f"! nvvidconv flip-method={table.flip} ! video/x-raw, format=(string)BGRx ! appsink"
    )
