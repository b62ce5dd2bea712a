"""Prints the table of a comparison: medians over the rounds, and ratios to the hub.

Usage: table.py FILE, with one line of JSON for each measurement, as `hub-load` prints it.
"""

import json
import statistics
import sys

# Key, column title, format.
COLUMNS = (
    ("frames_per_s", "frames/s", "{:.0f}"),
    ("requests_per_s", "requests/s", "{:.0f}"),
    ("deliveries_per_s", "deliv./s", "{:.0f}"),
    ("p50_ms", "p50 ms", "{:.2f}"),
    ("p99_ms", "p99 ms", "{:.2f}"),
    ("cpu_us", "CPU us", "{:.1f}"),
    ("kernel_us", "in kernel", "{:.1f}"),
    ("lost_percent", "lost %", "{:.2f}"),
    ("peak_mb", "peak MB", "{:.1f}"),
    ("others_percent", "others %", "{:.0f}"),
)


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    tests: dict[str, dict[str, list[dict]]] = {}
    for line in lines:
        tests.setdefault(line["name"], {}).setdefault(line["server"], []).append(line)
    for name, servers in tests.items():
        print_test(name, servers)


def print_test(name: str, servers: dict[str, list[dict]]) -> None:
    medians = {
        server: {
            key: statistics.median(line[key] for line in lines)
            for key, *_ in COLUMNS
            if all(line.get(key) is not None for line in lines)
        }
        for server, lines in servers.items()
    }
    shown = [column for column in COLUMNS if any(column[0] in figures for figures in medians.values())]
    rounds = min(len(lines) for lines in servers.values())
    print(f"\n{name} (median of {rounds})")
    print(f"  {'':22}" + "".join(f"{title:>11}" for _, title, _ in shown))
    for server, figures in medians.items():
        cells = (form.format(figures[key]) if key in figures else "-" for key, _, form in shown)
        print(f"  {server:22}" + "".join(f"{cell:>11}" for cell in cells))
    hub = medians.get("hub")
    for server, figures in medians.items():
        if hub is None or server == "hub":
            continue
        print(f"  {'hub / ' + server:22}" + "".join(f"{ratio(hub, figures, key):>11}" for key, *_ in shown))


def ratio(hub: dict[str, float], other: dict[str, float], key: str) -> str:
    if key in ("lost_percent", "others_percent") or not hub.get(key) or not other.get(key):
        return "-"
    return f"{hub[key] / other[key]:.2f}x"


if __name__ == "__main__":
    main(sys.argv[1])
