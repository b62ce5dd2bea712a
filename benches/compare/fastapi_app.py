"""The camera path as a plain FastAPI service: newest frame in memory, MJPEG output, no checks, no authentication.

Run by uvicorn with uvloop and httptools, one worker (the frames live in its memory), access log off.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse


class Camera:
    """The newest frame of one camera, and the condition for which its viewers wait."""

    def __init__(self) -> None:
        self.frame = b""
        self.seq = 0
        self.viewers = 0
        self.changed = asyncio.Condition()


app = FastAPI()
cameras: dict[str, Camera] = {}


def the_camera(module_id: str) -> Camera:
    return cameras.setdefault(module_id, Camera())


@app.post("/api/camera/frame")
async def show(request: Request, module_id: str = "camera") -> dict[str, int]:
    camera = the_camera(module_id)
    frame = await request.body()
    async with camera.changed:
        camera.frame = frame
        camera.seq += 1
        camera.changed.notify_all()
    return {"viewers": camera.viewers, "seq": camera.seq}


@app.get("/api/camera/stream")
async def watch(module_id: str = "camera") -> StreamingResponse:
    return StreamingResponse(
        parts(the_camera(module_id)), media_type="multipart/x-mixed-replace; boundary=frame"
    )


async def parts(camera: Camera) -> AsyncIterator[bytes]:
    seen = 0
    camera.viewers += 1
    try:
        yield b"--frame\r\n"
        while True:
            async with camera.changed:
                await camera.changed.wait_for(lambda: camera.seq > seen)
                seen, frame = camera.seq, camera.frame
            head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(frame)
            # In one write: the copy costs less than a second write through the ASGI stack.
            yield head + frame + b"\r\n--frame\r\n"
    finally:
        camera.viewers -= 1
