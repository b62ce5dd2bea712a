"""The methods of ``picamera2.Picamera2`` 0.3.38 that the adapter uses; the package needs libcamera's bindings."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

_PIXEL = Path(__file__).parents[1] / "pixel.jpg"


class Picamera2:
    def __init__(self, camera_num: int = 0) -> None:
        self.started = False
        self.jpeg = _PIXEL.read_bytes()

    def create_video_configuration(self) -> dict[str, object]:
        return {"main": {"size": (1280, 720)}}

    def configure(self, camera_config: dict[str, Any]) -> None:
        self.configuration = camera_config

    def camera_configuration(self) -> dict[str, Any]:
        return self.configuration

    def start(self) -> None:
        self.started = True

    def capture_file(self, file_output: BytesIO, name: str = "main", format: str | None = None) -> None:
        assert (name, format) == ("main", "jpeg")
        file_output.write(self.jpeg)


# The module of the real class.
Picamera2.__module__ = "picamera2.picamera2"
