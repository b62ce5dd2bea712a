"""Sends a command to a module and waits for its outcome. Start ``actuator.py`` first."""

import iotpi

client = iotpi.Client()
try:
    command = client.control("hall-lamp", "switch", {"on": True}, expires_in=10)
except (iotpi.NotFound, iotpi.Unprocessable) as error:
    raise SystemExit(f"there is no lamp: {error}") from None

command = client.wait(command)
print(command.state, command.result if command.succeeded else command.error)
