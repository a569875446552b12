"""Loading the denoiser of a run runs nothing that its config alone names."""

import subprocess
import sys
from pathlib import Path

import pytest

from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir
from mezzotint.runs.load import load


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "mezzotint.build.import_module",
        "mezzotint.networks.os.system",
        "mezzotint.networks.nn.Linear",
        "mezzotint.app.cli.main",
        "mezzotint.diffusion.annotations",
    ],
)
def test_load_runs_nothing_that_a_strangers_config_names(tmp_path: Path, target: str) -> None:
    (tmp_path / "config.yaml").write_text(f"network: {{_target_: {target}, command: touch {tmp_path}/owned}}\n")
    with pytest.raises(ConfigError):
        load(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_load_refuses_foreign_classes_until_their_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("network: {_target_: collections.OrderedDict}\n")
    with pytest.raises(ConfigError, match=r"allow=\['collections'\]"):
        load(tmp_path)


def test_a_directory_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not a run: no config\.yaml in it"):
        load(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        RunDir(tmp_path).config()


def test_importing_the_room_costs_neither_torch_nor_yaml() -> None:
    heavy = "{'torch', 'yaml', 'hydra', 'omegaconf'}"
    code = f"import sys, mezzotint.runs.load; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
