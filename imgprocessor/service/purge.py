"""Purging everywhere: this node, the other nodes, the caches in front.

From behind to front, because a cache that forgets a picture may ask for it again at once, and must
not get the old one from behind: first what all nodes share is closed, so that none learns it from
another; then a new generation begins and the disk caches are emptied, so that nothing is sent or
kept of what was begun before; then the caches on this node's disk, which ask the application; then
the other nodes, each of which does the same; then what nodes share is opened, without what was
there; last the caches in front, which ask all nodes. One failure stops no other step, and is told.
"""

import contextlib
import hmac
import http.client
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import NamedTuple
from urllib.parse import urlencode

from imgprocessor.config.secrets import bearer_token
from imgprocessor.config.settings import PurgeSettings
from imgprocessor.config.types import read_address
from imgprocessor.errors import BadQuery, NotFound
from imgprocessor.policy.imagekey import EVERY_TAG, key_tag, name_in, original_tag
from imgprocessor.request.names import require_name
from imgprocessor.service.delivery import Delivery
from imgprocessor.storage.proxy_files import remove_tagged

PURGE_PATH = "/images/-/purge"

_TIMEOUT_SECONDS = 8.0
"""For each step of asking another server, which may have to look through a large cache; two of them
fit into a daemon's `request-timeout`.
"""

_TAGS_AT_ONCE = 100
"""Varnish takes headers of 8 kB."""

_MAX_ASKED_AT_ONCE = 16
_MAX_REASON_CHARACTERS = 300


@dataclass(frozen=True)
class PurgeRequest:
    """What is to be forgotten."""

    names: Sequence[str] = ()
    """Of originals, decoded."""
    imagekeys: Sequence[str] = ()
    everything: bool = False

    def check(self) -> None:
        """Refuse what can name nothing.

        Raises:
            BadQuery: nothing is named, or something that no original or imagekey is called.
        """
        if not (self.names or self.imagekeys or self.everything):
            raise BadQuery(["nothing is named: give name, imagekey or all"])
        for name in self.names:
            require_name(name)
        for key in self.imagekeys:
            if not key.isascii() or not key.isprintable():
                raise BadQuery(["imagekey: must be printable ASCII, as the header imagekey has it"])
            name_in(key)

    @property
    def originals(self) -> list[str] | None:
        """The names of the originals that it is about; None where it is about all of them."""
        return None if self.everything else [*self.names, *map(name_in, self.imagekeys)]

    @property
    def tags(self) -> list[str]:
        """The words by which caches know it."""
        if self.everything:
            return [EVERY_TAG]
        return [*map(original_tag, self.names), *map(key_tag, self.imagekeys)]

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The same as a form."""
        named = [("name", name) for name in self.names]
        keyed = [("imagekey", key) for key in self.imagekeys]
        return [*named, *keyed, *([("all", "1")] if self.everything else [])]


@dataclass
class PurgeReport:
    """What came of it."""

    removed: dict[str, int] = field(default_factory=dict)
    """Files on this node, by what was named."""
    failed: dict[str, str] = field(default_factory=dict)
    """Which caches and nodes may still have it, and why."""


class Purger:
    """Purges this node, and tells the others."""

    def __init__(self, delivery: Delivery, settings: PurgeSettings, token: str | None) -> None:
        """Use settings whose paths are absolute, and what is in their `token_file`."""
        self._delivery = delivery
        self._settings = settings
        self._token = token

    @property
    def by_http(self) -> bool:
        """Whether anybody may purge by HTTP."""
        return self._token is not None

    def may(self, authorization: str) -> bool:
        """Whether a header `Authorization` has the token."""
        if self._token is None:
            return False
        given = bearer_token(authorization)
        return hmac.compare_digest(given.encode(errors="replace"), self._token.encode())

    def purge(self, wanted: PurgeRequest, *, local: bool = False) -> PurgeReport:
        """Forget; with `local` on this node alone.

        Raises:
            BadQuery: as `PurgeRequest.check` does.
        """
        wanted.check()
        purged = PurgeReport()
        if local:
            self._purge_here(wanted, purged)
            return purged
        with self._delivery.purging_shared(wanted.originals, purged.failed):
            self._purge_here(wanted, purged)
            _ask_all(self._settings.nodes, lambda node: self._ask_node(node, wanted), purged)
        _ask_all(self._settings.varnish, lambda cache: _ask_varnish(cache, wanted), purged)
        return purged

    def _purge_here(self, wanted: PurgeRequest, purged: PurgeReport) -> None:
        delivery = self._delivery
        steps: list[tuple[str, Callable[[], int]]] = []
        if wanted.everything:
            steps.append(("all", delivery.purge_all))
        else:
            steps += [(name, partial(delivery.purge, name)) for name in wanted.names]
            steps += [(key, partial(delivery.purge_imagekey, key)) for key in wanted.imagekeys]
        for folder in self._settings.proxy_cache_folders:
            steps.append((str(folder), partial(remove_tagged, folder, wanted.tags)))
        for what, step in steps:
            try:
                purged.removed[what] = step()
            except NotFound:
                # It leads outside the originals: here there is nothing of it, but caches may have
                # what it was before.
                purged.removed[what] = 0
            except OSError as error:
                purged.failed[what] = str(error)

    def _ask_node(self, node: "_Server", wanted: PurgeRequest) -> None:
        if self._token is None:
            raise _Refused("[purge] token_file is not set here, so other nodes cannot be asked")
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urlencode([*wanted.parameters, ("local", "1")])
        _ask(node, "POST", PURGE_PATH, headers, body)


class _Refused(Exception):
    """Another server answered, and did not purge."""


class _Server(NamedTuple):
    """One of those that a setting names."""

    named: str
    host: str
    port: int

    def __str__(self) -> str:
        return self.named if self.host in self.named else f"{self.named} ({self.host})"


def _servers(named: str) -> list[_Server]:
    """Return all that have a name: nodes that come and go have one."""
    host, port = read_address(named)
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return [_Server(named, host, port)]  # which fails for the same reason when it is asked
    # A server that has addresses of both kinds need not listen at both.
    kind = min(family for family, *_ in found)
    hosts = {str(address[0]) for family, *_, address in found if family == kind}
    return [_Server(named, host, port) for host in sorted(hosts)]


def _ask_varnish(cache: _Server, wanted: PurgeRequest) -> None:
    tags = wanted.tags
    for start in range(0, len(tags), _TAGS_AT_ONCE):
        words = " ".join(tags[start : start + _TAGS_AT_ONCE])
        _ask(cache, "PURGE", "/images/", {"xkey": words}, None)


def _ask_all(names: Sequence[str], ask: Callable[[_Server], None], purged: PurgeReport) -> None:
    """Ask all, many at once; wait for all."""

    def reason(server: _Server) -> str | None:
        try:
            ask(server)
        except (OSError, ValueError, http.client.HTTPException, _Refused) as error:
            return str(error) or type(error).__name__
        return None

    if names:
        with ThreadPoolExecutor(_MAX_ASKED_AT_ONCE) as pool:
            servers = list(chain.from_iterable(pool.map(_servers, names)))
            for server, failed in zip(servers, pool.map(reason, servers), strict=True):
                if failed is not None:
                    purged.failed[str(server)] = failed[:_MAX_REASON_CHARACTERS]


def _ask(
    server: _Server, method: str, path: str, headers: dict[str, str], body: str | None
) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Host": server.named, **headers})
        response = connection.getresponse()
        said = response.read(_MAX_REASON_CHARACTERS).decode("utf-8", "replace").strip()
        if response.status != http.client.OK:
            told = (
                "" if said.startswith("<") else f": {said}"
            )  # Varnish says it once more as a page
            raise _Refused(f"{response.status} {response.reason}{told}")
