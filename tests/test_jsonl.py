"""A log with a line that is none has all its other lines."""

from pathlib import Path

from mezzotint.jsonl import read_lines, truncate


def test_only_the_damaged_lines_of_a_log_are_lost(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert read_lines(log) == []
    log.write_bytes(b'{"step": 1}\n\xff\xfe\n[2]\n{"step": 3}\n{"step": 4}\n{"st')
    assert [line["step"] for line in read_lines(log)] == [1, 3, 4]
    assert [line["step"] for line in truncate(log, 3)] == [1, 3]
    assert log.read_text() == '{"step": 1}\n{"step": 3}\n'
