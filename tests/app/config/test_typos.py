"""What classes take, by their source: as they say themselves, and without torch."""

import inspect
import subprocess
import sys

import pytest
import yaml

from mezzotint.app.config.typos import misspelt, parameters
from mezzotint.app.help import config_dir
from mezzotint.build import targets
from mezzotint.names import locate

NAMED = sorted(
    {path for file in config_dir().glob("*/*.yaml") for _, path in targets(yaml.safe_load(file.read_text()))}
)
OURS = [path for path in NAMED if path.startswith("mezzotint.")]


@pytest.mark.parametrize("path", OURS)
def test_the_source_says_what_the_class_says(path: str) -> None:
    signature = inspect.signature(locate(path)).parameters.values()
    named = [p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    assert parameters(path) == named


@pytest.mark.parametrize(
    "path", ["torch.nn.Linear", "mezzotint.networks.Nothing", "mezzotint", "mezzotint.nn.UNet", ""]
)
def test_what_the_source_does_not_say_is_left_open(path: str) -> None:
    assert parameters(path) is None


NODE = {"_target_": "mezzotint.diffusion.CFG", "scale": 1.0, "weak": {"_target_": "mezzotint.load", "directory": "x"}}


@pytest.mark.parametrize(
    ("key", "problems"),
    [
        ("guidance.scale", []),
        ("guidance._target_", []),
        ("guidance.scle", ["guidance.scle: CFG has no such argument; did you mean 'scale'?"]),
        ("guidance.weak.stepp", ["guidance.weak.stepp: load has no such argument; did you mean 'step'?"]),
        ("guidance.inner", ["guidance.inner: CFG has no such argument (it takes scale, weak, low, high)"]),
        (
            "guidance.interval",
            ["guidance.interval: CFG has no such argument (it takes scale, weak, low, high)"],
        ),
        ("hydra.sweep.dir", []),
        ("data.shape.first", []),
    ],
)
def test_a_key_is_followed_to_the_class_that_does_not_take_it(key: str, problems: list[str]) -> None:
    assert misspelt({"guidance": NODE, "data": {"shape": [1, 2]}}, key) == problems


def test_a_misspelt_key_is_refused_before_torch_is_imported() -> None:
    code = (
        "import sys; from mezzotint.app import cli; code = cli.main(['train', 'network.widht=8'])\n"
        "print(code, sorted({'torch', 'lightning', 'mezzotint.diffusion'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout == "2 []\n"
    assert done.stderr == "mezzotint train: network.widht: UNet has no such argument; did you mean 'width'?\n"


def test_a_key_of_another_choice_is_told_with_the_choices_that_have_it() -> None:
    digits = {"data": {"_target_": "mezzotint.data.Digits", "shape": [1, 8, 8]}}
    assert misspelt(digits, "data.enlarge")[0].endswith("; it belongs to data=image_folder")
    assert misspelt(digits, "data.held_out")[0].endswith("; it belongs to data=image_folder, npz")
