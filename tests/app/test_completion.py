"""Completion, asked as a shell's script asks, and once through bash itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mezzotint.app import help

from .conftest import Command


@pytest.fixture
def two_runs(home: Path) -> None:
    for name in ("alpha", "sweep/beta"):
        (home / "runs" / name).mkdir(parents=True)
        (home / "runs" / name / "config.yaml").touch()


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mezzotint sample run=", {"run=runs/alpha", "run=runs/sweep", "run=runs/sweep/beta"}),
        ("mezzotint sample run=runs/a", {"run=runs/alpha"}),
        ("mezzotint sweep runs/s", {"runs/sweep", "runs/sweep/beta"}),
        ("mezzotint plot kind=f", {"kind=film"}),
        ("mezzotint plot schedule=cosine,rect", {"schedule=cosine,rectified", "schedule=cosine,rectified_shifted"}),
        ("mezzotint plot run=runs/alpha sampler.et", {"sampler.eta="}),
        ("mezzotint plot sampler.et", set()),
        ("mezzotint runs --", {"--json"}),
        ("mezzotint runs fin", {"finished"}),
        ("mezzotint train sampler.", {"sampler.eta="}),
    ],
)
def test_runs_kinds_and_several_choices_are_completed(
    line: str, expected: set[str], mezzotint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert set(mezzotint("-sc", "query=bash").out.split()) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.usefixtures("two_runs")
def test_bash_completes_with_what_help_tells_to_install(home: Path) -> None:
    """The line of --help, then what bash does at a press of the tabulator."""
    assert all(f"  {shell:6}{line}\n" in f"{help.overview()}\n" for shell, line in help.SHELLS.items())
    script = f"""{help.SHELLS["bash"]}
function="$(complete -p mezzotint | grep -o -- '-F [a-z_]*' | cut -c4-)"
for line in 'mezzotint pl' 'mezzotint train schedule=lin' 'mezzotint sample run=runs/a'; do
    COMP_LINE=$line COMP_POINT=${{#line}} COMP_WORDS=($line) COMPREPLY=()
    COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    $function
    echo "${{COMPREPLY[*]}}"
done"""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout.splitlines() == [
        "plot",
        "schedule=linear schedule=linear_shifted schedule=linear_zero_snr",
        "run=runs/alpha",
    ], done.stderr
