"""How long a class of networks takes for so many bytes: a model for `policy report`."""

from dataclasses import dataclass

from imgprocessor.policy.table import Bandwidth

_SEGMENT_BYTES = 1460
_FIRST_WINDOW_SEGMENTS = 10  # RFC 6928


@dataclass(frozen=True)
class Link:
    """A network as a visitor meets it."""

    rtt_ms: float
    downlink_mbps: float

    def seconds(self, body_bytes: int) -> float:
        """Return the time from the request to the last byte, on a connection that is open.

        TCP's slow start: ten segments of 1,460 bytes, then twice as many each round trip, until
        the link is full. Nothing is lost, nobody else is on the link.
        """
        rtt = self.rtt_ms / 1000
        bytes_a_second = self.downlink_mbps * 1_000_000 / 8
        spent, left = rtt, float(body_bytes)
        window = _FIRST_WINDOW_SEGMENTS * _SEGMENT_BYTES
        while left > window and window < bytes_a_second * rtt:
            left -= window
            spent += rtt
            window *= 2
        return spent + left / bytes_a_second


# What Chromium takes for typical of each effective connection type
# (net/nqe/network_quality_estimator_params.cc), and between 3g and 4g a link of our own.
_TYPICAL = {
    "slow-2g": Link(3600, 0.04),
    "2g": Link(1800, 0.075),
    "3g": Link(450, 0.4),
    "slow-4g": Link(250, 0.9),
    "4g": Link(175, 1.6),
}
_BEST = _TYPICAL["4g"]


def link_of(bandwidth: Bandwidth) -> Link:
    """Return a typical link of a class: by its name, else at its bounds, else a 4g."""
    if bandwidth.name in _TYPICAL:
        return _TYPICAL[bandwidth.name]
    rtt, downlink = bandwidth.min_rtt_ms, bandwidth.max_downlink_mbps
    return Link(
        _BEST.rtt_ms if rtt is None else float(rtt),
        # A bound of 0 megabits a second would be a link that brings nothing.
        float(downlink) if downlink else _BEST.downlink_mbps,
    )
