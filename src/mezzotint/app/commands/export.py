"""`mezzotint export run=DIR format=NAME`: a trained model in the format of other programs, with a model card."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mezzotint.app.config.compose import pointed
from mezzotint.app.results.model_card import model_card
from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path
from mezzotint.errors import ConfigError
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.instantiate.trust import current
from mezzotint.runs import RunDir

if TYPE_CHECKING:
    from mezzotint.runs.exports.formats import ExportFormat

KEYS = ("run", "format", "weights", "checkpoint", "license", "out")
USAGE = "mezzotint export run=runs/latest format=safetensors"
FORMATS = ("safetensors", "torch_export", "onnx", "diffusers")


def main(words: Sequence[str]) -> None:
    """Write the files of a format and the model card into a folder; print it last.

    Raises:
        ConfigError: the words are others, or this model or machine cannot have the format.
    """
    given = dict(word.split("=", 1) for word in words if word.partition("=")[0] in KEYS and "=" in word)
    if unknown := [word for word in words if word.partition("=")[0] not in given]:
        raise ConfigError(f"{unknown[0]}: export takes {', '.join(f'{key}=' for key in KEYS)} alone: {USAGE}")
    if not given.get("run") or not given.get("format"):
        raise ConfigError(f"which run, and which format ({', '.join(FORMATS)})? Give both: {USAGE}")
    name, directory = given["format"], pointed(Path(given["run"]).expanduser())
    if name not in FORMATS:
        raise ConfigError(f"format={name}: no such format{did_you_mean(name, FORMATS)} ({', '.join(FORMATS)})")
    out = Path(given["out"]).expanduser() if given.get("out") else directory / "export" / name
    RunDir(directory).config()  # refused before torch is imported
    write(directory, formats()[name], out, given)


def formats() -> "dict[str, ExportFormat]":
    """Return the formats by name; torch is imported here."""
    from mezzotint.runs.exports.formats import ONNX, Safetensors, TorchExport
    from mezzotint.runs.exports.pipeline import DiffusersPipeline

    return {one.name: one for one in (Safetensors(), TorchExport(), ONNX(), DiffusersPipeline())}


def write(directory: Path, format: "ExportFormat", out: Path, given: dict[str, str]) -> None:
    """Load the weights, write the folder as a whole or not at all, and say what was verified."""
    from mezzotint.runs.checkpoints import step_of
    from mezzotint.runs.exports.formats import Exported
    from mezzotint.runs.load import load

    run, weights = RunDir(directory), given.get("weights", "ema")
    config = run.config()
    if out.exists() and not (out / "README.md").is_file():
        raise ConfigError(f"out={out}: it exists and is not an export; give another folder")
    chosen = checkpoint(given.get("checkpoint"))
    denoiser = load(directory, weights, allow=current().packages, checkpoint=chosen)
    model = Exported.of_run(denoiser, config)
    format.check(model)
    step = step_of(run.checkpoint(chosen))
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as folder:
        folder.mkdir()
        verified = format.write(model, folder)
        card = model_card(directory, weights, step, given.get("license"), format.library, format.usage(model))
        (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{format.name} of step {step}, weights={weights}: {verified}")
    print(display_path(out))


def checkpoint(text: str | None) -> int | Literal["best"] | None:
    if text is None:
        return None
    if text == "best":
        return "best"
    if not text.isdecimal():
        raise ConfigError(f"checkpoint={text}: give the step of a checkpoint, or best")
    return int(text)
