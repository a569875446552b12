"""A log with a line that is none has all its other lines."""

from pathlib import Path

from mezzotint.runs import RunDir


def test_only_the_damaged_lines_of_a_log_are_lost(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    log = run.metrics_file
    assert run.metrics() == []
    whole = [f'{{"step": {step}, "images": {8 * step}}}\n' for step in (1, 3, 4)]
    log.write_bytes(whole[0].encode() + b"\xff\xfe\n[2]\n" + "".join(whole[1:]).encode() + b'{"st')
    assert [line["step"] for line in run.metrics()] == [1, 3, 4]
    assert [line["step"] for line in run.truncate(log, 3)] == [1, 3]
    assert log.read_text() == whole[0] + whole[1]
