# modules/temperature-sensor/sensor_module.py
import time

import requests
from sensor_library import read_temperature

API_URL = "http://backend-host:8000/api/sensors/temperature"


def main():
    while True:
        temperature = read_temperature()

        # Send data to backend
        response = requests.post(
            API_URL,
            json={"module_id": "temp-sensor-01", "value": temperature, "unit": "celsius", "timestamp": time.time()},
        )

        time.sleep(60)  # Read every minute


if __name__ == "__main__":
    main()
