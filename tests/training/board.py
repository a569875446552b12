"""A W&B server in miniature, for tests: it keeps what runs send, and tells one that comes back what it has."""

import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlparse

KEY = "x" * 40
ME = {"id": "1", "name": "me"}


@dataclass
class Kept:
    """One run as the server has it."""

    name: str = ""
    group: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)  # of its history, each a JSON object
    summary: dict[str, Any] = field(default_factory=dict)
    code: int | None = None
    files: set[str] = field(default_factory=set)

    def points(self, key: str) -> dict[int, Any]:
        """A number by the step at which it was logged; refuses a step that came twice."""
        rows = [json.loads(row) for row in self.rows]
        steps = [row["_step"] for row in rows]
        assert steps == sorted(set(steps)), steps
        return {row["_step"]: row[key] for row in rows if key in row}


@dataclass
class Board:
    url: str = ""
    key: str = KEY
    runs: dict[str, Kept] = field(default_factory=dict)
    refusing: bool = False  # to take runs in

    def query(self, text: str, told: dict[str, Any]) -> dict[str, Any] | None:
        """Answers to the few questions that matter; to every other, None."""
        operation = (re.findall(r"(?:query|mutation)\s+(\w+)", text) or [""])[0]
        if operation == "Viewer":
            return {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if self.refusing:
            return None
        if operation == "RunResumeStatus":
            kept = self.runs.get(told["name"])
            return {
                "model": {"id": "1", "name": "p", "entity": {"id": "1", "name": "me"}, "bucket": bucket(told, kept)}
            }
        if operation == "UpsertBucket":
            kept = self.runs.setdefault(told["name"], Kept())
            kept.name, kept.group = told.get("displayName") or kept.name, told.get("groupName") or kept.group
            kept.config |= {key: entry["value"] for key, entry in json.loads(told.get("config") or "{}").items()}
            return {"upsertBucket": {"bucket": bucket(told, kept), "inserted": not kept.rows}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/put/{told['run']}/{name}"} for name in told["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        return None

    def stream(self, run: str, sent: dict[str, Any]) -> None:
        """Lines lie where they are sent to: who begins at 0 again overwrites."""
        kept = self.runs[run]
        for name, part in sent.get("files", {}).items():
            if name == "wandb-history.jsonl":
                kept.rows[part["offset"] : part["offset"] + len(part["content"])] = part["content"]
            if name == "wandb-summary.json":
                kept.summary = json.loads(part["content"][-1])
        kept.code = sent.get("exitcode", kept.code) if sent.get("complete") else kept.code


def bucket(told: dict[str, Any], kept: Kept | None) -> dict[str, Any] | None:
    if kept is None:
        return None
    config = {key: {"value": value} for key, value in kept.config.items()}
    return {
        "id": told["name"],
        "name": told["name"],
        "displayName": kept.name,
        "config": json.dumps(config),
        "summaryMetrics": json.dumps(kept.summary),
        "historyLineCount": len(kept.rows),
        "historyTail": json.dumps(kept.rows[-1:]),
        "eventsLineCount": 0,
        "eventsTail": "[]",
        "logLineCount": 0,
        "tags": [],
        "wandbConfig": json.dumps({"t": 1}),
        "project": {"id": "1", "name": "mezzotint", "entity": ME},
    }


def inspect(piece: Path) -> dict[str, Any]:
    """Config, summary and exit code of an offline run, by W&B's own reader."""
    (file,) = piece.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(file)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


@contextmanager
def serving() -> Iterator[Board]:
    """A server on this machine, for as long as it is looked at."""
    board = Board()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path = urlparse(self.path).path  # of a proxy it is all of the address
            shown = b64encode(f"api:{board.key}".encode()).decode()
            if path == "/graphql" and self.headers["Authorization"] != f"Basic {shown}":
                return self.answer({}, 401)
            if path == "/graphql":
                asked = json.loads(body)
                found = board.query(asked["query"], asked.get("variables") or {})
                return self.answer({"data": found} if found else {"errors": [{"message": "not here"}]})
            if path.endswith("/file_stream"):
                board.stream(path.split("/")[-2], json.loads(body))
            return self.answer({})

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            _, _, run, name = self.path.split("/", 3)
            board.runs[run].files.add(name)
            self.answer({})

        def answer(self, content: dict[str, Any], code: int = 200) -> None:
            text = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    board.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield board
    finally:
        server.shutdown()
        server.server_close()
