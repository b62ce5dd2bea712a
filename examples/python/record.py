"""Delivers readings without being a module, reads them back, and aggregates them by the hour."""

import time

import iotpi

client = iotpi.Client()
now = time.time()
client.record("soil-moisture", 34.5, module="garden", unit="percent")
client.record_many(
    [
        iotpi.Reading(module_id="garden", type="soil-moisture", value=30.0 + n, unit="percent", timestamp=now - 600 * n)
        for n in range(1, 7)
    ]
)

for reading in client.readings("soil-moisture", module="garden", limit=3):
    print(f"{reading.time:%H:%M:%S} {reading.value} {reading.unit}")
for bucket in client.history("soil-moisture", "1h", module="garden"):
    print(f"{bucket.time:%H:%M} average {bucket.avg}, {bucket.count} readings")
