"""A log with a line that is none has all its other lines."""

from pathlib import Path

from mezzotint.runs.formats import lines, truncate


def test_only_the_damaged_lines_of_a_log_are_lost(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert lines(tmp_path, log.name) == []
    whole = [f'{{"step": {step}, "images": {8 * step}}}\n' for step in (1, 3, 4)]
    log.write_bytes(whole[0].encode() + b"\xff\xfe\n[2]\n" + "".join(whole[1:]).encode() + b'{"st')
    assert [line["step"] for line in lines(tmp_path, log.name)] == [1, 3, 4]
    assert [line["step"] for line in truncate(tmp_path, log.name, 3)] == [1, 3]
    assert log.read_text() == whole[0] + whole[1]
