"""Measure what each cell of the policy weighs and how long it takes on its class of link.

    python benchmarks/cells.py FOLDER [POLICY]

renders every picture of FOLDER for every screen and bandwidth, and prints kilobytes (median and
95th percentile) and modelled seconds: one round trip, and the bytes at the link's throughput.
"""

import statistics
import sys
from pathlib import Path

from imgprocessor.app import DEFAULT_CONF, Overrides, load_settings, make_service
from imgprocessor.policy import parse_policy
from imgprocessor.service import Request

# Kilobits a second and round trip in milliseconds that Chromium takes for typical of each effective
# connection type (net/nqe/network_quality_estimator_params.cc); slow-4g in between.
LINKS = {
    "slow-2g": (40, 3600),
    "2g": (75, 1800),
    "3g": (400, 450),
    "slow-4g": (900, 250),
    "4g": (1600, 175),
    "save-data": (1600, 175),
}


def main() -> int:
    """Print one line for each cell."""
    folder = Path(sys.argv[1])
    policy_file = Path(sys.argv[2]) if len(sys.argv) > 2 else None  # noqa: PLR2004 - arguments
    settings = load_settings(DEFAULT_CONF, Overrides(folder, policy_file))
    service = make_service(settings)
    policy = parse_policy(Path(settings.policy.file).read_text(), settings.policy.file)
    names = sorted(path.name for path in folder.iterdir() if path.suffix in {".jpg", ".png"})
    print(f"{len(names)} originals\nscreen    bandwidth   kB median    p95   s median   p95")
    for screen in policy.screens:
        for bandwidth in policy.bandwidths:
            weights = []
            for name in names:
                asked = f"name={name}&screen={screen.name}&bandwidth={bandwidth.name}"
                _, rendition = service.render(service.find(Request(asked, {})))
                weights.append(len(rendition.body) / 1000)
            median, p95 = statistics.median(weights), statistics.quantiles(weights, n=20)[-1]
            seconds = [_seconds(bandwidth.name, kilobytes) for kilobytes in (median, p95)]
            cell = f"{screen.name:9} {bandwidth.name:10} {median:9.1f} {p95:7.1f}"
            print(cell, f"{seconds[0]:9.1f} {seconds[1]:6.1f}", flush=True)
    return 0


def _seconds(bandwidth: str, kilobytes: float) -> float:
    kilobits_a_second, round_trip_ms = LINKS.get(bandwidth, LINKS["4g"])
    return round_trip_ms / 1000 + kilobytes * 8 / kilobits_a_second


if __name__ == "__main__":
    sys.exit(main())
