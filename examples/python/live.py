"""Receives events as they happen, with the asyncio client, and stops after the first reading."""

import asyncio

import iotpi
from iotpi import aio


async def main() -> None:
    async with aio.Client().live(kinds=["reading"], sensors=["temperature"]) as events:
        async for event in events:
            match event:
                case iotpi.Recent(readings=readings):
                    print(len(readings), "series")
                    await aio.Client().record("temperature", 20.0, module="porch", unit="celsius")
                case iotpi.ReadingStored(reading=reading):
                    print(reading.module_id, reading.value)
                    return


asyncio.run(main())
