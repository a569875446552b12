"""The report in a real browser: its controls work by mouse and keyboard, quietly, and nothing of a run is markup."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mezzotint.report.page import shape

from ..browser import CHROMIUM, Page, browser
from ..conftest import Command
from ..synthetic_runs import make, make_sweep

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium is installed")

EVIL = "</script><script>window.bad = 1</script><img src=x onerror='window.bad = 2'>"
Shown = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def shown(mezzotint: Command, chromium: Page) -> Shown:
    """Opens the page of a folder in the browser."""

    def show(place: Path, width: int = 1200) -> Page:
        out = mezzotint("report", str(place)).out
        chromium.complaints.clear()
        chromium.requests.clear()
        chromium.size(width)
        chromium.open(Path(out.splitlines()[-1]))
        return chromium

    return show


def assert_quiet(page: Page) -> None:
    """It complained of nothing and asked nobody for anything."""
    assert page.complaints == []
    assert page.requests
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert (
        page.run("performance.getEntriesByType('resource').filter((one) => !one.name.startsWith('data:')).length") == 0
    )


def text(page: Page, selector: str) -> list[str]:
    return page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)")


def press(page: Page, selector: str, label: str) -> None:
    """Click the one that says this."""
    found = f"[...document.querySelectorAll({json.dumps(selector)})]"
    page.run(f"void {found}.find((e) => e.textContent === {json.dumps(label)}).click()")


def act(page: Page, selector: str, what: str = "click()") -> None:
    page.run(f"void document.querySelector({json.dumps(selector)}).{what}")


def test_a_run_in_the_browser(shown: Shown, home: Path) -> None:
    page = shown(make(home / "a"))
    assert text(page, "h1")[0].startswith("a")
    assert text(page, "h2") == ["What was run", "Curves", "Samples over time", "From noise to image", "Evaluation"]
    assert "UNet(width=32)" in text(page, ".plan dd")
    charts = text(page, "#curves figcaption")
    assert [words for words in charts if words.endswith("fd_made_500")] == ["Sample metrics during trainingfd_made_500"]
    assert len(charts) == 7
    assert page.run("[...document.querySelectorAll('.charts polyline')].every((e) => e.getAttribute('points'))")

    # read a curve by keyboard, zoom in, and back
    act(page, ".chart", "focus()")
    page.key("Home")
    assert text(page, ".charts .tip")[0].startswith("64 images")
    page.key("ArrowRight")
    assert text(page, ".charts .tip")[0].startswith("128 images")
    before = page.run("document.querySelector('.chart polyline').getAttribute('points')")
    page.key("+", "+")
    assert page.run("document.querySelector('.chart polyline').getAttribute('points')") != before
    page.key("Escape")
    assert page.run("document.querySelector('.chart polyline').getAttribute('points')") == before

    # zoom by dragging
    x, y, width, _ = page.middle(".chart")
    page.mouse("mousePressed", x - width / 4, y)
    page.mouse("mouseMoved", x + width / 4, y)
    page.mouse("mouseReleased", x + width / 4, y)
    assert page.run("document.querySelector('.chart polyline').getAttribute('points')") != before
    assert_quiet(page)


def test_samples_and_film_in_the_browser(shown: Shown, home: Path) -> None:
    page = shown(make(home / "a"))
    page.middle("#samples .panels")
    page.until("document.querySelector('#samples canvas')?.dataset.drawn !== undefined")
    assert text(page, "#samples output") == ["768 images"]

    def pixels(selector: str) -> str:
        return page.run(f"document.querySelector({json.dumps(selector)}).toDataURL().length")

    clean = pixels("#samples canvas")
    act(page, "#samples input", "focus()")
    page.key("Home")
    assert text(page, "#samples output") == ["192 images"]
    assert "step 3" in text(page, "#samples figcaption")[0]
    page.until(f"document.querySelector('#samples canvas').toDataURL().length > 1.2 * {clean}")  # noise packs badly

    page.middle("#film .film")
    page.until("document.querySelector('#film .stage canvas')?.dataset.drawn !== undefined")
    assert text(page, "#film output") == ["frame 10 of 10, 0 % noise"]
    assert page.run("document.querySelector('#film .stage canvas').dataset.drawn") == "9 29 49 69 19 39 59 79"
    act(page, "#film input", "focus()")
    page.key("ArrowLeft")
    assert text(page, "#film output") == ["frame 9 of 10, 11 % noise"]
    x, y, width, _ = page.middle("#film .track")
    page.mouse("mousePressed", x - 0.45 * width, y)
    assert text(page, "#film output") == ["frame 1 of 10, 100 % noise"]
    page.mouse("mouseMoved", x + 0.05 * width, y)
    page.mouse("mouseReleased", x + 0.05 * width, y)
    assert text(page, "#film output") == ["frame 6 of 10, 44 % noise"]
    page.until("document.querySelector('#film .stage canvas').dataset.drawn === '5 25 45 65 15 35 55 75'")
    act(page, "#film .play")
    page.until("document.querySelector('#film output').textContent === 'frame 10 of 10, 0 % noise'")
    assert_quiet(page)


def test_evaluations_in_the_browser(shown: Shown, home: Path) -> None:
    page = shown(make(home / "a"))
    assert len(text(page, "#evaluation .place")) == 3
    assert page.run("document.querySelectorAll('#evaluation .shape.best').length") == 2  # DDPM is beaten by DDIM
    assert page.run("document.querySelectorAll('#evaluation path.error').length") == 3
    act(page, "#evaluation .place", "focus()")
    assert "0.400 ± 0.010 at 10 calls" in text(page, "#evaluation .tip")[0]
    page.run(
        "{ const s = document.querySelector('#evaluation select'); s.value = 1; s.dispatchEvent(new Event('change')) }"
    )
    assert "precision_made_1000, higher is better" in text(page, "#evaluation text.title")
    act(page, "#evaluation .fold")
    assert "samples 0 to n - 1" in text(page, "#evaluation tr.more")[0]
    assert page.run("document.querySelector('#evaluation .fold').getAttribute('aria-expanded')") == "true"
    assert_quiet(page)


def test_a_sweep_in_the_browser(shown: Shown, home: Path) -> None:
    page = shown(make_sweep(home / "s"))
    rows = "#runs .scroll[aria-label='runs'] tbody .link"
    head = [word for word in text(page, "#runs .scroll[aria-label='runs'] th") if word]
    assert head == ["shown", "run", "state", "result", "validation", "schedule", "seed", "images", "time"]
    assert text(page, rows) == ["cosine1", "cosine0", "linear0", "linear1"]  # by result, numbers as numbers
    act(page, "#runs th:nth-child(4) button", "focus()")
    page.key("Enter", "\r")
    assert text(page, rows) == ["linear1", "linear0", "cosine0", "cosine1"]
    assert page.run("document.querySelector('#runs th:nth-child(4)').getAttribute('aria-sort')") == "descending"
    act(page, "#runs th:nth-child(2) button")
    assert text(page, rows) == ["cosine0", "cosine1", "linear0", "linear1"]

    together = text(page, "#runs .scroll[aria-label='seeds together'] tbody td")
    assert together == ["CosineSchedule", "2 of 2", "0.25", "0.071", "LinearSchedule", "2 of 2", "5.45", "6.4"]

    count = "document.querySelector('.chart').querySelectorAll('polyline').length"
    assert page.run(count) == 4
    act(page, "#curves button.tag")
    assert page.run(count) == 3
    assert page.run("document.querySelector('#runs input').checked") is False
    act(page, "#curves button.tag")
    page.run(
        "[...document.querySelectorAll('#curves .toggle')].find((e) => e.textContent === 'seeds together').click()"
    )
    assert page.run(count) == 2
    assert page.run("document.querySelector('.chart').querySelectorAll('.band').length") == 2

    page.middle("#samples .panels")
    page.until("document.querySelectorAll('#samples canvas[data-drawn]').length === 4")
    assert len(text(page, "#evaluation .place")) == 6  # seeds of one config are one point
    press(page, "#runs .link", "linear0")
    assert "LinearSchedule(steps=1000), Velocity" in text(page, "#what dd")
    assert_quiet(page)


def test_nothing_of_a_run_is_markup(shown: Shown, home: Path) -> None:
    folder = home / "s"
    bad = make(folder / "<script>window.bad = 3<|script>", state="failed", error=EVIL)
    make(folder / "b", 1, "LinearSchedule")
    (bad / "train.log").write_text(EVIL)
    (bad / "config.yaml").write_text(
        (bad / "config.yaml").read_text().replace("name: made", f"name: {json.dumps(EVIL)}")
    )
    file = bad / "evaluation" / "DDIM-10.json"
    file.write_text(file.read_text().replace("few images", EVIL).replace("fd_made_1000", "fd_<b>made</b>"))
    page = shown(folder)
    assert page.run("window.bad") is None
    assert "<script>window.bad = 3<|script>" in text(page, "#runs .link")
    page.run(
        "document.querySelectorAll('#runs .link').forEach((e) => { if (e.textContent.includes('bad')) e.click() })"
    )
    assert text(page, "#what .error pre") == [EVIL]
    assert any("fd_<b>made</b>" in word for word in text(page, "#evaluation th"))
    act(page, "#evaluation .fold")
    assert page.run("document.querySelectorAll('main script, main img, main b b').length") == 0
    assert page.run("window.bad") is None
    assert_quiet(page)
    page.run(
        "{ const s = document.createElement('script'); s.textContent = 'window.bad = 4'; document.head.append(s) }"
    )
    assert page.run("window.bad") is None  # the page's own policy refuses it
    assert any("Content Security Policy" in word for word in page.complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_in_its_width(scheme: str, shown: Shown, home: Path, chromium: Page) -> None:
    chromium.scheme(scheme)
    page = shown(make_sweep(home / "s"), width=360)
    page.middle("#film .film")
    page.until("document.querySelector('#film .stage canvas')?.dataset.drawn !== undefined")
    assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(250, 249, 246)") == (scheme == "light")
    act(page, "header .toggle")
    assert (page.run("getComputedStyle(document.body).backgroundColor") == "rgb(250, 249, 246)") == (scheme == "dark")
    assert_quiet(page)


def test_charts_draw_what_is_in_sight(shown: Shown, home: Path) -> None:
    """Bands and points end where the range does, and nothing to draw is no endless axis."""
    page = shown(make_sweep(home / "s"))
    press(page, "#curves .toggle", "seeds together")
    act(page, ".chart", "focus()")
    page.key("ArrowRight")
    page.key("+", "+")
    points = page.run("[...document.querySelectorAll('.charts .band')].map((e) => e.getAttribute('points')).join(' ')")
    xs = [float(point.split(",")[0]) for point in points.split()]
    width = page.run("document.querySelector('.chart').clientWidth")
    assert xs
    assert min(xs) > 51
    assert max(xs) < width - 13

    press(page, "#curves .toggle", "seeds together")
    for _ in range(8):  # to between two looks
        page.key("+", "+")
    ticks = page.run(
        "[...document.querySelectorAll('.charts svg.chart')].map((e) => e.querySelectorAll('.grid').length)"
    )
    assert min(ticks) >= 2
    assert page.run("document.querySelectorAll('.charts circle.dot').length") <= 16  # of the noise levels alone
    page.key("Escape")
    for i in range(4):
        page.run(f"void document.querySelectorAll('#curves button.tag')[{i}].click()")
    assert page.run("document.querySelectorAll('.charts polyline').length") == 0
    assert "nothing yet" in text(page, ".charts text.title")
    assert_quiet(page)


def test_numbers_of_any_size_can_be_read(shown: Shown, home: Path) -> None:
    directory = make(home / "a", state="failed")
    lines = [{"step": i, "images": 10**8 * i, "loss": 10.0 ** (3 * i), "grad_norm": 0.0} for i in range(1, 13)]
    (directory / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    page = shown(directory)
    assert len(text(page, ".chart text.tick")) < 100
    assert page.run("document.querySelector('.chart').querySelectorAll('.grid').length") in range(4, 10)
    assert page.run("[1234567890, 1.2e6, 999700, 12345, -20, 0].map(short)") == [
        "1.23e9",
        "1.2M",
        "1M",
        "12.3k",
        "−20",
        "0",
    ]
    assert page.run("[9999.7, 1234567, 0.00012, 0.5, 1e-9].map((v) => digits(v))") == [
        *("10000", "1234567", "0.00012", "0.5", "1e-9")
    ]
    act(page, ".chart", "focus()")
    page.key("End")
    assert_quiet(page)


@pytest.mark.parametrize(
    ("codec", "given", "pictured"),
    [
        (None, [3, 8, 8], [3, 8, 8]),
        ("PixelCodec", [1, 8, 8], [1, 8, 8]),
        ("AutoencoderCodec", [3, 8, 8], [3, 8, 8]),
        (None, [13, 8, 8], [1, 8, 32]),
        ("StandardizeCodec", [3, 8, 8], [1, 8, 24]),
        (None, [1, 8, 16, 16], [1, 16, 8 * 17 - 1]),
        ("StandardizeCodec", [4, 64], [3, 64, 64]),
    ],
)
def test_pictures_are_cut_by_what_the_samples_are(codec: str | None, given: list[int], pictured: list[int]) -> None:
    node = None if codec is None else {"_target_": f"mezzotint.data.{codec}"}
    assert shape({"data": {"shape": given}, "codec": node}) == pictured
