"""The forms of a frame."""

from __future__ import annotations

import array
import io
from collections.abc import Callable

import iotpi
import numpy
import PIL.Image
import pytest
from iotpi._jpeg import jpeg_bytes

FORMS: dict[str, Callable[[bytes], object]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "array": lambda jpeg: array.array("B", jpeg),
    "BytesIO": io.BytesIO,
    # What `cv2.imencode` returns: a row of bytes, before OpenCV 4.5.5 a column.
    "numpy row": lambda jpeg: numpy.frombuffer(jpeg, numpy.uint8),
    "numpy column": lambda jpeg: numpy.frombuffer(jpeg, numpy.uint8).reshape(-1, 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_frame_is_taken_in_every_form(client: iotpi.Client, module_id: str, jpeg: bytes, form: str) -> None:
    client.publish(module_id, FORMS[form](jpeg))  # type: ignore[arg-type]

    assert client.snapshot(module_id) == jpeg


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_pil_image_is_encoded(client: iotpi.Client, module_id: str, mode: str) -> None:
    client.publish(module_id, PIL.Image.new(mode, (8, 6)))

    assert PIL.Image.open(io.BytesIO(client.snapshot(module_id))).size == (8, 6)


def test_a_publisher_takes_them_too(client: iotpi.Client, module_id: str, jpeg: bytes) -> None:
    with client.stream_frames(module_id) as publisher:
        publisher.publish(io.BytesIO(jpeg))

    assert client.snapshot(module_id) == jpeg


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ("picture.jpg", "not str"),
        (None, "not NoneType"),
        (numpy.zeros((6, 8, 3), numpy.uint8), "not an array of pixels"),
        (numpy.zeros(8, numpy.float64), "not an array of pixels"),
    ],
)
def test_what_is_no_file_is_refused_with_what_to_do(frame: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        jpeg_bytes(frame)  # type: ignore[arg-type]
