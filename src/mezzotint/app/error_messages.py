"""Errors that the user can fix, in one line; those of Hydra and OmegaConf in the terms of this program."""

import re
from collections.abc import Sequence
from typing import Any

from mezzotint.app.config.arguments import SETTINGS, own_configs, primary, quoted, value
from mezzotint.app.config.other_names import closest
from mezzotint.app.help import config_dir, groups
from mezzotint.app.launch.job_queue import NOWHERE, lost
from mezzotint.errors import ConfigError, MezzotintError, as_user_error
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.plain_data import as_dict

IMAGES = "training is counted in images: budget=N, which is epochs x images of the data"
DEVICES = "devices are hardware=cpu, hardware=gpu or hardware=gpus hardware.devices=N"
ELSEWHERE = {  # words of other programs
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs", "epoch"), IMAGES),
    **dict.fromkeys(("train_steps", "max_steps", "iterations", "iters"), "budget=N images in steps of batch_size=N"),
    **dict.fromkeys(("bs", "batch", "batchsize", "train_batch_size"), "images a step are batch_size=N"),
    **dict.fromkeys(("device", "gpus", "gpu", "devices", "accelerator", "cuda"), DEVICES),
    **dict.fromkeys(("precision", "fp16", "bf16", "amp"), "it is hardware.precision="),
    **dict.fromkeys(("learning_rate", "max_lr"), "the learning rate is optimizer.lr=RATE"),
    **dict.fromkeys(
        ("num_steps", "sampling_steps", "num_inference_steps"),
        "steps of sampling are grid.steps=N; training takes budget= images in steps of batch_size=",
    ),
    **dict.fromkeys(
        ("cfg", "cfg_scale", "guidance_scale", "scale_cfg"), "guidance by the label is guidance=cfg guidance.scale=2"
    ),
    **dict.fromkeys(
        ("out_dir", "output_dir", "outdir", "save_dir", "logdir", "log_dir"),
        "a run is written to paths.runs=DIR, as name=NAME",
    ),
    **dict.fromkeys(
        ("data_dir", "dataset", "data_path", "root"), "data is data=NAME, own images data=image_folder data.root=DIR"
    ),
    **dict.fromkeys(
        ("resume", "ckpt", "checkpoint", "ckpt_path"),
        "run=DIR resumes a run; checkpoint=STEP is an earlier checkpoint",
    ),
    **dict.fromkeys(("workers", "num_workers"), "it is hardware.workers=N"),
    **dict.fromkeys(("model", "arch"), "it is network=NAME"),
    **dict.fromkeys(("scheduler", "noise_schedule"), "noise by time is schedule=NAME, steps are sampler=NAME"),
    **dict.fromkeys(("num_samples", "n_samples", "samples"), "images to draw are n=N"),
}


def explained(error: Exception, command: str, words: Sequence[str]) -> MezzotintError | None:
    """Return the error as one that the user can fix; None for a bug."""
    if known := as_user_error(error) or lost(error):
        return known
    message = explain(error, command, words)
    return None if message is None else ConfigError(message)


def explain(error: Exception, command: str, words: Sequence[str]) -> str | None:
    """Return one line for an error of Hydra or OmegaConf that the user can fix; None for any other."""
    import yaml
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
    from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

    text = str(error)
    several = re.match(r"Ambiguous value for argument '\+*([^=]+)=(.*)'\n", text)
    needed = re.search(r"Missing mandatory value: (\S+)", text)
    followed = re.search(r"Interpolation key '(\w+)([\w.]*)' not found\s+full_key: (\S+)", text)
    bad = re.search(r"Could not (?:override|delete|append to config).*?'([^']+)'", text)
    match error:
        case MissingConfigException(options=[*known]):
            return no_choice(error.missing_cfg_file or "", known)
        case HydraException() if several:
            key, said = several[1], several[2].replace("'", "")
            listed = said.strip("()")
            return f"{key}={said}: a list is {key}=[{listed}]; a job for each needs -m; one text: \"{key}='{said}'\""
        case InterpolationToMissingValueError() if needed:
            return f"{needed[1]}: a value is needed; give {needed[1]}=VALUE"
        case _ if followed:
            group, rest, key = followed.groups()
            return (
                f"{key}: it follows {group}{rest}, which is not there; choose a {group}=, or leave out what has {key}"
            )
        case RuntimeError() if 'not detect "srun"' in text:
            return f"hydra/launcher: {NOWHERE.format('srun')}"
        case RuntimeError() if "home directory" in text:
            return f"~ has no meaning: {text} Set HOME, or MEZZOTINT_RUNS, MEZZOTINT_DATA and MEZZOTINT_CACHE"
        case ConfigCompositionException() if bad and "/" not in bad[1]:
            return no_key(bad[1].partition("=")[0].lstrip("+~"), command, words)
        case HydraException() | OmegaConfBaseException() | yaml.YAMLError():
            return flattened(error)
        case OSError():
            return None
    return flattened(error) if raised_by_hydra(error) else None


def no_choice(missing: str, known: Sequence[str]) -> str:
    """Return the message for GROUP/CHOICE without a file."""
    group, _, choice = missing.rpartition("/")
    choices = sorted(option for option in known if not option.startswith("_"))
    return f"{group}={choice}: no such choice{closest(group, choice, choices)} ({', '.join(choices)})"


def flattened(error: Exception) -> str:
    """Return the text of an error and of its cause in one line, each sentence once."""
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return " ".join(dict.fromkeys(line.strip() for line in f"{error}{cause}".splitlines() if line.strip()))


def raised_by_hydra(error: Exception) -> bool:
    """Return True if the innermost frame of an exception is Hydra's, OmegaConf's or their parser's."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__", "")) if trace else ""
    return module.partition(".")[0] in ("hydra", "omegaconf", "antlr4")


def no_key(key: str, command: str, words: Sequence[str]) -> str:
    if key.partition(".")[0] in SETTINGS and value("run", words):
        return f"{key}= and run= exclude each other: a run has its whole config"
    if key in ELSEWHERE:
        return f"no key {key!r}: {ELSEWHERE[key]}"
    known = known_keys(command, [word for word in words if word.lstrip("+~").partition("=")[0] != key])
    whole = [name for name in known if name.endswith(f".{key}")][:3]  # lr of optimizer.lr
    hint = f"; did you mean {' or '.join(map(repr, whole))}?" if whole else did_you_mean(key, known)
    return f"no key {key!r}{hint}"


def known_keys(command: str, words: Sequence[str]) -> list[str]:
    """Every key of the config that the chosen groups compose to, for the nearest-name hint."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from mezzotint.app.launch.hydra_hooks import find_plugins

    find_plugins()
    GlobalHydra.instance().clear()
    known = groups() | {*SETTINGS}
    chosen = [word for word in words if word.partition("=")[0] in known and "," not in word]
    own = ",".join(quoted(f"file://{folder}") for folder in own_configs(words))
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose(primary(command, words), [*chosen, f"hydra.searchpath=[{own}]"])
            return keys_of(OmegaConf.to_container(config))
    except Exception:  # another error, which is reported once this one is fixed
        return sorted(known)


def keys_of(node: Any, prefix: str = "") -> list[str]:
    return [
        key for name, value in as_dict(node).items() for key in (f"{prefix}{name}", *keys_of(value, f"{prefix}{name}."))
    ]
