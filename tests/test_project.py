"""The house: layers, what an import costs, what the README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_lower_room_never_imports_a_higher_one(tmp_path):
    command = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--config",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        ("mezzotint", "torch lightning hydra omegaconf wandb torchmetrics torchvision torch_fidelity numpy"),
        (
            "mezzotint.diffusion, mezzotint.networks, mezzotint.generation",
            "lightning hydra omegaconf wandb torchmetrics torchvision torch_fidelity scipy matplotlib",
        ),
        ("mezzotint.app.cli", "torch lightning hydra omegaconf wandb torchmetrics torchvision torch_fidelity"),
    ],
)
def test_an_import_loads_only_what_it_needs(modules, forbidden):
    loaded = python(f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})").split()
    assert not set(loaded) & set(forbidden.split())


def test_every_public_name_of_the_mathematics_is_at_the_root():
    import mezzotint
    import mezzotint.diffusion

    for name in mezzotint.diffusion.__all__:
        assert getattr(mezzotint, name) is getattr(mezzotint.diffusion, name)


def test_only_one_lightning():
    """`lightning` and `pytorch_lightning` in one program give two Trainers that refuse each other's modules."""
    sources = [path for path in (ROOT / "src").rglob("*.py") if re.search(r"\bpytorch_lightning\b", path.read_text())]
    assert sources == []


def test_the_repository_holds_no_path_of_a_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    pattern = re.compile(rb"(^|[^A-Za-z0-9_.])/(work|home|root)/")
    found = [
        name for name in listed.stdout.split() if (ROOT / name).is_file() and pattern.search((ROOT / name).read_bytes())
    ]
    assert [name for name in found if not name.endswith((".png", ".gif", ".webp", ".safetensors"))] in (
        [],
        ["tests/test_project.py"],
    )
