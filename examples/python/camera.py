"""A camera. The function is called at up to 10 frames a second while there is a viewer, and once a second otherwise."""

import base64

import iotpi

# Replace this by the JPEG file of your camera library.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
    "AQEBAQH/wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AR//Z"
)


@iotpi.camera(width=1, height=1, fps=10)
def capture() -> bytes:
    return JPEG


iotpi.run("door")
