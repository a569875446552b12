"""The page: what is known of the runs as JSON, between a style and a script that are named by their hashes."""

import base64
import hashlib
import html
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from typing import Any

from mezzotint.report.curves import Line, curves, logged, number
from mezzotint.report.evaluations import metric_names, read_evaluations
from mezzotint.report.images import RunImages
from mezzotint.report.summary import Entry, Node, changes, flat, now, record

LIMIT = 5_000_000  # bytes of a page
WORDS = LIMIT // 2  # of these, at most, for all but pictures
SCRIPTS = ("dom", "table", "axes", "chart", "sheet", "curves", "samples", "evaluation", "page")
# points of a curve and evaluations of a run, the newest: all of this is tried before runs are left out
RICHNESS = ((400, 1000), (200, 500), (100, 200), (50, 100), (24, 50), (8, 20), (0, 5))


@dataclass(frozen=True)
class Report:
    """What a page is of.

    Args:
        title: its heading.
        entries: the runs, at least one.
        keys: the config keys in which they differ.
        version: of what writes it.
        left_out: what could not be read before, in words.
    """

    title: str
    entries: Sequence[Entry]
    keys: Sequence[str] = ()
    version: str = ""
    left_out: Sequence[str] = ()


def compose(report: Report, progress: Callable[[int], None] = lambda count: None) -> tuple[str, list[str]]:
    """The page, at most LIMIT bytes of it, and what was left out of it, in words.

    Args:
        progress: told of each run that was read.
    """
    content, left_out = words(report)
    room = LIMIT - len(render(report.title, content)) - 10_000
    rung = 0
    for i, (run, entry) in enumerate(zip(content["runs"], report.entries, strict=False)):
        config = entry.config
        photographs = RunImages(entry.directory, shape(config), number(config.get("batch_size")) or 1)
        album, rung = photographs.album(room // (len(content["runs"]) - i), rung)
        room -= album.size
        run |= {"previews": album.previews, "drawn": album.drawn, "left_out": album.left_out}
        progress(1)
    return render(report.title, content), left_out


def words(report: Report) -> tuple[Node, list[str]]:
    """All but the pictures, as much of it as there is room for; and what had no room."""
    found = [find(entry) for entry in report.entries]
    there = len(found)
    for kept, (points, newest) in product(halves(there), RICHNESS):
        content = gather(report, found[:kept], points, newest)
        if len(dump(content)) < WORDS:
            break
    more = any(len(one.evaluations) > newest for one in found[:kept])
    unread = sum(one.unread for one in found[:kept])
    said = [
        *report.left_out,
        *([] if kept == there else [f"{there - kept} of {there} runs"]),
        *([] if points == RICHNESS[0][0] else [f"of longer curves all but {points} points"]),
        *([f"of more evaluations of a run all but the newest {newest}"] if more else []),
        *([f"{unread} evaluations that cannot be read"] if unread else []),
    ]
    return content | {"left_out": said}, said


def halves(count: int) -> Iterator[int]:
    """count, half of it, and so on to 1."""
    while count:
        yield count
        count //= 2


@dataclass(frozen=True)
class Found:
    """What of a run is on disk: its log, its evaluations with their protocols, and how many could not be read."""

    entry: Entry
    lines: Sequence[Line]
    evaluations: Sequence[tuple[Node, dict[str, str]]]
    unread: int


def find(entry: Entry) -> Found:
    return Found(entry, logged(entry.directory), *read_evaluations(entry.directory, entry.group))


def gather(report: Report, found: Sequence[Found], points: int, newest: int) -> Node:
    """The content of the page but for pictures. Configs and protocols stand once, and then what changes in them."""
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
    """Many flat configs as the first and, of each, what is changed in it."""

    def __init__(self) -> None:
        self.base: dict[str, str] = {}

    def add(self, other: dict[str, str]) -> dict[str, str | None]:
        self.base = self.base or other
        return changes(self.base, other)


def shape(config: Node) -> list[int] | None:
    """(C, H, W) of a run's images, where its config says it."""
    data = config.get("data")
    given = data.get("shape") if isinstance(data, dict) else None
    return given if isinstance(given, list) and all(isinstance(side, int) and side > 0 for side in given) else None


# ----------------------------------------------------------------------------------------------------------------- text


def render(title: str, content: Node) -> str:
    """The page as text. Nothing in it runs or styles but what has these hashes, and nothing is loaded from anywhere."""
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
    """JSON in ASCII that cannot end the element it stands in: there is no < in it."""
    text = json.dumps(finite(content), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def finite(content: Any) -> Any:
    """The same with null for numbers that JSON has not."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    return [finite(value) for value in content] if isinstance(content, (list, tuple)) else content


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def asset(name: str) -> str:
    return (files("mezzotint.report") / "assets" / name).read_text(encoding="utf-8")
