"""Try several nodes in containers: what they share, and what visitors see while parts die."""

import http
import http.client
import json
import re
import threading
import time
from itertools import count
from pathlib import Path
from typing import Self
from urllib.parse import quote

from container_documents import DocumentsTrial
from container_env import Told
from container_parts import Parts, is_healthy, run, started
from container_sites import Site, await_so, form, front, is_image, is_so_soon, noise, see
from obstore.store import S3Store

from imgprocessor.config.bucket_access import bucket_access
from imgprocessor.config.buckets import BucketsSettings, BucketUrl

OVERLAY = "compose.nodes.yaml"
NODES = 3
AWAY_SECONDS = 5
VISITORS = 6
MAX_SECONDS = 10
"""Nobody may wait longer."""

NAMES = [f"{number}.jpg" for number in range(24)]
"""So many that each node has some."""
FIRST = "/images/?name=meadow.jpg&width=640"
SHARED = "/images/?name=meadow.jpg&width=641&bandwidth=4g&dpr=1&formats=webp"
PURGED = "/images/?name=harbour.jpg&width=340&bandwidth=4g&dpr=1&formats=none"
TIERS = ("bucket", "memory")
BUCKET = BucketUrl("s3", "pictures")
AS_VARNISH = {"Cache-Control": "no-store"}
"""So that Apache's own cache, which nodes on one machine share, is passed over."""


def try_nodes(told: Told, originals: Path, tls_port: int, objects_port: int) -> None:
    """Start several nodes; see all of it.

    Raises:
        Wrong: something is not so.
    """
    for name in NAMES:
        (originals / name).hardlink_to(originals / "mountains.jpg")
    with started(told, OVERLAY, scale=f"server={NODES}") as parts:
        NodesTrial(parts, told, tls_port, objects_port).all()


class NodesTrial:
    """What is tried with several nodes."""

    def __init__(self, parts: Parts, told: Told, tls_port: int, objects_port: int) -> None:
        self._parts = parts
        self._front = front(told, tls_port)
        self._token = {"Authorization": f"Bearer {told.token}"}
        secrets = told.certificate.parent.parent
        purge_token = (secrets / "purge-token").read_text().strip()
        self._purge_token = {"Authorization": f"Bearer {purge_token}"}
        access = bucket_access(BucketsSettings(secrets / "buckets"), BUCKET)
        self._bucket = S3Store(
            BUCKET.bucket,
            endpoint=f"http://127.0.0.1:{objects_port}",
            region=access.region,
            access_key_id=access.access_key_id,
            secret_access_key=access.secret_access_key,
            client_options={"allow_http": True},
        )
        self._widths = count(200)

    def all(self) -> None:
        """Try all."""
        begun = time.monotonic()
        await_so("all parts have started", lambda: self._front.is_picture(FIRST))
        print(f"    after {time.monotonic() - begun:.1f} s")
        await_so(f"Varnish knows {NODES} nodes", lambda: self._known() == NODES)
        self._see_ports()
        self._see_sharing()
        self._see_purge()
        self._see_original()
        self._see_upload()
        self._see_document()
        self._kill_node()
        self._stop_tiers()
        self._lose_node()

    def _see_ports(self) -> None:
        """See that nobody but who has the keys reaches the bucket, and of it S3 alone."""
        (objects,) = self._parts.names("objects")
        (varnish,) = self._parts.names("varnish")
        listening = run("podman", "exec", objects, "cat", "/proc/net/tcp", "/proc/net/tcp6")
        found = re.findall(r"^ *\d+: (\w+):(\w+) 0+:0000 0A ", listening, re.MULTILINE)
        opened = sorted(int(port, 16) for address, port in found if not int(address, 16))
        see(f"the bucket's ports are {opened}", opened == [8333, 18333])
        asked = run("podman", "exec", varnish, "sh", "-c", "getent hosts objects memory || true")
        see("... and other parts do not know where it is", not asked.strip())
        status, _, _ = self._front.ask("/images/-/purge?all=1", b"", {"Authorization": "Bearer no"})
        see(f"a purge without the token is a {status}", status == http.HTTPStatus.UNAUTHORIZED)

    def _see_sharing(self) -> None:
        """See that one node sends what another one has rendered."""
        first, *others = self._nodes()
        kept = self._counted("kept")
        self._source(first, SHARED)
        await_so(
            "a node has shared what it rendered, in the bucket and in memory",
            lambda: all(self._counted("kept")[tier] > kept[tier] for tier in TIERS),
        )
        for name in others:
            source = self._source(name, SHARED)
            see(f"... another sends it, from what is {source}", source == "shared")

    def _see_purge(self) -> None:
        """See that a purge by way of any node reaches all of them, what they share, and Varnish."""
        nodes = self._nodes()
        for number, site in enumerate(nodes.values(), 1):
            for name in nodes:
                self._source(name, PURGED)
            kept = [self._source(name, PURGED) for name in nodes]
            hit = [self._front.ask(PURGED)[1].get("x-cache") for _ in range(2)][-1]
            see(f"all keep a picture: {kept}, Varnish {hit}", {*kept, hit} == {"store", "HIT"})
            purge = "/images/-/purge?name=harbour.jpg"
            status, _, said = site.ask(purge, b"", self._purge_token)
            told = said.decode().strip()
            see(f"a purge at node {number}: {told}", status == http.HTTPStatus.OK)
            came = [self._source(name, PURGED) for name in nodes]
            hit = self._front.ask(PURGED)[1].get("x-cache")
            see(
                f"... and nobody has it: {came}, Varnish {hit}",
                "store" not in came and came[0] != "shared" and hit == "MISS",
            )

    def _see_original(self) -> None:
        """See that all send an original from the bucket."""
        self._bucket.put("originals/here/só.jpg", noise((1200, 900)))
        path = f"/images/?name=here/{quote('só.jpg')}&width=300"
        sites = [*self._nodes().values(), self._front]
        see("all send an original from the bucket", all(site.is_picture(path) for site in sites))

    def _see_upload(self) -> None:
        """See that an upload is in the bucket, shown by all, and its removal reaches all."""
        body, headers = form(noise((800, 600)))
        _, told, _ = self._front.ask("/upload", body, headers | self._token)
        path = told.get("location", "")
        sites = [*self._nodes().values(), self._front]
        see(f"all show an upload: {path}", all(site.is_picture(path) for site in sites))
        ident = Path(path).stem
        see(f"... which the bucket has: {self._uploads(ident)}", bool(self._uploads(ident)))
        status, _, _ = self._front.ask(path, headers=self._token, method="DELETE")
        gone = [site.ask(path)[0] for site in sites]
        see(
            f"... and removed: {status}, then {gone}",
            status == http.HTTPStatus.NO_CONTENT and set(gone) == {http.HTTPStatus.NOT_FOUND},
        )
        see(f"... and the bucket has {self._uploads(ident)}", not self._uploads(ident))

    def _see_document(self) -> None:
        """See that all show a document whose page a worker has drawn."""
        DocumentsTrial(self._parts, self._front).see_page()
        path = "/images/?name=paper.pdf&page=2&width=400"
        sites = [*self._nodes().values(), self._front]
        see("... which all nodes show", all(site.is_picture(path) for site in sites))

    def _kill_node(self) -> None:
        """See that visitors do not notice, and that it comes back, with nothing in its cache."""
        name = max(self._nodes())
        with Visitors(self._front, self._widths) as visitors:
            time.sleep(2)
            killed = time.monotonic()
            process = self._parts.kill(name)
            await_so(
                "a node was killed by -9, and runs again",
                lambda: self._parts.inspect(name)["State"]["Pid"] not in {process, 0},
            )
            await_so("... and is healthy", lambda: is_healthy(name))
            await_so(f"... and Varnish knows {NODES} nodes", lambda: self._known() == NODES)
            seconds = time.monotonic() - killed
            time.sleep(AWAY_SECONDS)
        visitors.see(f"while it came back in {seconds:.1f} s")
        source = self._source(name, SHARED)
        see(f"... and it has what others had made: {source}", source == "shared")

    def _stop_tiers(self) -> None:
        for tier, service in zip(TIERS, ("objects", "memory"), strict=True):
            (name,) = self._parts.names(service)
            with Visitors(self._front, self._widths) as visitors:
                time.sleep(2)
                run("podman", "stop", "-t", "0", name)  # kills it, and leaves it so
                time.sleep(AWAY_SECONDS)
                failed = self._counted("failed")[tier]
                run("podman", "start", name)
                kept = self._counted("kept")[tier]
                await_so(
                    f"the {tier} was killed by -9: {failed} requests failed there, and now it has"
                    " new entries",
                    lambda tier=tier, kept=kept: self._counted("kept")[tier] > kept,  # type: ignore[misc]
                )
            see("... nodes noticed", failed > 0)
            visitors.see(f"while it was away for {AWAY_SECONDS} s")

    def _lose_node(self) -> None:
        """See that a node can go for good, and that a new one begins with what the others made."""
        lost = max(self._nodes())
        with Visitors(self._front, self._widths) as visitors:
            time.sleep(2)
            run("podman", "rm", "-f", "-v", "-t", "40", lost)
            await_so("a node is gone, and Varnish knows it", lambda: self._known() == NODES - 1)
        visitors.see("meanwhile")
        _, told, _ = self._front.ask(FIRST)
        see(f"Varnish has what it had: {told.get('x-cache')}", told.get("x-cache") == "HIT")
        self._parts.up(f"server={NODES}")
        await_so("there is a new one", lambda: lost in self._nodes() and is_healthy(lost))
        source = self._source(lost, SHARED)
        see(f"... and it sends what others had made: {source}", source == "shared")
        await_so("... and Varnish knows it", lambda: self._known() == NODES)

    def _uploads(self, ident: str) -> list[str]:
        """Return what the bucket has of an upload; the record of its removal stays."""
        found = self._bucket.list("uploads/files/").collect()
        return [one["path"] for one in found if ident in one["path"]]

    def _nodes(self) -> dict[str, Site]:
        """Return the nodes by the names of their containers, each as Varnish sees it."""
        network = f"{self._parts.project}_front"
        found = {}
        for name in sorted(self._parts.names("server")):
            networks = self._parts.inspect(name)["NetworkSettings"]["Networks"]
            address = networks[network]["IPAddress"]
            found[name] = Site(f"http://{address}:8000", headers=AS_VARNISH)
        return found

    def _known(self) -> int:
        """Return how many nodes Varnish sends visitors to."""
        (varnish,) = self._parts.names("varnish")
        list_them = ("varnishadm", "-n", "/var/lib/varnish/here", "backend.list")
        return len(re.findall(r"\.node\d.* healthy ", run("podman", "exec", varnish, *list_them)))

    def _source(self, name: str, path: str) -> str:
        """Have a node send a picture; return where it says that it had it from. The path has its
        name and its width first.
        """
        key = re.sub(r".*name=([^&]+)&width=(\d+)&.*", r'"imagekey":"\1_\2x', path)

        def sources() -> list[str]:
            lines = run("podman", "logs", name).splitlines()
            return [
                json.loads(line)["source"] for line in lines if key in line and '"source"' in line
            ]

        before = len(sources())
        self._nodes()[name].ask(path)
        is_so_soon(lambda: len(sources()) > before)
        return str(sources()[-1])

    def _counted(self, outcome: str) -> dict[str, int]:
        """Return what all nodes counted of each tier."""
        look = "from urllib.request import urlopen; print(urlopen(input()).read().decode())"
        script = f"echo http://127.0.0.1:8000/images/-/metrics | python3 -c '{look}'"
        told = "".join(run("podman", "exec", name, "sh", "-c", script) for name in self._nodes())
        line = r'^imgprocessor_shared_total\{{outcome="{}",tier="{}"\}} (\d+)'
        return {
            tier: sum(map(int, re.findall(line.format(outcome, tier), told, re.MULTILINE)))
            for tier in TIERS
        }


class Visitors:
    """Several who ask through Varnish, all the time, for what nobody has asked for before."""

    def __init__(self, site: Site, widths: "count[int]") -> None:
        self._site = site
        self._widths = widths
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(VISITORS)]
        self._seconds: list[float] = []
        self._wrong: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def see(self, meanwhile: str) -> None:
        """See that all had their pictures, and in time.

        Raises:
            Wrong: one had not.
        """
        longest, number = max(self._seconds), len(self._seconds)
        see(
            f"... {number} visitors had their pictures {meanwhile}, {len(self._wrong)} had not"
            f" {self._wrong[:3]}; the longest wait was {longest:.1f} s",
            not self._wrong and longest < MAX_SECONDS,
        )

    def _ask(self) -> None:
        while not self._ended.is_set():
            width = next(self._widths)
            path = f"/images/?name={NAMES[width % len(NAMES)]}&width={width}"
            began = time.monotonic()
            try:
                status, told, body = self._site.ask(path)
            except (OSError, http.client.HTTPException) as error:
                self._wrong.append(str(error))
                continue
            self._seconds.append(time.monotonic() - began)
            if status != http.HTTPStatus.OK or not is_image(body):
                self._wrong.append(f"{status} {told.get('image-error')} {path}")
            time.sleep(0.1)
