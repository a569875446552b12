"""Reading tensors of other programs: safetensors and state dicts. Code in a file is never executed."""

import json
import pickletools
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from torch import Tensor
from torch.serialization import safe_globals

from mezzotint import archives
from mezzotint.errors import ConfigError, DataError
from mezzotint.plain_data import mismatch
from mezzotint.reading import reason
from mezzotint.runs.checkpoints import unpickle

LARGEST_JSON = 1 << 20  # bytes of a config
LARGEST_PICKLE = 1 << 26  # bytes that are searched for what it calls
NESTED = ("ema", "model_ema", "ema_state_dict", "state_dict", "model", "net", "unet")  # where a state dict may lie
CONVERSION = (
    "Convert it where it comes from, in its own program: load it there as usual, then "
    "`torch.save(network.state_dict(), 'weights.pt')` or `safetensors.torch.save_file(network.state_dict(), "
    "'weights.safetensors')`, and import that file"
)


def read_tensors(file: Path, conversion: str = CONVERSION) -> dict[str, Tensor]:
    """Return the tensors of a file by name, those of the average where it holds several states.

    Args:
        conversion: what to do with a file that holds more than tensors.

    Raises:
        ConfigError: there is no such file. DataError: it holds code, or no tensors.
    """
    if not file.is_file():
        raise ConfigError(f"source={file}: there is no such file")
    if file.suffix == ".safetensors":
        return of_safetensors(file)
    if zipfile.is_zipfile(file) and (why := archives.damage(file)):
        raise DataError(f"source={file}: {why}")
    try:
        # The warnings are torch's, about pickles of other programs; a Namespace holds the words of a training script.
        with warnings.catch_warnings(action="ignore"), safe_globals([Namespace]):
            content = unpickle(file, lazily=False)
    except UnpicklingError as error:
        raise DataError(
            f"source={file}: it is a pickle that would execute code when it is loaded ({blamed(file, error)}), and "
            f"only tensors are ever loaded here. {conversion}"
        ) from error
    except Exception as error:
        raise DataError(f"source={file}: it is no file of tensors ({reason(error)[:120]}). {conversion}") from error
    return state_of(content, file)


def of_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except Exception as error:
        raise DataError(f"source={file}: it is not a safetensors file ({reason(error)[:120]})") from error


def state_of(content: Any, file: Path) -> dict[str, Tensor]:
    """Return the state dict in plain content. Raises DataError: there is none."""
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        inner = next((content[name] for name in NESTED if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            if tensors:
                return tensors
            break
        content = inner
    raise DataError(f"source={file}: it holds no tensors by name. {CONVERSION}")


def blamed(file: Path, error: Exception) -> str:
    """Return what a pickle wanted to call, without loading it."""
    text = str(error)
    marks = ("Unsupported global: GLOBAL ", "Trying to load unsupported GLOBAL ", "Unsupported class ")
    if found := next((text.split(mark, 1)[1].split()[0].strip(".,:`'\"") for mark in marks if mark in text), ""):
        return found
    with suppress(Exception):
        return next(called(pickled(file)))
    return "its content is not known to be plain"


def pickled(file: Path) -> bytes:
    """Return the first bytes of the pickle in a file, plain or in an archive of torch."""
    if not zipfile.is_zipfile(file):
        with open(file, "rb") as content:
            return content.read(LARGEST_PICKLE)
    with zipfile.ZipFile(file) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as content:
            return content.read(LARGEST_PICKLE)


def called(content: bytes) -> Iterator[str]:
    """Yield what a pickle calls by name."""
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif isinstance(argument, str):
            strings.append(argument)


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises DataError: it is something else."""
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise ValueError("it is too large for a config")
        content = json.loads(file.read_text())
        if why := mismatch(content, {}):
            raise ValueError(why)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: it is not a config ({reason(error)[:120]})") from error
    return content
