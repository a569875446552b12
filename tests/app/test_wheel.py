"""What is installed from the wheel works in any folder: it brings its configs and its data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import TINY

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")
def test_an_installed_wheel_trains_from_another_folder(tmp_path: Path) -> None:
    wheels, site, elsewhere = tmp_path / "wheels", tmp_path / "site", tmp_path / "elsewhere"
    build = [*PIP, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run(build, check=True, timeout=120)
    (wheel,) = wheels.glob("mezzotint-*.whl")
    assert wheel.stat().st_size < 4_000_000  # emoji, sentence vectors of their names, the digits' features
    subprocess.run(
        [*PIP, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True, timeout=120
    )

    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "MEZZOTINT_CACHE": str(tmp_path / "cache")}

    def run(*command: str) -> str:
        options = {"cwd": elsewhere, "env": environment, "text": True, "timeout": 200}
        return subprocess.check_output([sys.executable, *command], **options)

    where = "import mezzotint, mezzotint.app.help as h; print(mezzotint.__file__, h.config_dir())"
    assert run("-c", where).split() == [f"{site}/mezzotint/__init__.py", f"{site}/mezzotint/configs"]
    said = run("-m", "mezzotint", "train", *TINY, "name=a").splitlines()
    assert said[0] == said[-1] == "run: runs/a"
    assert [path.name for path in elsewhere.iterdir()] == ["runs"]
