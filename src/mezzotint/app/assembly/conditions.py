"""Conditions of data, network, objective and guidance that do not fit together, with the reason and the cure."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mezzotint.app.config.job import Job
from mezzotint.diffusion import CFGPlusPlus, CompositionalCFG, PairwiseGuidance
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import calls
from mezzotint.instantiate.locate import locate
from mezzotint.networks import Condition, ConditionEmbedder


def check_conditions(given: Mapping[str, Condition], network: Any, objective: Any) -> None:
    """Check that the network takes the conditions that the data give, and gets those that it takes.

    Raises:
        ConfigError: the first that does not fit.
    """
    taken = taken_by(network)
    for name, kind in given.items():
        if (taken is None and not has_input(network, name)) or (taken is not None and name not in taken):
            raise ConfigError(
                f"the data give the condition {name!r}, and the network {type(network).__name__} does not use it: "
                "leave it out of data.conditions, or use a network that takes conditions, such as network=unet, "
                "without network.conditions, which follows the data"
            )
        if taken is not None and (taken[name].shape, taken[name].dtype) != (kind.shape, kind.dtype):
            raise ConfigError(
                f"the condition {name!r} is {kind.wanted()} in data.conditions and {taken[name].wanted()} in "
                "network.conditions: leave network.conditions out, it follows the data"
            )
    missing = [name for name, kind in (taken or {}).items() if name not in given and not kind.supplied]
    if missing:
        raise ConfigError(
            f"network.conditions has {missing[0]!r}, which the data do not give: add data.conditions.{missing[0]}, or "
            "leave network.conditions out, it follows the data"
        )
    images = [name for name, kind in given.items() if kind.as_channels(kind.shape[1:]) is not None]
    if images and getattr(objective, "augment", None) is not None:
        raise ConfigError(
            f"objective.augment transforms the images and not their condition {images[0]!r}: use objective=simple"
        )


def taken_by(network: Any) -> Mapping[str, Condition] | None:
    """Return the conditions of a network of ours; None for another, which has inputs of its own."""
    embedder = getattr(network, "conditions", None)
    return embedder.kinds if isinstance(embedder, ConditionEmbedder) else None


def has_input(network: Any, name: str) -> bool:
    """Return whether `forward` has an argument of this name, or takes any."""
    parameters = inspect.signature(network.forward).parameters
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def check_learned(job: Job, objective: Any) -> None:
    """Check that guidance compares with a network without conditions only where training leaves them out.

    Raises:
        ConfigError: the network never learns what it says without a condition, or it is not said without which.
    """
    given = ["label"] * bool(job.data.get("classes")) + list(job.data.get("conditions") or {})
    for names in compared(job.guidance, given):
        if names is None and len(given) > 1 and "label" in given:
            raise ConfigError(
                f"guidance has to know which conditions it leaves out, of {', '.join(given)}: give "
                f"guidance.conditions=[{','.join(given)}], or some of them"
            )
        for name in given if names is None else names:
            if name in given and rate(objective, name) == 0:
                setting = "label_dropout" if name == "label" else "condition_dropout"
                less, more = ("0", "0.1") if name == "label" else (f"{{{name}:0}}", f"{{{name}:0.1}}")
                raise ConfigError(
                    f"guidance compares with what the network says without a {name}, which it never learns with "
                    f"objective.{setting}={less}. Train with objective.{setting}={more}, or use guidance=none"
                )


def rate(objective: Any, name: str) -> float | None:
    """Return the fraction of examples that lose a condition; None where an objective of the user's own hides it."""
    if (label := getattr(objective, "label_dropout", None)) is None:
        return None
    rates = getattr(objective, "condition_dropout", None) or {}
    own = label if name == "label" else rates.get(name, 0.0)
    return own + rates.get("all", 0.0)


def compared(node: Any, given: Sequence[str]) -> Iterator[Sequence[str] | None]:
    """Yield for each guidance that asks the network without conditions which these are; None where it does not say."""
    for _, call in calls(node):
        found = locate(call["_target_"])
        if found is CompositionalCFG:
            scales = call.get("scales") or {}
            yield list(scales) if any(scale != 1 for scale in scales.values()) else []
        elif inspect.isclass(found) and issubclass(found, PairwiseGuidance):
            alone = found is not CFGPlusPlus and call.get("scale", 1) == 1
            if not (call.get("weak") or alone):
                yield call.get("conditions")
