"""How long a class of networks takes for a picture, and for a page of them: a model."""

from dataclasses import dataclass

from imgprocessor.policy.table import Bandwidth, Policy

_SEGMENT_BYTES = 1460
_FIRST_WINDOW_SEGMENTS = 10  # RFC 6928

PICTURES_A_PAGE = 12
"""What a page has of pictures that are seen, or nearly so, before anybody scrolls far."""


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

    def page_seconds(self, picture_bytes: float) -> float:
        """Return the time until all pictures of a page are there, at so many bytes each on average.

        They share one connection, as over HTTP/2: all are asked for in one round trip, and come
        after each other. It is open, because the page came by it; where pictures have a host of
        their own, TCP and TLS 1.3 take two round trips more.
        """
        return self.seconds(round(PICTURES_A_PAGE * picture_bytes))


# The first of each is what Chromium takes for typical of the effective connection type
# (net/nqe/network_quality_estimator_params.cc); the others, and what no type is called, our own.
_TYPICAL = {
    "slow-2g": (Link(3600, 0.04),),
    "2g": (Link(1800, 0.075),),
    "slow-3g": (Link(450, 0.4),),
    "mid-3g": (Link(300, 0.9),),
    "3g": (Link(450, 0.4), Link(450, 1.6)),
    "slow-4g": (Link(175, 1.6),),
    "4g": (Link(175, 1.6), Link(75, 5)),
}


def link_of(bandwidth: Bandwidth, policy: Policy) -> Link:
    """Return a typical link of a class: by its name the first that no worse class takes, else at
    its bounds, else a 4g's.
    """
    worse = policy.bandwidths[: policy.rank(bandwidth.name)]
    known = _TYPICAL.get(bandwidth.name, _TYPICAL["4g"])
    link = next((one for one in known if not any(_takes(other, one) for other in worse)), known[-1])
    if bandwidth.name in _TYPICAL:
        return link
    rtt, downlink = bandwidth.min_rtt_ms, bandwidth.max_downlink_mbps
    return Link(
        link.rtt_ms if rtt is None else float(rtt),
        # A bound of 0 megabits a second would be a link that brings nothing.
        float(downlink) if downlink else link.downlink_mbps,
    )


def _takes(bandwidth: Bandwidth, link: Link) -> bool:
    rtt, downlink = bandwidth.min_rtt_ms, bandwidth.max_downlink_mbps
    return (rtt is not None and link.rtt_ms >= float(rtt)) or (
        downlink is not None and link.downlink_mbps <= float(downlink)
    )
