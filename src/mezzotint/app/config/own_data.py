"""Defaults for `data=` without an experiment: `experiment=own_data`, named after the data."""

import re
from collections.abc import Sequence
from pathlib import Path

from mezzotint.app.config.arguments import value
from mezzotint.data.containers.kinds import ENDINGS

BASE = "own_data"  # in configs/experiment
CHOICE = "_data_"  # the experiment that is made of it
USUAL = "digits"  # the data of the experiment that runs without a word
OF_FOLDERS = ("image_folder", "latents")  # named after the folder that they read
OF_FILES = (*OF_FOLDERS, "npz", "array", *ENDINGS)  # after the file, if it is one
PATTERN = re.compile(r"[*?{]")  # of a name that stands for several files


def base(words: Sequence[str]) -> list[str]:
    """The word to add, which chooses the base; none where the words say enough.

    The base is stored under a choice of its own, so that a name= of the user's is distinguished from a name given here.
    """
    from hydra.core.config_store import ConfigStore

    keys = {word.lstrip("+~").partition("=")[0] for word in words}
    data = value("data", words)
    if not data or data == USUAL or keys & {"experiment", "--config-name", "-cn"}:
        return []
    node = {"defaults": [BASE, "_self_"], "name": name(data, value("data.root", words)) or BASE}
    ConfigStore.instance().store(group="experiment", name=CHOICE, node=node, package="_global_")
    return [f"experiment={CHOICE}"]


def name(data: str, root: str) -> str:
    """The name of runs: the folder's or the file's, or else the dataset's; "" where there are several of them."""
    found = ""
    if data in OF_FILES and "," not in root:
        place = Path(root).expanduser().absolute()
        place = place.parent if PATTERN.search(place.name) else place
        found = folder_name(place.name if data in OF_FOLDERS else place.stem) if root else ""
    return found or folder_name(data if "," not in data else "")


def folder_name(text: str) -> str:
    """The text as the name of a folder of ours, at most 40 letters of it."""
    found = re.sub(r"[^\w.+-]+", "-", text).strip("-.+")[:40].strip("-.+")
    return "" if found == "latest" else found
