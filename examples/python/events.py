"""Readings that are recorded when something happens, here by a thread of the program."""

import threading

import iotpi

door = iotpi.Module("front-door", description="A contact in the frame of the door")
door.declare("contact", unit="boolean")


def watch() -> None:
    door.record("contact", True)  # here: wait for an edge of the pin, then record the level


threading.Thread(target=watch, daemon=True).start()
door.run()
