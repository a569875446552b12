"""The page: what is known of the runs as JSON, between a style and a script that are named by their hashes."""

import base64
import hashlib
import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from mezzotint.report.album import Photographs
from mezzotint.report.evaluations import metric_names, read_evaluations
from mezzotint.report.history import Line, curves, number, read_lines
from mezzotint.report.record import Entry, Node, changes, flat, now, record

LIMIT = 5_000_000  # bytes of a page
WORDS = LIMIT // 2  # of these, at most, for all but pictures
SCRIPTS = ("dom", "table", "axes", "chart", "sheet", "curves", "samples", "evaluation", "page")
POINTS = (400, 200, 100, 50, 24, 8, 0)  # of a curve


@dataclass(frozen=True)
class Report:
    """What a page is of.

    Args:
        title: its heading.
        entries: the runs.
        keys: the config keys in which they differ.
        version: of what writes it.
        left_out: what could not be read before, in words.
    """

    title: str
    entries: Sequence[Entry]
    keys: Sequence[str] = ()
    version: str = ""
    left_out: Sequence[str] = ()


def write(report: Report, progress: Callable[[int], None] = lambda count: None) -> tuple[str, list[str]]:
    """The page, at most LIMIT bytes of it, and what was left out of it, in words.

    Args:
        progress: told of each run that was read.
    """
    content, left_out = words(report)
    room = LIMIT - len(render(report.title, content)) - 10_000
    rung = 0
    for i, (run, entry) in enumerate(zip(content["runs"], report.entries, strict=False)):
        config = entry.config
        photographs = Photographs(entry.directory, shape(config), number(config.get("batch_size")) or 1)
        album, rung = photographs.album(room // (len(content["runs"]) - i), rung)
        room -= album.size
        run |= {"previews": album.previews, "drawn": album.drawn, "left_out": album.left_out}
        progress(1)
    return render(report.title, content), left_out


def words(report: Report) -> tuple[Node, list[str]]:
    """All but the pictures, with as many points of a curve as there is room for; and what had no room."""
    read = [read_lines(entry.directory) for entry in report.entries]
    there = len(report.entries)
    kept = there
    while True:
        for points in POINTS:
            content, unread = gather(report, read[:kept], points)
            if len(dump(content)) < WORDS:
                whole = points == POINTS[0]
                said = [
                    *report.left_out,
                    *([] if kept == there else [f"{there - kept} of {there} runs"]),
                    *([] if whole else [f"of longer curves all but {points} points"]),
                    *([f"{unread} evaluations that cannot be read"] if unread else []),
                ]
                return content | {"left_out": said}, said
        kept //= 2


def gather(report: Report, read: Sequence[Sequence[Line]], points: int) -> tuple[Node, int]:
    """The content of the page but for pictures, and how many files could not be read.

    Configs and protocols stand once, and then what changes from one to the next.
    """
    runs: list[Node] = []
    found: list[Node] = []
    configs, unread = Deltas(), 0
    protocols = Deltas()
    for entry, lines in zip(report.entries, read, strict=False):
        evaluations, texts, broken = read_evaluations(entry.directory, entry.group)
        unread += broken
        found += evaluations
        for one, text in zip(evaluations, texts, strict=True):
            one["protocol"] = protocols.add(text)
        runs.append(
            record(entry, lines)
            | {
                "config": configs.add(flat(entry.config)),
                "curves": curves(lines, points),
                "evaluations": evaluations,
                "previews": [],
                "drawn": [],
                "left_out": [],
            }
        )
    content = {
        "title": report.title,
        "version": report.version,
        "written": now(),
        "keys": list(report.keys),
        "metrics": metric_names(found),
        "config": configs.base,
        "protocol": protocols.base,
        "left_out": [],
        "runs": runs,
    }
    return content, unread


class Deltas:
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
        "title": html.escape(title),
        "style": style,
        "script": script,
        "content": dump(content),
    }
    page = asset("page.html")
    for name, text in parts.items():
        before, mark, after = page.partition(f"{{{{{name}}}}}")
        assert mark, name
        page = before + text + after
    return page


def dump(content: Node) -> str:
    """JSON in ASCII that cannot end the element it stands in: there is no < in it."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def asset(name: str) -> str:
    return (files("mezzotint.report") / "assets" / name).read_text(encoding="utf-8")
