"""What an operator may decide about the server: one field a setting, frozen, strict.

A setting is written once, here: what reads it (`settings_file`), `conf/imgprocessor.ini`,
`docs/settings.md` and their tests are all made from these fields. The policy (who gets what) is a
file of its own.
"""

from dataclasses import dataclass
from pathlib import Path

from imgprocessor.config.buckets import BucketsSettings, BucketUrl, places
from imgprocessor.config.jobs_settings import JobsSettings, PreviewsSettings
from imgprocessor.config.rendering_settings import RenderingSettings
from imgprocessor.config.store_settings import StoreSettings
from imgprocessor.config.types import (
    SwitchOrAuto,
    addresses,
    choice,
    colour,
    factor,
    hosts,
    not_negative,
    origin_or_none,
    output_side,
    path,
    path_or_none,
    paths,
    percent,
    positive,
    quality,
    setting,
    switch,
)
from imgprocessor.config.upload_settings import ReplicaSettings, UploadsSettings


@dataclass(frozen=True)
class OriginalsSettings:
    """Where originals live, and which are refused."""

    roots: tuple[Path | BucketUrl, ...] = setting(
        (Path("../originals"),),
        places,
        "Where originals are, in order: the first that has a name counts. Folders, and places in"
        " buckets such as s3://pictures/shop, with blanks between; a name with blanks in quotes.",
    )
    max_bytes: int = setting(104_857_600, positive, "Refuse files with more bytes (100 MiB).")
    max_decoded_bytes: int = setting(
        1_342_177_280,
        positive,
        "Refuse originals that may take more memory (1.25 GiB), however many pixels they have: 6"
        " bytes a pixel of a PNG or GIF (9 or 16 with a colour that is transparent), 13 of a WebP;"
        " of a JPEG 400 MB at most, and of one in several scans 2 to 8 bytes a pixel beside.",
    )
    max_scans: int = setting(
        100, positive, "Refuse JPEGs with more scans, each through all pixels. Real ones have ten."
    )
    max_megapixel_scans: int = setting(
        2500, positive, "Refuse JPEGs with more scans times megapixels: each takes 0.2 ms or more."
    )
    max_metadata_bytes: int = setting(
        16_777_216, positive, "Refuse more metadata (16 MiB). Phones keep whole pictures in it."
    )
    max_metadata_parts: int = setting(
        1000, positive, "Refuse more segments, chunks or extensions that are not pixels."
    )
    max_icc_bytes: int = setting(
        1_048_576, positive, "Ignore larger colour profiles (1 MiB): they would only cost time."
    )
    max_exif_bytes: int = setting(
        1_048_576, positive, "Ignore larger EXIF data (1 MiB). Cameras write 64 kB at most."
    )
    full: SwitchOrAuto = setting(
        "auto",
        choice(SwitchOrAuto),
        "Send originals as they are, with all their metadata, at /full/NAME: yes, no, or auto:"
        " unless links must be signed.",
    )
    missing_seconds: int = setting(
        30, not_negative, "A bucket is not asked again for so long for what was not there."
    )

    @property
    def folders(self) -> tuple[Path, ...]:
        """The roots that are folders."""
        return tuple(root for root in self.roots if isinstance(root, Path))

    @property
    def buckets(self) -> tuple[BucketUrl, ...]:
        """The roots that are places in buckets."""
        return tuple(root for root in self.roots if isinstance(root, BucketUrl))


@dataclass(frozen=True)
class RemoteSettings:
    """Remote originals, by url= in place of name=; and copies of those in buckets."""

    hosts: tuple[str, ...] = setting(
        (),
        hosts,
        "Hosts that originals are fetched from, with blanks between; *.example.org is all under"
        " that name. With none there is no url=.",
    )
    folder: Path = setting(
        Path("../cache/remote"),
        path,
        "Where local copies of remote originals, and of those in buckets, are kept; may be emptied"
        " at any time.",
    )
    max_bytes: int = setting(20_971_520, positive, "Fetch no more bytes of one original (20 MiB).")
    max_kept_bytes: int = setting(
        2_000_000_000,
        positive,
        "Local copies take no more than this, at least ten times max_bytes, for buckets ten times"
        " [originals] max_bytes; the least recently used go first.",
    )
    dns_seconds: int = setting(2, positive, "The host's addresses must be known by then.")
    connect_seconds: int = setting(
        3, positive, "The connection must stand by then, with TLS that is right."
    )
    first_byte_seconds: int = setting(
        5, positive, "The headers of the answer must be there by then, once the host was asked."
    )
    total_seconds: int = setting(
        10,
        positive,
        "All of it, redirects too, takes no longer; nor does a request wait longer for another one"
        " that fetches the same, or for its turn to ask a bucket. Less than half of the"
        " request-timeout of the daemons.",
    )
    min_bytes_per_second: int = setting(
        10_000,
        positive,
        "A body that comes more slowly, after two seconds, is given up: 504.",
    )
    max_redirects: int = setting(3, not_negative, "Follow no more; each is checked as the URL was.")
    max_host_fetches: int = setting(
        4, positive, "So many at once from one host, over all processes; the next request gets 503."
    )
    max_fetches: int = setting(
        16,
        positive,
        "So many at once in all, over all processes, with the requests that wait for the same one;"
        " the next request gets 503. As many at once from all buckets, and as many wait for that.",
    )
    min_fresh_seconds: int = setting(
        60,
        positive,
        "The host is not asked again for so long, whatever it says: no page makes this server a"
        " load on another. So long is what came from a bucket good.",
    )
    max_fresh_seconds: int = setting(
        86_400, positive, "The host is asked after so long, whatever it says."
    )
    max_stale_seconds: int = setting(
        86_400,
        not_negative,
        "While the host or the bucket fails, an old original is used, for so long after it was"
        " due.",
    )
    failed_seconds: int = setting(
        10,
        not_negative,
        "What could not be fetched is not asked for again for so long; nor is anything, of a host"
        " or a bucket that cannot be connected to.",
    )


@dataclass(frozen=True)
class PixelsSettings:
    """What shapes the pixels of every rendition. All of it is in the imagekey's digest."""

    max_output_side_pixels: int = setting(
        4096,
        output_side,
        "No side of a rendition is longer; width= and height= over it are a 400.",
    )
    master_margin: float = setting(
        1.5,
        factor,
        "Renditions are made from a reduced copy of the original, halved as long as it is at least"
        " so many times the size wanted; the rest is resized with Lanczos. Lower is faster, higher"
        " is sharper.",
    )
    background: str = setting(
        "#ffffff", colour, "Colour behind transparent originals, where the format has no alpha."
    )
    min_quality: int = setting(
        40,
        quality,
        "Searching for a budget or a score goes no lower: beyond it the picture is made smaller.",
    )
    max_modern_pixels: int = setting(
        4_000_000,
        positive,
        "Renditions with more pixels are sent in the plainest format that would do: of sixteen"
        " megapixels one AVIF takes a second, and a budget takes several.",
    )
    keep_copyright: bool = setting(
        False, switch, "Keep the original's EXIF copyright and artist; all else is always removed."
    )


@dataclass(frozen=True)
class DiskCacheSettings:
    """What is kept on disk, so that it is made only once."""

    folder: Path = setting(
        Path("../cache"), path, "Where renditions and masters are kept; may be emptied at any time."
    )
    max_renditions_bytes: int = setting(
        5_000_000_000,
        not_negative,
        "Renditions take no more than this; the least recently used go first. 0 keeps none.",
    )
    max_masters_bytes: int = setting(
        5_000_000_000,
        not_negative,
        "Masters, reduced copies of originals, take no more than this: some 12 MB an original, 8 to"
        " 28; 0: none are kept. What was not used for longest goes first.",
    )
    min_free_percent: int = setting(
        5,
        percent,
        "Where less of the disk would stay free, nothing more is kept, and the least recently used"
        " make room.",
    )


@dataclass(frozen=True)
class PolicySettings:
    """Where the policy is."""

    file: Path = setting(
        Path("policy.ini"), path, "The policy: rows are screens, columns bandwidths."
    )


@dataclass(frozen=True)
class PlaceholderSettings:
    """The picture sent instead, when something went wrong."""

    file: Path = setting(
        Path("../static/404image.png"), path, "The placeholder, rendered as asked."
    )


@dataclass(frozen=True)
class FreshnessSettings:
    """How long answers may be kept, in seconds."""

    max_age_seconds: int = setting(86_400, not_negative, "Browsers keep a full picture.")
    degraded_max_age_seconds: int = setting(
        600,
        not_negative,
        "Browsers keep a picture of a bandwidth worse than the default: a visitor who is back on"
        " a good network gets the good picture soon.",
    )
    shared_max_age_seconds: int = setting(
        600,
        not_negative,
        "Caches keep pictures, Apache's own too, before they ask whether those are still good,"
        " which costs no rendering. No longer than browsers keep any, unless the cache drops Age:"
        " browsers take off how old a cache's copy is.",
    )
    stale_while_revalidate_seconds: int = setting(
        3600, not_negative, "A cache may send an old picture while it asks for the new one."
    )
    stale_if_error_seconds: int = setting(
        604_800, not_negative, "A cache may send an old picture while this server is down."
    )
    quick_max_age_seconds: int = setting(
        30,
        not_negative,
        "Browsers and caches keep a picture that was made quickly, until they ask for the best one:"
        " see `effort` in the policy's language. No longer than any other; 0: they ask each time.",
    )
    not_found_max_age_seconds: int = setting(
        30,
        not_negative,
        "Browsers and caches keep the placeholder of a missing original, and a picture of one that"
        " ends too early: it may be on its way here.",
    )


@dataclass(frozen=True)
class HttpSettings:
    """What browsers let other sites' pages do."""

    allow_origin: str | None = setting(
        "*",
        origin_or_none,
        "The pages whose scripts may read pictures' bytes and times (CORS): * for all, one origin"
        " such as https://www.example.org, or none. Any page may show them.",
    )


@dataclass(frozen=True)
class PurgeSettings:
    """Purges by HTTP, and the nodes and caches that must forget the same."""

    token_file: Path | None = setting(
        None,
        path_or_none,
        "A file with the token that POST /images/-/purge asks for; readable for the daemons' user,"
        " not for everybody. Without it there are no purges by HTTP.",
    )
    nodes: tuple[str, ...] = setting(
        (),
        addresses,
        "The other application nodes, HOST:PORT with blanks between; they have the same token."
        " Where a name has several addresses, each purge asks all of them; this node's own may be"
        " one of these.",
    )
    proxy_cache_folders: tuple[Path, ...] = setting(
        (),
        paths,
        "Folders on this node, with blanks between, where Apache (CacheRoot, IMG_CACHE in the"
        " virtual host) and nginx (proxy_cache_path) keep answers; the daemons' user must be able"
        " to write there.",
    )
    varnish: tuple[str, ...] = setting(
        (),
        addresses,
        "The Varnish caches in front, HOST:PORT with blanks between; all nodes must be among"
        " their purgers.",
    )


@dataclass(frozen=True)
class SigningSettings:
    """Whether links must be signed."""

    keys_file: Path | None = setting(
        None,
        path_or_none,
        "A file with the keys that links are signed with, one a line: the first signs, all are"
        " taken; readable for the daemons' user, not for everybody. Without, no link need be"
        " signed.",
    )


@dataclass(frozen=True)
class BrowseSettings:
    """The gallery of the folder of originals."""

    enabled: bool = setting(
        False,
        switch,
        "Show all originals, folder by folder, at /browse/ to everybody whom the virtual host lets"
        " in; where links must be signed, with signed links.",
    )


@dataclass(frozen=True)
class MetricsSettings:
    """What Prometheus may know."""

    enabled: bool = setting(
        True,
        switch,
        "Count answers, in [disk_cache] folder, and show the counts at /images/-/metrics to whom"
        " the virtual host lets in: this machine, but for what comes by way of a proxy.",
    )


@dataclass(frozen=True)
class LogSettings:
    """What is written down."""

    file: Path = setting(Path("../logs/requests.log"), path, "One JSON line a request.")


@dataclass(frozen=True)
class Settings:
    """All settings. A part of the server receives its own section, never the whole."""

    originals: OriginalsSettings = OriginalsSettings()
    remote: RemoteSettings = RemoteSettings()
    buckets: BucketsSettings = BucketsSettings()
    pixels: PixelsSettings = PixelsSettings()
    disk_cache: DiskCacheSettings = DiskCacheSettings()
    store: StoreSettings = StoreSettings()
    rendering: RenderingSettings = RenderingSettings()
    policy: PolicySettings = PolicySettings()
    placeholder: PlaceholderSettings = PlaceholderSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    http: HttpSettings = HttpSettings()
    purge: PurgeSettings = PurgeSettings()
    signing: SigningSettings = SigningSettings()
    browse: BrowseSettings = BrowseSettings()
    uploads: UploadsSettings = UploadsSettings()
    replica: ReplicaSettings = ReplicaSettings()
    jobs: JobsSettings = JobsSettings()
    previews: PreviewsSettings = PreviewsSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
