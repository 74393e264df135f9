"""The systems that `./run bench` compares: how each is installed, started and asked.

Each is set up as its own documentation says for production, so that it uses all cores, on loopback.
No peer keeps results: they leave that to a cache in front.
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import sys
from pathlib import Path

from systems import CORES, CannotInstall, Command, Place, System, nginx, nginx_version, printed

from imgprocessor import __version__
from imgprocessor.images.formats.encoders import VERSIONS

ROOT = Path(__file__).resolve().parent.parent
QUALITIES = {45: "2g", 60: "3g", 70: "slow-4g", 78: "4g"}
"""Qualities asked for, and the bandwidths that they belong to in imgprocessor's policy here."""

STATIC = "/bench-static/"
"""Where imgprocessor's Apache serves plain files from, to compare with."""

_KEY = "a key for this benchmark alone"


class Imgprocessor(System):
    """The server of this project, as `./run serve` starts it."""

    name = "imgprocessor"
    document = "./run serve"

    SETTINGS = """\
[originals]
roots = {originals}
[policy]
file = policy.ini
[placeholder]
file = {root}/static/404image.png
[log]
file = ../logs/requests.log
"""
    POLICY = """\
[bandwidths]
2g      = rtt>=1400
3g      = rtt>=270
slow-4g = rtt>=225
4g      = otherwise
default = 4g

[screens]
any     = otherwise
default = any

[formats]
offer   = avif webp jpeg
"""
    INCLUDE = """\
Alias {url} "{folder}/"
<Directory "{folder}">
    Options None
    AllowOverride None
    Require all granted
</Directory>
"""

    def installed(self) -> bool:
        """Whether it can be started: ./run has seen to it."""
        return True

    def install(self) -> None:
        """Do nothing."""

    def version(self) -> str:
        """Return its version, its encoders' and Apache's."""
        apache = printed("dpkg-query", "-W", "-f", "${Version}", "apache2")
        commit = printed("git", "-C", ROOT, "rev-parse", "--short", "HEAD")
        return f"{__version__}, commit {commit} ({VERSIONS}; Apache {apache})"

    def commands(self, place: Place) -> list[Command]:
        """Write settings and the policy; serve through Apache."""
        conf = place.state / "conf"
        conf.mkdir()
        settings = conf / "imgprocessor.ini"
        settings.write_text(self.SETTINGS.format(originals=place.originals, root=ROOT))
        (conf / "policy.ini").write_text(self.policy())
        include = conf / "static.conf"
        include.write_text(self.INCLUDE.format(url=STATIC, folder=place.static))
        options = ("--originals", place.originals, "--conf", settings, "--include", include)
        serve = (sys.executable, ROOT / "tasks" / "serve.py", "--port", str(place.port), *options)
        return [Command(serve, place.port, children_only=True)]

    def policy(self) -> str:
        """Return a policy whose classes have the qualities."""
        cells = "\n".join(f"{name} = {{}}q{quality}" for quality, name in QUALITIES.items())
        sections = "\n".join(("[sized]", cells.format(*[""] * 4), "[any]"))
        return f"{self.POLICY}\n{sections}\n{cells.format(*['full '] * 4)}\n"

    def path(self, name: str, width: int, quality: int) -> str:
        """Return a query that says everything: no hint of the client's counts."""
        return f"/images/?name={name}&{_said(width, quality)}&format=jpeg"

    def negotiated(self, name: str, width: int, quality: int | None) -> str:
        """Return a query that leaves the format alone to the client's headers."""
        return f"/images/?name={name}&{_said(width, quality)}"


def _said(width: int, quality: int | None) -> str:
    """Return what a query says of size and quality, which has no class of its own at times."""
    best = max(QUALITIES)
    asked = best if quality is None else quality
    limit = "" if asked in QUALITIES else f"&quality={asked}"
    return f"width={width}&bandwidth={QUALITIES.get(asked, QUALITIES[best])}&dpr=1{limit}"


class Imgproxy(System):
    """imgproxy: the binary that the environment variable IMGPROXY names, or else built with
    Debian's libvips.
    """

    name = "imgproxy"
    document = (
        "docs.imgproxy.net: installation, configuration options (AVIF/WebP support detection), "
        "signing a URL, local files"
    )

    # Since version 4 the program is not the module's root any more.
    PACKAGES = (
        "github.com/imgproxy/imgproxy/v4/cli@latest",
        "github.com/imgproxy/imgproxy/v3@latest",
    )

    @property
    def _program(self) -> Path:
        return Path(os.environ.get("IMGPROXY") or self.folder / "imgproxy")

    def installed(self) -> bool:
        """Whether there is one."""
        return self._program.exists()

    def install(self) -> None:
        """Build the newest that this libvips will do for."""
        if "IMGPROXY" in os.environ:
            raise CannotInstall(f"IMGPROXY: there is no {self._program}")
        if not shutil.which("go"):
            raise CannotInstall("there is no Go here")
        for package in self.PACKAGES:
            path = package.partition("@")[0]
            # -s and -w are what some of libvips' dependencies have in their pkg-config files.
            environment = {"GOBIN": str(self.folder / "bin"), "CGO_LDFLAGS_ALLOW": "-s|-w"}
            try:
                self._run("go", "install", package, environment=environment)
            except CannotInstall:
                continue
            built = "cli" if path.endswith("cli") else "imgproxy"
            (self.folder / "bin" / built).rename(self._program)
            return
        log = "imgprocessor-bench/imgproxy/install.log in the cache folder"
        raise CannotInstall(f"Go could build none of {', '.join(self.PACKAGES)}; see {log}")

    def version(self) -> str:
        """Return its version and libvips'."""
        vips = printed("pkg-config", "--modversion", "vips")
        return f"{printed(self._program, 'version')} (libvips {vips})"

    def commands(self, place: Place) -> list[Command]:
        """Sign URLs, as production should; all else but places and workers is the default."""
        environment = {
            "IMGPROXY_BIND": f"127.0.0.1:{place.port}",
            "IMGPROXY_LOCAL_FILESYSTEM_ROOT": str(place.originals),
            "IMGPROXY_WORKERS": str(CORES),
            "IMGPROXY_KEY": _KEY.encode().hex(),
            "IMGPROXY_SALT": _KEY.encode().hex(),
            # Megapixels. imgprocessor's limit; it was lower here in older versions.
            "IMGPROXY_MAX_SRC_RESOLUTION": "50",
            # By `Accept`, AVIF first; not for URLs that name a format.
            "IMGPROXY_AUTO_AVIF": "true",
            "IMGPROXY_AUTO_WEBP": "true",
        }
        return [Command((self._program,), place.port, environment)]

    def path(self, name: str, width: int, quality: int) -> str:
        """Return a signed path that names the format."""
        return self._signed(f"/rs:fit:{width}:0/q:{quality}/plain/local:///{name}@jpg")

    def negotiated(self, name: str, width: int, quality: int | None) -> str:
        """Return a signed path that names no format."""
        asked = "" if quality is None else f"/q:{quality}"
        return self._signed(f"/rs:fit:{width}:0{asked}/plain/local:///{name}")

    def _signed(self, path: str) -> str:
        digest = hmac.digest(_KEY.encode(), f"{_KEY}{path}".encode(), hashlib.sha256)
        return f"/{base64.urlsafe_b64encode(digest).decode().rstrip('=')}{path}"


class Thumbor(System):
    """thumbor: one process a core, behind nginx."""

    name = "thumbor"
    document = (
        "thumbor.readthedocs.io: hosting (production environment), security, image loader, "
        "configuration (AUTO_WEBP)"
    )

    CONF = """\
SECURITY_KEY = {key!r}
ALLOW_UNSAFE_URL = False
LOADER = "thumbor.loaders.file_loader"
FILE_LOADER_ROOT_PATH = {originals!r}
STORAGE = "thumbor.storages.no_storage"
AUTO_WEBP = True
"""
    # AUTO_AVIF would change nothing: thumbor prefers WebP to AVIF.

    @property
    def _python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    def installed(self) -> bool:
        """Whether its virtual environment was made."""
        return (self._python.parent / "thumbor").exists()

    def install(self) -> None:
        """Install the newest thumbor for the system's Python."""
        self._run("/usr/bin/python3", "-m", "venv", self.folder / "venv")
        self._run(self._python, "-m", "pip", "install", "--disable-pip-version-check", "thumbor")

    def version(self) -> str:
        """Return its version and Pillow's."""
        versions = "import PIL, thumbor; print(f'{thumbor.__version__} (Pillow {PIL.__version__}')"
        return f"{printed(self._python, '-c', versions)}, {nginx_version()})"

    def commands(self, place: Place) -> list[Command]:
        """Write its configuration and nginx's."""
        conf = place.state / "thumbor.conf"
        places = {"originals": str(place.originals), "state": str(place.state)}
        conf.write_text(self.CONF.format(key=_KEY, **places))
        program = self._python.parent / "thumbor"
        backends = [
            Command((program, "--ip", "127.0.0.1", "--port", str(port), "--conf", conf), port)
            for port in place.spare_ports
        ]
        servers = "".join(f"server 127.0.0.1:{port}; " for port in place.spare_ports)
        # Whichever is free takes the next one, and connections to it are kept.
        upstream = f"upstream backends {{ {servers} least_conn; keepalive 16; }}"
        location = """\
location / {
    proxy_pass http://backends;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffers 16 64k;
    client_max_body_size 50m;
}
"""
        return [*backends, nginx(place, location, upstream)]

    def path(self, name: str, width: int, quality: int) -> str:
        """Return a signed path, which is a JPEG for whoever does not accept WebP."""
        return self.negotiated(name, width, quality)

    def negotiated(self, name: str, width: int, quality: int | None) -> str:
        """Return a signed path."""
        filters = "" if quality is None else f"filters:quality({quality})/"
        path = f"{width}x0/{filters}{name}"
        digest = hmac.digest(_KEY.encode(), path.encode(), hashlib.sha1)
        return f"/{base64.urlsafe_b64encode(digest).decode()}/{path}"


class Ipx(System):
    """ipx: its own server, one process. sharp renders on threads of a pool beside it."""

    name = "ipx"
    document = (
        "ipx' README: using CLI, modifiers (format auto); sharp.pixelplumbing.com: performance"
    )

    SMALLEST_POOL = 4
    """Node's own; sharp's documentation says to raise it to the cores where there are more."""

    @property
    def _modules(self) -> Path:
        return self.folder / "node_modules"

    def installed(self) -> bool:
        """Whether npm has installed it: this file comes last."""
        return (self._modules / ".package-lock.json").exists()

    def install(self) -> None:
        """Install the newest ipx, with sharp."""
        if not (shutil.which("node") and shutil.which("npm")):
            raise CannotInstall("there is no Node with npm here")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "package.json").write_text('{"private": true}\n')
        self._run("npm", "install", "--no-audit", "--no-fund", "ipx")

    def version(self) -> str:
        """Return its version, sharp's and Node's."""
        ipx, sharp = (
            json.loads((self._modules / name / "package.json").read_text())["version"]
            for name in ("ipx", "sharp")
        )
        return f"{ipx} (sharp {sharp}, Node {printed('node', '--version')})"

    def commands(self, place: Place) -> list[Command]:
        """Return the one command, with what sharp's documentation sets for glibc."""
        address = ("--host", "127.0.0.1", "--port", str(place.port))
        words = ("node", self._modules / ".bin" / "ipx", "serve", "--dir", place.originals)
        environment = {
            "NODE_ENV": "production",
            "MALLOC_ARENA_MAX": "2",
            "UV_THREADPOOL_SIZE": str(max(self.SMALLEST_POOL, CORES)),
        }
        return [Command((*words, *address), place.port, environment)]

    def path(self, name: str, width: int, quality: int) -> str:
        """Return a path with modifiers."""
        return f"/w_{width},q_{quality},f_jpeg/{name}"

    def negotiated(self, name: str, width: int, quality: int | None) -> str:
        """Return a path whose format is `auto`."""
        asked = "" if quality is None else f",q_{quality}"
        return f"/w_{width}{asked},f_auto/{name}"


class ImageFilter(System):
    """nginx with its image_filter."""

    name = "image_filter"
    document = "nginx.org: ngx_http_image_filter_module, worker_processes"
    negotiates = False

    MODULE = Path("/usr/lib/nginx/modules/ngx_http_image_filter_module.so")

    def installed(self) -> bool:
        """Whether Debian's packages are there."""
        return self.MODULE.exists()

    def install(self) -> None:
        """Do nothing: ./run installs Debian's packages."""
        raise CannotInstall("Debian's libnginx-mod-http-image-filter is missing")

    def version(self) -> str:
        """Return nginx' version and GD's."""
        gd = printed("dpkg-query", "-W", "-f", "${Version}", "libgd3")
        return f"{nginx_version()} (libgd {gd})"

    def commands(self, place: Place) -> list[Command]:
        """Let width and quality come from the URL."""
        location = f"""\
location ~ ^/(?<image_width>\\d+)/(?<image_quality>\\d+)/(?<image_name>[^/]+)$ {{
    alias {place.originals}/$image_name;
    image_filter resize $image_width -;
    image_filter_jpeg_quality $image_quality;
    image_filter_buffer 20M;
}}
"""
        return [nginx(place, location, load=f"load_module {self.MODULE};")]

    def path(self, name: str, width: int, quality: int) -> str:
        """Return a path."""
        return f"/{width}/{quality}/{name}"

    def negotiated(self, name: str, width: int, quality: int | None) -> str:
        """Return a path to a JPEG: the original's format stays."""
        return self.path(name, width, quality or 75)


SYSTEMS: tuple[type[System], ...] = (Imgprocessor, Imgproxy, Thumbor, Ipx, ImageFilter)
