"""Pixels to bytes: budgets, formats and targets, on pictures made in code."""

import itertools
import random
from dataclasses import replace
from typing import Any

import drawn
import images
import pytest
from full_plan import FULL
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.formats import FORMATS, Format
from imgprocessor.geometry import Size
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.compression.compress import Compressed, compress
from imgprocessor.images.compression.kind import kind_of
from imgprocessor.images.compression.quality_search import sizes
from imgprocessor.images.compression.score import refer_to, score
from imgprocessor.images.compression.ways import ways_of
from imgprocessor.images.formats.avif import AVIF_GRAPHICS
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.formats.jpeg import JPEG_GRAPHICS
from imgprocessor.images.formats.webp import WEBP_LOSSLESS
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell

PLAN = replace(FULL, cell=Cell(78, width_percent=100))
LOSSY: tuple[Format, ...] = tuple(
    known for known in FORMATS if known in ENCODERS and known != "png"
)
INSTALLED: tuple[Format, ...] = tuple(known for known in FORMATS if known in ENCODERS)


def _plan(*formats: Format, **cell: Any) -> Plan:
    return replace(PLAN, formats=formats, cell=replace(PLAN.cell, **cell))


def _transparent(size: tuple[int, int]) -> Image.Image:
    image = images.texture(size).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(size))
    return image


def _picture(kind: str, size: tuple[int, int], seed: int) -> Image.Image:
    if kind == "noise":
        return images.noise(size)
    if kind == "flat":
        return images.four_colours((8, 8)).resize(size, Image.Resampling.NEAREST)
    if kind == "grey":
        return images.texture(size, seed).convert("L")
    if kind == "transparent":
        return _transparent(size)
    return images.texture(size, seed)


def _setting(name: Format, quality: int, image: Image.Image) -> int:
    return CALIBRATION.setting(name, quality, Size(*image.size))


FOR_GRAPHICS: dict[Format, Encoder] = {"avif": AVIF_GRAPHICS, "jpeg": JPEG_GRAPHICS}


def _weight_of_the_next_step(image: Image.Image, done: Compressed, ceiling: int) -> int | None:
    """Encode once more, one setting higher, as far as the ceiling allows."""
    here = _setting(done.format, done.quality, image)
    for quality in range(done.quality + 1, ceiling + 1):
        setting = _setting(done.format, quality, image)
        if setting > here:
            return len(_encoder(done.format, image).write(image, setting, b""))
    return None


def _encoder(name: Format, image: Image.Image) -> Encoder:
    """Return what writes such a picture with loss."""
    kind = kind_of(image)
    is_graphic = kind.is_graphic or kind.colours is not None
    return FOR_GRAPHICS.get(name, ENCODERS[name]) if is_graphic else ENCODERS[name]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["texture", "noise", "flat", "grey", "transparent"]),
    size=st.tuples(st.integers(1, 260), st.integers(1, 200)),
    seed=st.integers(0, 9),
    budget=st.integers(1000, 30_000),
    formats=st.sets(st.sampled_from(INSTALLED), min_size=1),
    ceiling=st.sampled_from([1, 45, 60, 78, 95, 100]),
)
def test_no_answer_is_over_its_budget_and_one_more_step_of_quality_would_be(
    kind: str,
    size: tuple[int, int],
    seed: int,
    budget: int,
    formats: set[Format],
    ceiling: int,
) -> None:
    image = _picture(kind, size, seed)
    if image.mode == "RGBA" and not any(ENCODERS[known].keeps_alpha for known in formats):
        image = image.convert("RGB")  # as the step before has it
    ordered = tuple(known for known in FORMATS if known in formats)
    plan = _plan(*ordered, quality=ceiling, budget_bytes=budget)

    done = compress(image, plan, b"")

    assert len(done.body) <= budget
    assert images.decoded(done.body).size == (done.size.width, done.size.height)
    assert done.format in formats
    if done.limited == "quality":
        over = _weight_of_the_next_step(image, done, ceiling)
        assert over is not None
        assert over > budget
    elif not done.limited and done.format != "png":
        assert _weight_of_the_next_step(image, done, ceiling) is None
    if done.limited == "size":
        assert done.size.width < size[0] or done.size.height < size[1]
        if done.format != "png":
            smaller = (done.size.width, done.size.height)
            shown = image.resize(smaller, Image.Resampling.LANCZOS)
            if _encoder(done.format, shown) is _encoder(done.format, image):
                over = _weight_of_the_next_step(shown, done, ceiling)
                assert over is None or over > budget
    else:
        assert done.size == Size(*size)


@pytest.mark.parametrize("name", LOSSY)
def test_a_tight_budget_takes_quality_to_the_floor_and_then_size(name: Format) -> None:
    image = images.texture((400, 300))
    free = compress(image, _plan(name), b"")
    weights = {}
    for quality in (40, 39):
        body = ENCODERS[name].write(image, _setting(name, quality, image), b"")
        weights[quality] = len(body)

    at_the_floor = compress(image, _plan(name, budget_bytes=weights[40]), b"")
    below = compress(image, _plan(name, budget_bytes=weights[40] - 1), b"")

    assert (free.quality, free.limited, free.trials) == (78, "", 1)
    assert at_the_floor.limited == "quality"
    assert at_the_floor.size == free.size
    assert at_the_floor.quality >= 40
    assert below.limited == "size"
    assert below.size.width < 400
    assert below.quality >= 40
    larger = [step.size for step in sizes(free.size, 40) if step.size.width > below.size.width]
    for size in larger[:1]:
        over = image.resize((size.width, size.height), Image.Resampling.LANCZOS)
        body = ENCODERS[name].write(over, _setting(name, 40, over), b"")
        assert len(body) > weights[40] - 1
    assert abs(below.size.width * 3 - below.size.height * 4) <= 4
    assert len(below.body) < weights[40]


def test_the_floor_is_a_setting_and_never_above_the_ceiling() -> None:
    image = images.texture((400, 300))
    low = replace(_plan("jpeg", budget_bytes=9000), pixels=PixelsSettings(min_quality=5))
    ceiling_below_floor = _plan("jpeg", quality=20, budget_bytes=1_000_000)

    assert compress(image, low, b"").quality < 40
    assert compress(image, ceiling_below_floor, b"").quality == 20


@pytest.mark.parametrize("kind", ["texture", "noise", "flat", "grey"])
def test_nothing_is_larger_than_a_plainer_format_would_be(kind: str) -> None:
    image = _picture(kind, (300, 200), 3)
    every: tuple[Format, ...] = LOSSY

    done = compress(image, _plan(*every), b"")

    alone = {known: len(compress(image, _plan(known), b"").body) for known in every}
    assert len(done.body) == min(alone.values())
    assert alone[done.format] == len(done.body)


def test_an_equal_weight_goes_to_the_policys_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for known in ("webp", "jpeg"):
        same = replace(ENCODERS[known], write=lambda *_: b"x" * 2000)
        monkeypatch.setitem(ENCODERS, known, same)

    assert compress(images.texture((9, 9)), _plan("webp", "jpeg"), b"").format == "webp"


def test_a_plainer_format_that_is_lighter_may_reach_a_higher_quality() -> None:
    """Flat colours: WebP is at its best, so a budget that AVIF fills leaves room."""
    image = images.four_colours((600, 400))
    first = compress(image, _plan("avif", budget_bytes=1000), b"")
    alone = compress(image, _plan("webp", budget_bytes=1000), b"")

    done = compress(image, _plan("avif", "webp", "jpeg", budget_bytes=1000), b"")

    assert (first.size.width, first.quality) < (alone.size.width, alone.quality)
    assert (done.format, done.size, done.quality) == ("webp", alone.size, alone.quality)


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (("webp", "jpeg"), "RGBA"),
        (("avif", "webp", "png", "jpeg"), "RGBA"),
        (("png",), "RGBA"),
        (("gif", "png", "jpeg"), "RGBA"),
    ],
)
def test_alpha_is_kept_where_a_format_can(formats: tuple[Format, ...], expected: str) -> None:
    done = compress(_transparent((120, 80)), _plan(*formats), b"")
    back = images.decoded(done.body)

    assert (done.format == "jpeg", back.mode) == (False, expected)
    top, bottom = back.getpixel((60, 2)), back.getpixel((60, 77))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[3] < 20
    assert bottom[3] > 235


def test_png_is_lossless_whatever_the_quality_and_sent_where_nothing_else_may_be() -> None:
    image = images.texture((60, 40))
    flat = images.four_colours((60, 40))

    alone = compress(image, _plan("png", quality=1), b"")

    assert images.decoded(alone.body).tobytes() == image.tobytes()
    assert (alone.quality, alone.limited) == (100, "")
    assert compress(image, _plan("png", "jpeg"), b"").format == "jpeg"
    assert compress(flat, _plan("png", "jpeg", quality=100), b"").format == "png"
    assert compress(flat, _plan("webp", "png", "jpeg", quality=100), b"").format == "webp"
    assert compress(image, _plan("gif", "png"), b"").format == "png"
    lossy = compress(image, _plan("gif", "png", "jpeg"), b"")
    assert lossy.format == "jpeg"


def test_a_lossless_picture_over_its_budget_gets_smaller() -> None:
    done = compress(images.noise((200, 100)), _plan("png", budget_bytes=5000), b"")

    assert done.limited == "size"
    assert len(done.body) <= 5000


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("target", [70, 80, 85])
def test_a_target_is_the_lowest_quality_that_scores_it(name: Format, target: int) -> None:
    image = images.texture((320, 200))
    plan = replace(
        _plan(name, quality=95, target_score=target), pixels=PixelsSettings(min_quality=5)
    )

    done = compress(image, plan, b"")

    def scored(setting: int) -> float:
        body = ENCODERS[name].write(image, setting, b"")
        return score(refer_to(image), images.decoded(body))

    here = _setting(name, done.quality, image)
    below = max(
        (
            setting
            for quality in range(1, done.quality)
            if (setting := _setting(name, quality, image)) < here
        ),
        default=None,
    )
    assert done.score == scored(here)
    assert done.trials <= 7
    assert done.limited == ""
    assert done.score >= target or done.quality == 95
    assert done.quality > 5
    assert below is not None
    assert scored(below) < target


def test_with_a_budget_beside_a_target_the_budget_wins() -> None:
    image = images.texture((320, 200))
    free = compress(image, _plan("jpeg", quality=95, target_score=80), b"")
    tight = len(free.body) * 3 // 4

    done = compress(image, _plan("jpeg", quality=95, target_score=80, budget_bytes=tight), b"")
    exact = len(free.body)
    roomy = compress(image, _plan("jpeg", quality=95, target_score=80, budget_bytes=exact), b"")

    assert len(done.body) <= tight
    assert done.limited == "quality"
    assert done.score is not None
    assert done.score < 80
    assert (roomy.body, roomy.limited) == (free.body, "")


def test_a_score_is_taken_of_the_full_size_alone() -> None:
    image = images.texture((320, 200))

    done = compress(image, _plan("jpeg", quality=95, target_score=80, budget_bytes=2000), b"")

    assert (done.limited, done.score) == ("size", None)


@pytest.mark.parametrize("kind", ["texture", "flat", "grey"])
@pytest.mark.parametrize("target", [60, 80, 88])
def test_a_target_is_met_by_the_format_that_needs_fewest_bytes(kind: str, target: int) -> None:
    image = _picture(kind, (200, 150), 5)
    first, *_ = LOSSY
    alone = compress(image, _plan(first, quality=95, target_score=target), b"")

    done = compress(image, _plan(*LOSSY, quality=95, target_score=target), b"")

    assert alone.score is not None
    assert done.score is not None
    assert done.score >= min(target, alone.score)
    if alone.score >= target:
        assert len(done.body) <= len(alone.body)


def test_large_pictures_are_sent_in_the_plainest_format() -> None:
    image, clear = images.texture((300, 200)), _transparent((300, 200))
    few = PixelsSettings(max_modern_pixels=300 * 200 - 1)
    just = PixelsSettings(max_modern_pixels=300 * 200)
    plan = _plan("avif", "webp", "jpeg")

    assert compress(image, replace(plan, pixels=few), b"").format == "jpeg"
    assert compress(clear, replace(plan, pixels=few), b"").format == "webp"
    assert compress(image, replace(plan, pixels=just), b"").format == "avif"


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_kept_of_exif_data_is_at_most_a_tenth_of_the_budget(name: Format) -> None:
    exif = Image.Exif()
    exif[0x8298] = "(c) " + "somebody " * 100
    data = exif.tobytes()
    image = images.texture((64, 48))

    kept = compress(image, _plan(name, budget_bytes=10 * len(data)), data)
    lost = compress(image, _plan(name, budget_bytes=10 * len(data) - 1), data)
    free = compress(image, _plan(name), data)

    for done in (kept, free):
        assert "somebody" in str(images.decoded(done.body).getexif().get(0x8298))
    assert len(lost.body) <= 10 * len(data) - 1
    assert not images.decoded(lost.body).getexif()


USUAL: tuple[Format, ...] = ("avif", "webp", "png", "jpeg")
SETS: tuple[tuple[Format, ...], ...] = (
    *(INSTALLED, USUAL, ("webp", "png", "jpeg"), ("png", "jpeg"), ("gif", "png")),
    *(("avif", "jpeg"), ("jpeg",), ("png",), ("webp",)),
)


def _parts(kind: str, formats: tuple[Format, ...]) -> list[Image.Image]:
    """Return a part of each picture of a kind, opaque where no format is transparent."""
    keeps_alpha = any(ENCODERS[known].keeps_alpha for known in formats if known in ENCODERS)
    parts = [image.crop((60, 90, 280, 250)) for image in drawn.of_kind(kind).values()]
    return [part if keeps_alpha or part.mode != "RGBA" else part.convert("RGB") for part in parts]


def _is_exact(done: Compressed, image: Image.Image) -> bool:
    return drawn.looks(images.decoded(done.body)) == drawn.looks(image)


@pytest.mark.parametrize("kind", ["qr", "scan", "pixel-art", "dithered"])
@pytest.mark.parametrize(
    ("formats", "expected"),
    [(USUAL, "webp"), (INSTALLED, "webp"), (("png", "jpeg"), "png"), (("gif", "png"), "png")],
)
def test_a_graphic_of_sixteen_colours_is_sent_with_every_pixel(
    kind: str, formats: tuple[Format, ...], expected: Format
) -> None:
    seen = 0
    for image in drawn.of_kind(kind).values():
        if len(image.getcolors(256) or range(257)) > 16:
            continue
        seen += 1
        done = compress(image, _plan(*formats), b"", is_untouched=True)

        assert (done.format, done.quality, done.limited) == (expected, 100, "")
        assert _is_exact(done, image)
    assert seen


@pytest.mark.parametrize("kind", drawn.KINDS)
def test_what_is_lossless_as_a_webp_is_sent_where_nothing_is_lighter(kind: str) -> None:
    for part in _parts(kind, USUAL):
        exact = len(WEBP_LOSSLESS.write(part, 0, b""))

        done = compress(part, _plan(*USUAL), b"", is_untouched=True)

        if part.getcolors(256) is not None:
            assert len(done.body) <= exact
        if done.format == "webp" and done.quality == 100:
            assert _is_exact(done, part)


@pytest.mark.parametrize("kind", [*drawn.KINDS, "photograph"])
@pytest.mark.parametrize("quality", [5, 78])
def test_who_asks_for_png_gets_every_pixel(kind: str, quality: int) -> None:
    parts = _parts(kind, ("png",)) if kind != "photograph" else [images.texture((120, 80))]
    for part in parts:
        done = compress(part, _plan("png", quality=quality), b"")

        assert (done.format, done.quality, done.trials) == ("png", 100, 1)
        assert _is_exact(done, part)


@pytest.mark.parametrize("name", ["texture", "grey", "noise"])
@pytest.mark.parametrize("quality", [30, 78, 94, 95, 100])
@pytest.mark.parametrize("size", [(900, 600), (600, 400)])
def test_a_large_photograph_takes_two_encodings_and_is_never_lossless(
    name: str, size: tuple[int, int], quality: int
) -> None:
    image = drawn.photograph(name, size)

    done = compress(image, _plan(*USUAL, quality=quality), b"", is_untouched=True)

    assert done.trials <= 2
    assert done.format in {"avif", "webp", "jpeg"}
    assert done.format != "avif" or quality < 95
    assert not _is_exact(done, image)
    colours = images.decoded(done.body).getcolors(256)
    assert colours is None or name == "grey"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "logo"])
@pytest.mark.parametrize("formats", SETS[1:6], ids="+".join)
def test_graphics_keep_their_budgets_in_any_format(kind: str, formats: tuple[Format, ...]) -> None:
    for part in _parts(kind, formats):
        for budget, is_untouched in ((1000, True), (4000, False)):
            plan = _plan(*formats, budget_bytes=budget)

            done = compress(part, plan, b"", is_untouched=is_untouched)

            assert len(done.body) <= budget
            assert done.format in formats
            assert images.decoded(done.body).size == (done.size.width, done.size.height)
            assert (done.limited == "size") == (done.size != Size(*part.size))
            lossy = {known for known in formats if known in LOSSY}
            if part.mode == "RGBA":
                lossy -= {"jpeg"}
            if done.limited == "size" and lossy:
                assert done.quality < 100


@pytest.mark.parametrize("formats", [("png",), ("gif", "png")])
def test_a_graphic_is_only_made_smaller_where_nothing_lossy_may_be_sent(
    formats: tuple[Format, ...],
) -> None:
    image = drawn.of_kind("pixel-art")["pixel-art-256-1"]
    exact = len(compress(image, _plan(*formats), b"", is_untouched=True).body)

    alone = compress(image, _plan(*formats, budget_bytes=exact - 1), b"", is_untouched=True)

    assert (alone.format, alone.limited) == ("png", "size")
    assert len(alone.body) < exact


def test_a_graphic_over_its_budget_is_sent_lossy_before_it_is_made_smaller() -> None:
    image = drawn.of_kind("flat")["flat-40"]
    exact = len(compress(image, _plan("webp", "png"), b"", is_untouched=True).body)

    done = compress(image, _plan(*USUAL, budget_bytes=exact - 1), b"", is_untouched=True)

    assert (done.format in {"avif", "webp"}, done.size) == (True, Size(*image.size))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "chart"])
@pytest.mark.parametrize("formats", [USUAL])
def test_a_lower_quality_hardly_ever_weighs_more(kind: str, formats: tuple[Format, ...]) -> None:
    """Gradients do: in few colours they are heavier than as an AVIF, which is not tried then."""
    for part in _parts(kind, formats):
        weights = [
            len(compress(part, _plan(*formats, quality=quality), b"").body)
            for quality in (25, 60, 90)
        ]
        for lower, higher in itertools.pairwise(weights):
            assert lower <= 1.08 * higher


def test_a_large_graphic_is_sent_as_png_or_jpeg() -> None:
    image = drawn.of_kind("qr")["qr-57-8"]
    few = PixelsSettings(max_modern_pixels=image.width * image.height - 1)

    done = compress(image, replace(_plan(*USUAL), pixels=few), b"", is_untouched=True)

    assert done.format == "png"
    assert _is_exact(done, image)


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["L", "RGB", "RGBA"]),
    values=st.sampled_from([b"\0", b"\0\xff", b"\0\x10\x90\xff", bytes(range(256))]),
    formats=st.sets(st.sampled_from(FORMATS), min_size=1),
    quality=st.integers(1, 100),
    target=st.sampled_from([None, None, 60, 90]),
    budget=st.none() | st.integers(1000, 3000),
    is_untouched=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_picture_is_sent_in_any_format_within_any_budget(
    size: tuple[int, int],
    mode: str,
    values: bytes,
    formats: set[Format],
    quality: int,
    target: int | None,
    budget: int | None,
    is_untouched: bool,  # noqa: FBT001
    seed: int,
) -> None:
    octets = random.Random(seed).choices(values, k=size[0] * size[1] * len(mode))
    image = Image.frombytes(mode, size, bytes(octets))
    if not any(ENCODERS[known].keeps_alpha for known in formats if known in ENCODERS):
        formats = formats | {"jpeg"}  # GIF alone is never asked for
        image = image.convert("RGB") if mode == "RGBA" else image
    ordered = tuple(known for known in FORMATS if known in formats)
    plan = _plan(*ordered, quality=quality, target_score=target, budget_bytes=budget)

    done = compress(image, plan, b"", is_untouched=is_untouched)

    assert budget is None or len(done.body) <= budget
    assert done.format in formats
    back = images.decoded(done.body)
    assert back.size == (done.size.width, done.size.height)
    assert done.limited == "size" or back.size == size
    if mode == "RGBA" and ordered == ("png",) and not done.limited:
        assert _is_exact(done, image)


def test_a_large_graphic_is_searched_with_quick_settings() -> None:
    """With those for graphics, six trials of four megapixels took ten seconds."""
    page = images.four_colours((1600, 1200))
    ImageDraw.Draw(page).multiline_text(
        (0, 0), "\n".join(["graphic 0123456789 " * 14] * 80), "black"
    )

    ways = {
        budget: [
            way.encoder
            for way in ways_of(page, _plan("avif", "jpeg", budget_bytes=budget), is_untouched=False)
        ]
        for budget in (None, 60_000)
    }

    assert ways == {None: [AVIF_GRAPHICS], 60_000: [ENCODERS["avif"]]}
