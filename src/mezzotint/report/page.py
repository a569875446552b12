"""The HTML page: JSON content with one style and one script, which the content security policy allows by hash."""

import base64
import hashlib
import html
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from typing import Any

from mezzotint.figures.grid_layout import COLOURS, picture_shape
from mezzotint.finite import infinite
from mezzotint.plain_data import lookup, mapped, mismatch
from mezzotint.report.curves import Line, curves, logged, number
from mezzotint.report.evaluations import metric_names, read_evaluations
from mezzotint.report.images import RunImages
from mezzotint.report.summary import Entry, Node, changes, flat, now, record

LIMIT = 5_000_000  # bytes of a page
WORDS = LIMIT // 2  # of these for everything except images
SCRIPTS = ("dom", "table", "axes", "chart", "sheet", "curves", "samples", "evaluation", "page")
# points of a curve and number of the newest evaluations; runs are left out only after the last level
DETAIL_LEVELS = ((400, 1000), (100, 200), (8, 20))


@dataclass(frozen=True)
class Report:
    """The content of a page.

    Args:
        title: its heading.
        entries: the runs, at least one.
        keys: the config keys in which they differ.
        version: version of Mezzotint.
        left_out: descriptions of runs that could not be read.
    """

    title: str
    entries: Sequence[Entry]
    keys: Sequence[str] = ()
    version: str = ""
    left_out: Sequence[str] = ()


def compose(report: Report, progress: Callable[[int], None] = lambda count: None) -> tuple[str, list[str]]:
    """Return the page, at most LIMIT bytes, and descriptions of what was left out.

    Args:
        progress: called with 1 for each run that was read.
    """
    content, left_out = content_without_images(report)
    limit = LIMIT - len(render(report.title, content)) - 10_000
    level = 0
    for i, (run, entry) in enumerate(zip(content["runs"], report.entries, strict=False)):
        config = entry.config
        available = RunImages(entry.directory, shape(config), number(config.get("batch_size")) or 1)
        images, level = available.fit(limit // (len(content["runs"]) - i), level)
        limit -= images.size
        run |= {"previews": images.previews, "drawn": images.drawn, "left_out": images.left_out}
        progress(1)
    return render(report.title, content), left_out


def content_without_images(report: Report) -> tuple[Node, list[str]]:
    """Return everything except the images, as much as fits, and descriptions of what was left out."""
    found = [read_files(entry) for entry in report.entries]
    there = len(found)
    for kept, (points, newest) in product(halving(there), DETAIL_LEVELS):
        content = gather(report, found[:kept], points, newest)
        if len(dump(content)) < WORDS:
            break
    more = any(len(one.evaluations) > newest for one in found[:kept])
    unread = sum(one.unread for one in found[:kept])
    said = [
        *report.left_out,
        *([] if kept == there else [f"{there - kept} of {there} runs"]),
        *([] if points == DETAIL_LEVELS[0][0] else [f"of longer curves all but {points} points"]),
        *([f"of more evaluations of a run all but the newest {newest}"] if more else []),
        *([f"{unread} evaluations that cannot be read"] if unread else []),
    ]
    return content | {"left_out": said}, said


def halving(count: int) -> Iterator[int]:
    """Yield count, half of it, and so on down to 1."""
    while count:
        yield count
        count //= 2


@dataclass(frozen=True)
class RunFiles:
    """The log of a run and its evaluations with protocols; `unread` counts evaluations that cannot be read."""

    entry: Entry
    lines: Sequence[Line]
    evaluations: Sequence[tuple[Node, dict[str, str]]]
    unread: int


def read_files(entry: Entry) -> RunFiles:
    return RunFiles(entry, logged(entry.directory), *read_evaluations(entry.directory, entry.group))


def gather(report: Report, found: Sequence[RunFiles], points: int, newest: int) -> Node:
    """Return the content of the page without images. Configs and protocols are stored once, then as differences."""
    runs: list[Node] = []
    configs, protocols = SharedBase(), SharedBase()
    for one in found:
        evaluations = [row | {"protocol": protocols.add(protocol)} for row, protocol in one.evaluations[-newest:]]
        runs.append(
            record(one.entry, one.lines)
            | {
                "config": configs.add(flat(one.entry.config)),
                "curves": curves(one.lines, points),
                "evaluations": evaluations,
                "previews": [],
                "drawn": [],
                "left_out": [],
            }
        )
    return {
        "title": report.title,
        "version": report.version,
        "written": now(),
        "keys": list(report.keys),
        "metrics": metric_names([row for run in runs for row in run["evaluations"]]),
        "config": configs.base,
        "protocol": protocols.base,
        "left_out": [],
        "runs": runs,
    }


class SharedBase:
    """Several flat configs, stored as the first one and the differences from it."""

    def __init__(self) -> None:
        self.base: dict[str, str] = {}

    def add(self, other: dict[str, str]) -> dict[str, str | None]:
        self.base = self.base or other
        return changes(self.base, other)


def shape(config: Node) -> list[int] | None:
    """Return (C, H, W) of the pictures of a run's samples, or None if its config has no valid shape."""
    given = lookup(config, "data", "shape")
    if mismatch(given, [int]) is not None or not all(side > 0 for side in given):
        return None
    numbers = str(lookup(config, "codec", "_target_")).endswith("StandardizeCodec")
    image = len(given) == 3 and given[0] <= COLOURS and not numbers  # as `Codec.is_image`, without building the codec
    return given if image or len(given) not in (2, 3, 4) else list(picture_shape(given))


# ----------------------------------------------------------------------------------------------------------------- text


def render(title: str, content: Node) -> str:
    """Return the page as text; its policy allows only this script and this style, by hash, and no external content."""
    style, script = asset("page.css"), "".join(asset(f"{name}.js") for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(title).encode("ascii", "xmlcharrefreplace").decode(),
        "style": style,
        "content": dump(content),
        "script": script,
    }
    page, rest = "", asset("page.html")
    for name, text in parts.items():
        before, mark, rest = rest.partition(f"{{{{{name}}}}}")
        assert mark, name
        page += before + text
    return page + rest


def dump(content: Node) -> str:
    """Return ASCII JSON without `<`, `>` and `&`, so that it cannot end its HTML element."""
    text = json.dumps(finite(content), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def finite(content: Any) -> Any:
    """Replace numbers that JSON cannot represent by null."""
    return mapped(content, lambda value: None if infinite(value) else value)


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def asset(name: str) -> str:
    return (files("mezzotint.report") / "assets" / name).read_text(encoding="utf-8")
