"""Frames uploaded on one connection to a real hub."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import iotpi
import pytest
from iotpi import aio
from iotpi.testing import HubProcess
from pictures import commented

TIMEOUT_SECS = 20


def until(met: Callable[[], bool]) -> None:
    """Looks again and again."""
    give_up = time.monotonic() + TIMEOUT_SECS
    while not met():
        assert time.monotonic() < give_up, "what was waited for did not come"
        threading.Event().wait(0.005)


def camera(client: iotpi.Client, module: str) -> iotpi.CameraInfo:
    [found] = [camera for camera in client.cameras() if camera.module_id == module]
    return found


def test_published_frames_reach_viewers_and_the_publisher_learns_of_them(
    client: iotpi.Client, module_id: str, jpeg: bytes
) -> None:
    with client.stream_frames(module_id) as publisher:
        assert publisher.wait_for_demand()
        publisher.publish(jpeg)
        until(lambda: publisher.online)
        with client.frames(module_id) as frames:
            assert next(frames) == jpeg
            until(lambda: publisher.viewers == 1)
            assert publisher.wait_for_demand()
            publisher.publish(commented(jpeg, 1))
            assert next(frames) == commented(jpeg, 1)
            [watching] = camera(client, module_id).watching or []
        until(lambda: publisher.viewers == 0)

    seen = camera(client, module_id)
    assert (seen.online, seen.frames, seen.missing, seen.refused) == (True, 2, 0, 0)
    assert seen.latency.p99 >= seen.latency.p50 >= 0
    assert (seen.age or -1) > 0
    assert (watching.via, watching.delivered) == ("mjpeg", 2)
    assert (publisher.error, publisher.refused) == (None, 0)


def test_what_is_shown_last_is_sent_before_a_publisher_closes(
    client: iotpi.Client, module_id: str, jpeg: bytes
) -> None:
    with client.stream_frames(module_id) as publisher:
        publisher.publish(jpeg)

    assert client.snapshot(module_id) == jpeg


def test_a_closed_publisher_has_no_demand(client: iotpi.Client, module_id: str, jpeg: bytes) -> None:
    publisher = client.stream_frames(module_id)
    publisher.publish(jpeg)
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(publisher.wait_for_demand()))
    waiting.start()

    publisher.close()
    waiting.join(TIMEOUT_SECS)

    # The waiting thread may have received the demand before the publisher was closed.
    assert len(answers) == 1
    assert not publisher.wait_for_demand()
    publisher.close()
    with pytest.raises(ValueError, match="closed"):
        publisher.publish(jpeg)


def test_a_publisher_reports_its_error(hub: HubProcess, client: iotpi.Client, module_id: str, jpeg: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    stranger = iotpi.Client(hub.url, hub.token("module", f"{module_id}-other"))

    with iotpi.Client(nobody).stream_frames(module_id) as away, stranger.stream_frames(module_id) as refused:
        away.publish(jpeg)
        refused.publish(jpeg)
        until(lambda: away.error is not None and refused.error is not None)

    assert isinstance(away.error, iotpi.Unavailable)
    assert isinstance(refused.error, iotpi.PermissionDenied)
    assert not away.online
    with client.stream_frames(module_id) as publisher, pytest.raises(iotpi.Unprocessable, match="not a JPEG"):
        publisher.publish(b"hello")


def test_numbers_that_never_came_are_counted(client: iotpi.Client, module_id: str, jpeg: bytes) -> None:
    client.publish(module_id, jpeg, sequence=1)
    client.publish(module_id, jpeg, sequence=4, timestamp=1795472000.5)

    assert camera(client, module_id).missing == 2
    assert camera(client, module_id).taken_at == 1795472000.5


def test_a_publisher_for_asyncio(hub: HubProcess, module_id: str, jpeg: bytes) -> None:
    both = aio.Client(hub.url, hub.token("operator", "test-operator"))

    async def show() -> list[bytes]:
        seen = []
        async with both.stream_frames(module_id) as publisher:
            publisher.publish(jpeg)
            await asyncio.to_thread(until, lambda: publisher.online)
            async with both.frames(module_id) as frames:
                seen.append(await anext(frames))
                while await publisher.wait_for_demand() and len(seen) < 5:
                    publisher.publish(commented(jpeg, len(seen)))
                    seen.append(await anext(frames))
        assert not await publisher.wait_for_demand()
        return seen

    seen = asyncio.run(asyncio.wait_for(show(), TIMEOUT_SECS))

    assert seen == [jpeg, *(commented(jpeg, length) for length in range(1, 5))]
