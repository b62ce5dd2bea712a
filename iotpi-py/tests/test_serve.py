"""Modules in the event loop of an asyncio program, and several in one process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import iotpi
import pytest
from iotpi import aio
from iotpi.testing import HubProcess

TIMEOUT_SECS = 30


async def first_reading(client: aio.Client, module_id: str) -> iotpi.Reading:
    """Waits until the module has registered and delivered a reading."""
    registered, found = False, None
    async with asyncio.timeout(TIMEOUT_SECS), client.live(modules=[module_id]) as events:
        async for event in events:
            match event:
                case iotpi.ReadingStored(reading=reading):
                    found = reading
                case iotpi.ModuleChanged(module=module):
                    registered = module.manifest is not None
                case iotpi.Recent(readings=readings, modules=modules):
                    found = readings[-1] if readings else None
                    registered = any(module.manifest for module in modules)
            if registered and found is not None:
                return found
    raise AssertionError("the connection ended")


def test_a_served_module_uses_the_loop_of_the_program(hub: HubProcess, module_id: str, jpeg: bytes) -> None:
    module = iotpi.Module(module_id)
    threads: set[int] = set()
    safe: list[int] = []

    async def program() -> None:
        bus = asyncio.Lock()

        @module.sensor("temperature")
        async def read() -> float:
            async with bus:
                threads.add(threading.get_ident())
                return 21.5

        @module.action("act")
        def act() -> str:
            threads.add(threading.get_ident())
            return "done"

        @module.camera(width=1, height=1)
        async def capture() -> bytes:
            threads.add(threading.get_ident())
            return jpeg

        module.make_safe(lambda: safe.append(threading.get_ident()))
        async with aio.Client(hub.url, hub.token("operator", "serve")) as client:
            serving = asyncio.create_task(module.serve(url=hub.url, token=hub.token("module", module_id)))
            assert (await first_reading(client, module_id)).value == 21.5
            command = await client.wait(await client.control(module_id, "act"), timeout=TIMEOUT_SECS)
            assert command.result == "done"
            module.stop()
            await serving

    asyncio.run(program())

    assert threads == {threading.get_ident()}
    assert safe == [threading.get_ident()]


def test_a_plain_camera_function_does_not_block_the_loop(hub: HubProcess, module_id: str, jpeg: bytes) -> None:
    module = iotpi.Module(module_id)
    capturing, go_on = threading.Event(), threading.Event()

    @module.camera(width=1, height=1)
    def capture() -> bytes:
        capturing.set()
        go_on.wait(TIMEOUT_SECS)
        return jpeg

    async def program() -> None:
        serving = asyncio.create_task(module.serve(url=hub.url, token=hub.token("module", module_id)))
        await asyncio.to_thread(capturing.wait, TIMEOUT_SECS)
        # The loop is free while the camera captures.
        go_on.set()
        module.stop()
        await serving

    asyncio.run(program())


def test_a_cancelled_module_is_made_safe_first(hub: HubProcess, module_id: str) -> None:
    module = iotpi.Module(module_id)
    safe: list[bool] = []

    @module.make_safe
    async def off() -> None:
        await asyncio.sleep(0)
        safe.append(True)

    async def program() -> None:
        started = asyncio.Event()

        @module.sensor("temperature")
        async def read() -> float:
            started.set()
            return 1.0

        serving = asyncio.create_task(module.serve(url=hub.url, token=hub.token("module", module_id)))
        await started.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(program())

    assert safe == [True]


def test_an_error_of_a_served_module_is_raised(hub: HubProcess, module_id: str) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature")(lambda: 1)

    with pytest.raises(iotpi.Unauthenticated):
        asyncio.run(module.serve(url=hub.url, token="iotpi_wrong"))


def test_several_modules_are_served_in_one_loop(hub: HubProcess, module_id: str) -> None:
    modules = [iotpi.Module(f"{module_id}-{name}") for name in ("a", "b")]
    for number, module in enumerate(modules):
        module.sensor("temperature")(lambda number=number: number)

    async def program() -> list[float | None]:
        client = aio.Client(hub.url, hub.token("operator", "serve"))
        async with asyncio.TaskGroup() as group:
            for module in modules:
                group.create_task(module.serve(url=hub.url, token=hub.token("module", module.id or "")))
            values = [(await first_reading(client, module.id or "")).value for module in modules]
            for module in modules:
                module.stop()
        return values

    assert asyncio.run(program()) == [0, 1]


def test_run_all_runs_several_modules_until_one_fails(hub: HubProcess, module_id: str, tmp_path: Path) -> None:
    modules = [iotpi.Module(f"{module_id}-{name}") for name in ("a", "b")]
    safe: list[str | None] = []
    for module in modules:
        module.sensor("temperature")(lambda: 1)
        module.action("act")(lambda: None)
        module.make_safe(lambda module=module: safe.append(module.id))
    first, second = (module.id or "" for module in modules)

    with pytest.raises(iotpi.PermissionDenied):
        iotpi.run_all(
            *modules,
            url=hub.url,
            tokens={first: hub.token("module", first), second: hub.token("module", first)},
            outbox=tmp_path,
        )

    assert set(safe) == {first, second}
    assert {path.name for path in tmp_path.iterdir()} == {first, second}


def test_run_all_wants_an_id_and_a_token_for_each(module_id: str) -> None:
    module = iotpi.Module(module_id)

    for modules in [(), (iotpi.Module(),), (module, module)]:
        with pytest.raises(iotpi.InvalidArgument, match="an id of its own"):
            iotpi.run_all(*modules)
    with pytest.raises(iotpi.InvalidArgument, match=f"no token for {module_id}"):
        iotpi.run_all(module, tokens={})
