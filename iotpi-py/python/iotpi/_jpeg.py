"""The forms in which a program has a JPEG file."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Jpeg: TypeAlias = "Buffer | SupportsGetvalue | SupportsSave"
    """A JPEG file: bytes or another buffer, such as the array of ``cv2.imencode``; ``io.BytesIO``; or a PIL image."""

# The quality of a JPEG file made of a PIL image, 1 to 100.
_QUALITY = 85


@runtime_checkable
class SupportsSave(Protocol):
    """An image that can encode itself, such as ``PIL.Image.Image``."""

    @property
    def mode(self) -> str:
        """The colour mode, such as ``RGB``."""
        ...

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """Writes the encoded image to an open file."""

    def convert(self, mode: str) -> Any:
        """The image in another colour mode."""


@runtime_checkable
class SupportsGetvalue(Protocol):
    """A file in memory, such as ``io.BytesIO``."""

    def getvalue(self) -> bytes:
        """The contents of the file."""
        ...


def jpeg_bytes(jpeg: Jpeg) -> bytes:
    """The bytes of a JPEG file; a PIL image is encoded.

    Raises:
        TypeError: It is none of the supported types, or an array of pixels.
    """
    if isinstance(jpeg, bytes):
        return jpeg
    if isinstance(jpeg, SupportsGetvalue):
        return jpeg.getvalue()
    if isinstance(jpeg, SupportsSave):
        file = BytesIO()
        image = jpeg if jpeg.mode in ("L", "RGB") else jpeg.convert("RGB")
        image.save(file, format="JPEG", quality=_QUALITY)
        return file.getvalue()
    try:
        view = memoryview(jpeg)
    except TypeError:
        raise TypeError(
            f"a frame must be a JPEG file (bytes, a buffer, BytesIO) or a PIL image, not {type(jpeg).__name__}"
        ) from None
    # `cv2.imencode` returns a column or a row of bytes.
    if view.itemsize != 1 or sum(length > 1 for length in view.shape or ()) > 1:
        raise TypeError(
            f"a frame must be a JPEG file, not an array of pixels ({view.shape}, {view.format!r}); encode it first, "
            "with PIL.Image.fromarray(array) or cv2.imencode('.jpg', array)[1]"
        )
    return view.tobytes()
