"""The mode of a start under Weights & Biases: online, offline or disabled."""

import os
from typing import Any, Literal

from mezzotint.errors import ConfigError
from mezzotint.training.tracking.wandb_server import server

Mode = Literal["online", "offline", "disabled", "shared"]
OLDER: dict[str, Mode] = {"dryrun": "offline", "run": "online"}  # values of WANDB_MODE


def choose(mode: Mode | Literal["auto"]) -> tuple[Mode, str]:
    """Return the mode of a start, and why it is offline.

    Raises:
        ConfigError: the user insists on online where it cannot be, or WANDB_MODE says what is not a mode.
    """
    settings = read_settings()
    wanted: Mode = OLDER.get(settings.mode, settings.mode) if mode == "auto" else mode
    if wanted != "online":
        return wanted, "as its mode says"
    refusal = server(settings).refusal()
    if refusal and insisted(mode):
        raise ConfigError(f"W&B's mode is online, but {refusal}; without a mode it records offline then")
    return ("offline", refusal) if refusal else ("online", "")


def insisted(mode: str) -> bool:
    """Return whether the user insists on online."""
    return mode == "online" or (mode == "auto" and os.environ.get("WANDB_MODE") in ("online", "run"))


def read_settings() -> Any:
    """Return W&B's settings as its files and the environment have them now."""
    import wandb

    settings = wandb.Settings(silent=True)
    settings.update_from_system_settings()
    try:
        settings.update_from_env_vars(dict(os.environ))
    except ValueError as error:
        raise ConfigError(f"W&B's settings in the environment (WANDB_...) cannot be: {brief(error)}") from error
    return settings


def brief(error: BaseException) -> str:
    """Return an error in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
