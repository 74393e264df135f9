"""Requests made up by chance, half of them odd all over, the others as browsers' but for one place:
read by caches as by the application.
"""

import random
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import combinations

from imgprocessor.formats import FORMATS
from imgprocessor.policy.table import DENSITIES, Policy
from imgprocessor.request.hints import HINT_HEADERS, LAYOUT_WIDTH_CSS_PIXELS
from imgprocessor.request.parameters import AUTHORS, NAMES, OLD_NAMES, PARAMETERS
from imgprocessor.request.values import AnyValue

PLAIN_NAMES = (
    *("nasa.jpeg", "a/b/c.png", "A-b_c.9.jpg", "x", "_", "-", "1_2x_3.webp", "n" * 255),
    "/".join(["%E4%BD%A0" * 85] * 2),
)
ODD_NAMES = (
    *("https%3A%2F%2Fimages.example.org/a.jpg", "https://images.example.org", "%2e%2F%2e./a"),
    *(
        "",
        "..",
        "a/../b.jpg",
        "/etc/passwd",
        "a//b",
        "a/",
        "./a",
        "n" * 256,
        "/".join(["n" * 255] * 4 + ["n"]),
        "%2e%2e/a",
        "%2E",
        "%00",
    ),
    *(
        "a%20b.jpg",
        "a+b.jpg",
        "%C3%BC.jpg",
        "%FF.jpg",
        "a'b(c)!$*,;:@=?.jpg",
        "a%5Cb",
        "nasa.jpeg%0a",
    ),
    *("a%", "%6easa.jpeg", "a%7Cb", "a%26b", "a%3fb.jpg", "a%25.jpg"),
    *("%ED%A0%80", "%C0%AF", "e%CC%81.jpg", "%F0%9F%91%A9%E2%80%8D%F0%9F%9A%80.jpg", "%E2%80%8Fa"),
    *("a[b].jpg", "a|b", "a^b", "{a}", 'a"b', "a<b>", "\xc3\xbc.jpg", "\xff.jpg", "a;b", "?a"),
)
URLS = (
    "https://images.example.org/a.jpg",
    "http://images.example.org",
    "https%3A%2F%2Fimages.example.org%2Fa%20b.jpg%3Fx%3D1%26y",
    "https://a.cdn.example/x?y=1",
    "https://IMAGES.Example.org:80/",
    "http://images.example.org%3a443/a_b_c",
    "https://images.example.org/" + "n" * 473,
    "https://images.example.org?a",
)
ODD_URLS = (
    "",
    "x",
    "https://images.example.org/" + "n" * 474,
    "ftp://images.example.org/",
    "https://images.example.org:8080/a",
    "https://images.example.org.evil.example/",
    "https://evil.example/images.example.org",
    "https://user@images.example.org/",
    "https://cdn.example/",
    "https://a.cdn.example.evil.example/",
    "https://xcdn.example/",
    "https:/images.example.org/",
    "https:///images.example.org/",
    "//images.example.org/",
    "%68ttps://images.example.org/",
    "https://images%2Eexample.org/",
    "https://images.example.org%5Ca",
    "https://images.example.org/%00",
    "https://images.example.org/%23a",
    "https://images.example.org/%FF",
    "https://images.example.org/a[b]",
    "https://images.example.org/\xfc",
    "HTTPS://images.example.org/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://.cdn.example/",
    "https://a..cdn.example/",
    "https://images.example.org./",
)
URL_HOSTS = ("images.example.org", "*.cdn.example")
"""The hosts that are allowed, where originals from elsewhere are."""

ACCEPTS = (
    "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    (
        "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
        "image/svg+xml,image/*;q=0.8,*/*;q=0.5"
    ),
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,*/*;q=0.5",
    "*/*",
    "image/*",
    "image/jpeg",
    "image/webp;q=0,*/*",
    "image/webp; q=0.0 , image/avif;q=0.001",
    "image/webp;a=b;q=0.;c=d,image/jpeg",
    "image/avif;q=0,image/avif",
    "IMAGE/WEBP, Image/Avif;Q=0",
    "image/jpeg;q=0, */*",
    "*/*;q=0",
    "image/*;q=0,*/*",
    "text/html",
    ",,",
    " ",
    "image/webp ;q = 0",
    "image/webp;q=00",
    "image/webpx,ximage/avif,image/webp/avif",
    "image/webp\t,\timage/avif",
    "image/webp;q=0;q=1",
    'image/avif;x="a,b"',
    "image/webp, \xfc",
    "image/avif;q=0.1, image/webp;q=0.9",
    "image/gif;q=0.4,*/*",
    "image/gif, image/webp;q=0.499",
    "image/*;q=0.3,*/*",
    "image/png;q=0.1,image/webp",
    "image/webp,IMAGE/JPEG ; q=0",
    "image/png;q=0,image/jpeg;q=0.4,image/avif",
    "image/gif,image/png;q=0,image/jpeg;q=0",
    "image/png;q=0.5,image/jpeg;q=0.9,*/*;q=0.1",
)
QS = {
    **dict.fromkeys((";q=0", ";q=0.", ";q=0.1", ";q=0.49", ";q=0.499", ";q=0.4999"), False),
    **dict.fromkeys((";Q=0.0", "; q=0.2 ", " ;\tq = 0.3", ";a=b;q=0.4;c", ";q=0.1;q=1"), False),
    **dict.fromkeys(
        ("", ";q=0.5", ";q=0.500", ";q=0.51", ";q=1", ";q=1.0", ";Q=0.9", " ; q=1 "), True
    ),
    **dict.fromkeys((";q=.4", ";q=00", ";q=-1", ";q=0.4x", ";q", ";q=", ";aq=0", ";q  =0"), True),
}
"""What may stand behind a format in `Accept`, and whether it is offered so."""

SAID = ("on", "On", "ON", "off", "1", "", "on, off", "off,on", " on ", "on;x", "yes")


def made_up(
    policy: Policy, max_side: int, count: int, seed: int = 1, *, elsewhere: float = 0.02
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield query strings, and headers whose names are in lower case; that share of them names an
    original from elsewhere.
    """
    chance = random.Random(seed)
    spellings_of, headers = values(policy, max_side), hints(policy)
    for _ in range(count):
        if chance.random() < 0.5:
            query_string, found = _nearly_usual(chance, policy, spellings_of, headers)
            yield _elsewhere(chance, query_string, elsewhere), found
            continue
        names = PLAIN_NAMES if chance.random() < 0.8 else ODD_NAMES
        parts = [f"name={chance.choice(names)}"] if chance.random() < 0.97 else []
        often = chance.choice((0.1, 0.3, 0.6))
        for parameter, spellings in spellings_of.items():
            if chance.random() < often:
                parts.append(f"{parameter}={chance.choice(spellings)}")
        if chance.random() < 0.15:
            odd = (
                "",
                "name",
                "utm_source=x",
                "width",
                "dpr=",
                "Name=x",
                "n%61me=y",
                "=",
                "fit=cover",
            )
            parts.append(chance.choice(odd))
        if chance.random() < 0.05:
            parts.append(chance.choice(parts or ["x"]))
        chance.shuffle(parts)
        often = chance.choice((0.0, 0.2, 0.6))
        yield (
            _elsewhere(chance, "&".join(parts), elsewhere),
            {
                name: chance.choice(headers[name])
                for name in HINT_HEADERS
                if chance.random() < often
            },
        )


def _elsewhere(chance: random.Random, query_string: str, share: float) -> str:
    """Put a URL in the name's place, or beside it, in some query strings."""
    if chance.random() >= share:
        return query_string
    url = f"url={chance.choice(URLS if chance.random() < 0.7 else ODD_URLS)}"
    if chance.random() < 0.1:
        return f"{query_string}&{url}"
    return re.sub("(?:^|(?<=&))name=[^&]*", lambda _: url, query_string)


def _nearly_usual(
    chance: random.Random,
    policy: Policy,
    spellings_of: dict[str, list[str]],
    spelled_hints: dict[str, list[str]],
) -> tuple[str, dict[str, str]]:
    """Return what browsers and `adaptive.js` write; most have one thing in it that may be odd."""
    parameters, headers = _usual(chance, policy)
    order, more = False, ""
    match chance.randrange(8):
        case 0:
            parameters["name"] = chance.choice(ODD_NAMES)
        case 1:
            name = chance.choice(list(spellings_of))
            parameters[name] = chance.choice(spellings_of[name])
        case 2:
            name = chance.choice([name for name in parameters if name != "name"] or ["dpr"])
            parameters[name] = chance.choice(spellings_of[name])
        case 3:
            name = chance.choice(list(headers))
            headers[name] = chance.choice(spelled_hints[name])
        case 4:
            name = chance.choice(HINT_HEADERS)
            headers[name] = chance.choice(spelled_hints[name])
        case 5:
            del headers[chance.choice(list(headers))]
        case 6:
            order, more = True, chance.choice(["", "x", "utm_source=x", "width=340", "dpr=1"])
    parts = [f"{name}={value}" for name, value in parameters.items()]
    if order:
        parts.append(more)
        chance.shuffle(parts)
    return "&".join(parts), headers


def _usual(chance: random.Random, policy: Policy) -> tuple[dict[str, str], dict[str, str]]:
    """Return parameters and headers."""
    classes = [known.name for known in policy.bandwidths]
    density = chance.choice(["1", "1.25", "1.5", "2", "2.625", "3", "3.5", "0.9"])
    parameters = {"name": chance.choice(PLAIN_NAMES)}
    headers = {"accept": chance.choice(ACCEPTS[:3])}
    if chance.random() < 0.5:
        widths = policy.allowed.of(PARAMETERS["width"]) or (1, 64, 340, 1000, 1365, 1366, 4096)
        parameters["width"] = str(chance.choice(widths))
    if chance.random() < 0.4:
        parameters |= {"screen": str(chance.choice([1, 412, 480, 481, 1024, 1920])), "dpr": density}
        if chance.random() < 0.6:
            parameters["bandwidth"] = chance.choice(classes)
    if chance.random() < 0.7:
        headers |= {"sec-ch-dpr": density, "sec-ch-viewport-width": str(chance.randint(1, 2000))}
    if chance.random() < 0.7:
        downlink = Decimal("0.05") * chance.choice([*range(25), 27, 29, 200])
        headers |= {
            "ect": chance.choice(classes),
            "rtt": str(25 * chance.choice([*range(15), *range(50, 90)])),
            "downlink": f"{downlink:f}",
        }
    return parameters, headers


def values(policy: Policy, max_side: int) -> dict[str, list[str]]:
    """Return spellings, right and wrong, of every parameter but the name, by its name: of what
    authors write, as the table has it.
    """
    numbers = {
        "width": [max_side, *(int(max_side / density) for density in DENSITIES)],
        "quality": [cell.quality for cell in policy.cells.values()],
        "max_bytes": [cell.budget_bytes for cell in policy.cells.values() if cell.budget_bytes],
    }
    numbers["height"] = numbers["width"]
    found = {}
    for row in AUTHORS:
        if row.name not in NAMES:
            allowed = [row.value.write(value) for value in policy.allowed.of(row) or ()]
            near = [str(number) for number in sorted(set(numbers.get(row.name, [])))]
            found[row.name] = [*allowed, *allowed, *spelled_by(row.value, [*allowed, *near])]
    for old, row in OLD_NAMES.items():
        if row.is_signed:
            found[old] = [*(row.old[old] or {}), "0", "", "01", "2", *row.value.examples]
    screens = [*_spelled([screen.name for screen in policy.screens]), *_sizes(policy)]
    sets = ["+".join(some) for count in (1, 2, 3) for some in combinations(FORMATS, count)]
    return found | {
        "bandwidth": _spelled([known.name for known in policy.bandwidths]),
        "screen": screens,
        "screensize": screens,
        "dpr": _densities(),
        "formats": [
            *(sets * 2),
            *(
                "",
                "none",
                "none",
                "none+webp",
                "NONE",
                "webp%2Bjpeg",
                "jpeg+webp",
                "avif%20webp",
                "WEBP",
                "jpeg+",
                "+",
            ),
        ],
    }


def spelled_by(value: AnyValue, more: Iterable[str] = ()) -> list[str]:
    """Return spellings of a type, right and wrong."""
    found = ["", "0", "000", "x", "1e3", "-1", "+5", "12.5", "999999999", "1%30"]
    for text in (*value.examples, *more):
        found += [text, text, text.upper(), f"{text}x", f"0{text}", f"{text}0", text[:-1], text[1:]]
        found += [f"{text}%20", text.replace(",", "%2C"), text.replace(",", "%2c"), f"000{text}"]
        if text.isdigit():
            found += [
                str(int(text) - 1),
                str(int(text) + 1),
                text.rjust(9, "0"),
                text.rjust(10, "0"),
            ]
    return found


def hints(policy: Policy) -> dict[str, list[str]]:
    rtts = [known.min_rtt_ms for known in policy.bandwidths if known.min_rtt_ms is not None]
    downlinks = [
        known.max_downlink_mbps
        for known in policy.bandwidths
        if known.max_downlink_mbps is not None
    ]
    classes = _listed(_spelled([known.name for known in policy.bandwidths]))
    screens = _listed([*_spelled([screen.name for screen in policy.screens]), *_sizes(policy)])
    return {
        "http-nw-type": classes,
        "save-data": list(SAID),
        "ect": classes,
        "rtt": _listed(_around(rtts)),
        "downlink": _listed(_around(downlinks)),
        "http-screensize": screens,
        "sec-ch-viewport-width": _listed(_sizes(policy)),
        "viewport-width": _listed(_sizes(policy)),
        "sec-ch-ua-mobile": ["?1", "?1", "?0", "?1, ?0", "?0, ?1", " ?1", "?1;v=1", "1", ""],
        "sec-ch-dpr": _listed(_densities()),
        "dpr": _listed(_densities()),
        "accept": list(ACCEPTS),
    }


def _spelled(names: list[str]) -> list[str]:
    found = ["", "*", "%2a", "%2A", "5g", "none", "4g%20", "a" * 200, "\u212a"]
    for name in names:
        found += [name, name, name.upper(), name.title(), f"{name}x", f"x{name}"]
    return [text for text in found if text.isascii()]


def _around(bounds: list[Decimal]) -> list[str]:
    found = [
        "0",
        "0.0",
        "0.000",
        "",
        "99999",
        "99999.999",
        "100000",
        "1.2345",
        ".5",
        "5.",
        "-1",
        "1e2",
        "x",
        "007",
    ]
    step = Decimal("0.001")
    for bound in (*bounds, Decimal(1)):
        for value in (
            bound - step,
            bound,
            bound + step,
            bound - 1,
            bound + 1,
            bound / 2,
            bound * 2,
        ):
            if value >= 0:
                short = f"{value.quantize(step):f}"
                found += [short, short.rstrip("0").rstrip("."), f"0{short}"[:9]]
    return found


def _sizes(policy: Policy) -> list[str]:
    bounds = [
        screen.max_css_pixels for screen in policy.screens if screen.max_css_pixels is not None
    ]
    layout = [*(str(LAYOUT_WIDTH_CSS_PIXELS),) * 5, "980.0", "0980", "980.000", "980.001", "9800"]
    return [*_around([Decimal(bound) for bound in bounds]), *layout]


def _densities() -> list[str]:
    found = _around(list(DENSITIES))
    return [
        *found,
        "1.500000000001",
        "2.625",
        "0.0004",
        "1." + "0" * 30,
        "1." + "0" * 31,
        "1.5x",
        "1.5.5",
    ]


def _listed(texts: list[str]) -> list[str]:
    """Add what a header may have and a query string may not."""
    some = texts[:: max(1, len(texts) // 12)]
    return [
        *texts,
        *(f" {text}\t" for text in some),
        *(f"{text}, 5" for text in some),
        *(f"5,{text}" for text in some),
        *(f"{text};v=1" for text in some),
    ]
