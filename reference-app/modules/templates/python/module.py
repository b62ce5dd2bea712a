"""The module my-module: a reading every 60 s."""

import iotpi

module = iotpi.Module("my-module", description="A new module")


@module.sensor("temperature", unit="celsius", every=60)
def read() -> float:
    # Read your sensor here. An exception is recorded as a failed reading, with its text: never return an invented value.
    return 21.5


if __name__ == "__main__":
    # IOTPI_URL and IOTPI_TOKEN.
    module.run()
