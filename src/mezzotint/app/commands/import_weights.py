"""`mezzotint import format=NAME source=PATH`: a run from the weights of another program."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.app.config.arguments import CONFIG, addable, at_home, readable
from mezzotint.app.config.derived import bounded
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import settle
from mezzotint.app.config.validate_arguments import check_words
from mezzotint.app.help import config_dir
from mezzotint.app.results import run_folders
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.build import DENOISER, build_denoiser
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.plain_data import mismatch
from mezzotint.runs import RunDir
from mezzotint.runs.folders import link_latest

if TYPE_CHECKING:
    from mezzotint.runs.published.description import Description

OWN = ("format", "source", "attention_order")  # words that are not for the config
ORDERS = ("new", "legacy")
SHOWN = 3  # names of tensors that are left out


def main(words: Sequence[str]) -> None:
    """Make a run of a file, print what was taken and assumed, and where the run is.

    Raises:
        ConfigError, DataError: the file cannot be read without executing code, or does not fit any network here.
    """
    own, rest = divided(words)
    from mezzotint.runs.published.entries import read_state
    from mezzotint.runs.published.formats import FORMATS

    source = Path(own["source"]).expanduser()
    try:
        found = FORMATS[own["format"]](source, given(own, rest))
    except (ConfigError, DataError) as error:
        said = str(error)
        raise type(error)(said if said.startswith("source=") else f"source={source}: {said}") from error
    job = composed(found, source, rest)
    denoiser = build_denoiser({key: getattr(job, key) for key in DENOISER})
    try:
        state = read_state(found.tensors, denoiser.network, found.entries(denoiser.network))
    except ConfigError as error:
        raise ConfigError(f"source={source}: {error}; network= and data= words change the network") from error
    denoiser.network.load_state_dict(state)
    directory = write(job, denoiser.state_dict(prefix="denoiser."))
    print(f"{sum(tensor.numel() for tensor in state.values()):,} numbers in {len(state)} tensors from {source}")
    if found.unused:
        more = f" and {len(found.unused) - SHOWN} more" if len(found.unused) > SHOWN else ""
        print(f"left out, no part of the network: {', '.join(found.unused[:SHOWN])}{more}")
    if assumed := [
        word for word in found.assumed if word.partition("=")[0] not in {w.partition("=")[0] for w in words}
    ]:
        print(f"assumed, since the file does not say it: {' '.join(word.replace(', ', ',') for word in assumed)}")
    if are_latents(found):
        size = " x ".join(map(str, found.settings["data.shape"]))
        print(
            f"it is a network of latents, {size}: for images give their autoencoder, "
            "codec=autoencoder codec.directory=DIR data=image_folder data.root=DIR data.shape=[3,H,W]"
        )
    print(f"run: {display_path(directory)}")


def divided(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split the words into those of the command and those of the config.

    Raises:
        ConfigError: one is missing, or not known.
    """
    from mezzotint.runs.published.formats import FORMATS

    if strange := [word for word in words if "=" not in word or word.startswith("-")]:
        raise ConfigError(f"{strange[0]}: import takes words key=value only")
    own = {key: value for key, _, value in (word.partition("=") for word in words) if key in OWN}
    for key, known in (("format", FORMATS), ("source", ())):
        if not own.get(key):
            raise ConfigError(f"{key}= is needed: mezzotint import format=NAME source=PATH ({', '.join(FORMATS)})")
        if known and own[key] not in known:
            raise ConfigError(f"format={own[key]} is not known{did_you_mean(own[key], known)} ({', '.join(known)})")
    if own.get("attention_order", "new") not in ORDERS:
        raise ConfigError(f"attention_order={own['attention_order']}: give new or legacy")
    return own, [word for word in words if word.partition("=")[0] not in OWN]


def given(own: Mapping[str, str], words: Sequence[str]) -> dict[str, Any]:
    """Return what the user says about the file, as values."""
    import yaml

    said = dict(own)
    for word in words:
        key, _, value = word.partition("=")
        try:
            said[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            said[key] = value
    shape = said.get("data.shape")
    if shape is not None and (mismatch(shape, [int]) or len(shape) != 3):
        raise ConfigError(f"data.shape={shape}: give three integers, such as data.shape=[3,64,64]")
    return said


def composed(found: "Description", source: Path, words: Sequence[str]) -> Job:
    """Return the job that the weights belong to; the user's words come last."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    check_words(words, False, ())
    shape, classes = found.settings["data.shape"], found.settings["data.classes"]
    cifar = shape == [3, 32, 32] and classes in (0, 10)
    data = ["data=cifar10"] if cifar else ["data=image_folder", "data.root=${paths.data}/images"]
    if are_latents(found):
        moments = [f"codec.mean={[0] * shape[0]}", f"codec.std={[1] * shape[0]}", "codec.stored=float32"]
        data = ["data=array", "data.root=${paths.data}/latents.npy", "codec=standardize", *moments]
    name = source.stem if source.suffix else source.name
    automatic = ["experiment=own_data", f"name={readable_name(name)}", *data]
    automatic += [f"{group}={choice}" for group, choice in found.choices.items()]
    automatic += [f"++{key}={text(value)}" for key, value in found.settings.items()]
    asked = [readable(addable(at_home(word))) for word in words]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return bounded(settle(compose(CONFIG, merged(automatic, asked))))


def are_latents(found: "Description") -> bool:
    """Return whether the network is one of latents: its data have other channels than images."""
    return found.settings["data.shape"][0] not in (1, 3)


def merged(automatic: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Leave out automatic words for keys, and for values of groups, that the user gives.

    A dataset keeps the shape and the classes of the file, but not the place of its images.
    """
    keys = {word.lstrip("+").partition("=")[0] for word in asked}
    keys |= {"data.root"} if "data" in keys else set()

    def stays(word: str) -> bool:
        key = word.lstrip("+").partition("=")[0]
        return key not in keys and (key.startswith("data.") or key.partition(".")[0] not in keys)

    return [*filter(stays, automatic), *asked]


def text(value: Any) -> str:
    """Return a value as Hydra reads it."""
    match value:
        case list():
            return f"[{','.join(map(text, value))}]"
        case None | bool():
            return json.dumps(value)
    return str(value)


def readable_name(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "_.+-" else "-" for letter in name).strip("-.+")
    return f"'{kept or 'imported'}'"


def write(job: Job, state: dict[str, Any]) -> Path:
    """Write the directory of a run that has seen no images here; training it starts from these weights.

    Raises:
        ConfigError: the directory holds something.
    """
    from mezzotint.runs import checkpoints

    directory = Path(job.paths["runs"]) / job.name
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{display_path(directory)} exists; choose another name=")
    run_folders.writable(directory)
    run, file = RunDir(directory), checkpoints.named(directory / "checkpoints", 0)
    content = {"format_version": checkpoints.FORMAT, "state_dict": state, "images": 0, "global_step": 0}
    checkpoints.write(content, file)
    run.write_config(replace(job, init=str(file.absolute()), init_weights="raw").as_dict())
    run.write_status(state="finished", images=0, steps=0, budget=job.budget, error=None)
    link_latest(run.path, Path(job.paths["runs"]))
    return directory
