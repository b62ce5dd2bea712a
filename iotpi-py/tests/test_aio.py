"""The asyncio client against a real hub. What both clients share is tested with the blocking one."""

from __future__ import annotations

import asyncio
import inspect

import iotpi
import pytest
from iotpi import aio
from iotpi.testing import HubProcess


@pytest.fixture(scope="module")
def both(hub: HubProcess, client: iotpi.Client) -> aio.Client:
    return aio.Client(hub.url, hub.token("operator", "asyncio"))


def test_both_clients_take_the_same_arguments() -> None:
    for name, method in vars(iotpi.Client).items():
        if inspect.isfunction(method):
            signature = inspect.signature(getattr(aio.Client, name.replace("__e", "__ae")))
            assert signature.parameters == inspect.signature(method).parameters, name


def test_requests_run_side_by_side(both: aio.Client, module_id: str) -> None:
    async def record_many_at_once() -> list[iotpi.Reading]:
        await asyncio.gather(*(both.record(f"s{n}", n, module=module_id, unit="count") for n in range(10)))
        return await both.latest(module_id)

    assert len(asyncio.run(record_many_at_once())) == 10


def test_readings_are_iterated_over_or_awaited(both: aio.Client, module_id: str) -> None:
    async def ask() -> tuple[list[float | None], list[float | None]]:
        for value in (1, 2, 3):
            await both.record("temperature", value, module=module_id)
        query = both.readings("temperature", module=module_id, limit=2)
        return [reading.value async for reading in query], [reading.value for reading in await query]

    assert asyncio.run(ask()) == ([3, 2], [3, 2])


def test_a_client_is_an_asynchronous_context_manager(hub: HubProcess) -> None:
    async def ask() -> None:
        async with aio.Client(hub.url, hub.token("operator", "asyncio")) as client:
            await client.latest()
        with pytest.raises(ValueError, match="closed"):
            await client.latest()

    asyncio.run(ask())


def test_an_error_arrives_where_it_is_awaited(both: aio.Client) -> None:
    async def ask() -> None:
        with pytest.raises(iotpi.NotFound):
            await both.module("nobody")

    asyncio.run(ask())


def test_live_is_iterated_over(both: aio.Client, module_id: str) -> None:
    async def listen() -> list[iotpi.Event]:
        seen: list[iotpi.Event] = []
        async for event in both.live(kinds=["reading"], modules=[module_id]):
            seen.append(event)
            if isinstance(event, iotpi.Recent):
                await both.record("temperature", 1, module=module_id)
            if isinstance(event, iotpi.ReadingStored):
                break
        return seen

    assert [type(event) for event in asyncio.run(listen())] == [iotpi.Hello, iotpi.Recent, iotpi.ReadingStored]


def test_a_wait_that_was_given_up_loses_nothing(both: aio.Client, module_id: str) -> None:
    async def listen() -> iotpi.Event:
        async with both.live(kinds=["reading"], modules=[module_id]) as events:
            await anext(events)
            await anext(events)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.01)
            await both.record("temperature", 1, module=module_id)
            return await anext(events)

    assert isinstance(asyncio.run(listen()), iotpi.ReadingStored)


def test_closing_ends_an_iteration_in_another_task(both: aio.Client, module_id: str, jpeg: bytes) -> None:
    async def look() -> list[int]:
        await both.publish(module_id, jpeg)
        frames = both.frames(module_id)
        first = asyncio.Event()

        async def collect() -> list[int]:
            sizes = []
            async for frame in frames:
                sizes.append(len(frame))
                first.set()
            return sizes

        collecting = asyncio.create_task(collect())
        await first.wait()
        frames.close()
        return await collecting

    assert asyncio.run(look()) == [len(jpeg)]
