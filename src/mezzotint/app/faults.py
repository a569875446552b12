"""Faults that a user can mend, in one line; of Hydra's the text in our own terms."""

import re
from collections.abc import Sequence
from typing import Any

from mezzotint.app.config.words import SAVED, SETTINGS, own_configs, primary, value
from mezzotint.app.help import config_dir, groups
from mezzotint.names import nearest


def explain(error: Exception, command: str, words: Sequence[str]) -> str | None:
    """One line for what a user can mend; None for everything else."""
    import yaml
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        choices = sorted(option for option in error.options if option != SAVED)
        return f"{group}={choice}: no such choice{nearest(choice, choices)} ({', '.join(choices)})"
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename}: permission denied; choose another place by paths.runs=, paths.cache= or data.root="
    text = str(error)
    if isinstance(error, RuntimeError) and "home directory" in text:
        return f"~ is nowhere: {text} Set HOME, or MEZZOTINT_RUNS, MEZZOTINT_DATA and MEZZOTINT_CACHE"
    bad = re.search(r"Could not (?:override|delete|append to config).*?'([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and bad and "/" not in bad.group(1):
        return no_key(bad.group(1).partition("=")[0].lstrip("+~"), command, words)
    ours = isinstance(error, ValueError) and "Config group override must be" in text
    if ours or isinstance(error, (HydraException, OmegaConfBaseException, yaml.YAMLError)):
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        return " ".join(dict.fromkeys(line.strip() for line in f"{text}{cause}".splitlines() if line.strip()))
    return None


def no_key(key: str, command: str, words: Sequence[str]) -> str:
    if key.partition(".")[0] in SETTINGS and value("run", words):
        return f"{key}= and run= exclude each other: a run has its whole config"
    return f"no key {key!r}{nearest(key, known_keys(command, words))}"


def known_keys(command: str, words: Sequence[str]) -> list[str]:
    """Every key of the config that the chosen groups compose to, for the nearest-name hint."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    known = groups() | {*SETTINGS}
    chosen = [word for word in words if word.partition("=")[0] in known and "," not in word]
    own = ",".join(f"file://{folder}" for folder in own_configs(words))
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose(primary(command, words), [*chosen, f"hydra.searchpath=[{own}]"])
            return keys_of(OmegaConf.to_container(config))
    except Exception:  # something else is wrong too, and is told after this is mended
        return sorted(known)


def keys_of(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    return [key for name, value in node.items() for key in (f"{prefix}{name}", *keys_of(value, f"{prefix}{name}."))]
