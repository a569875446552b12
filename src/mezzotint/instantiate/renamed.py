"""Renamed config keys, choices and classes: runs saved with the old names keep working and keep their digest.

`modern` translates a saved config when it is read; `original` translates back what a digest is computed from, so that
a run keeps its digest and its files keep their names. `spelled` translates an argument of the command line.
"""

import re
from functools import cache
from typing import Any

from mezzotint.plain_data import as_dict, mapped

Node = Any

KEYS = {  # of the top level
    "clock": "c_noise",
    "scale": "c_in",
    "times": "time_distribution",
    "weight": "loss_weight",
    "step": "checkpoint",
    "images": "save",
    "look": "evaluation_share",
}
PARTS = {  # of groups of several parts, each under its name
    "metrics": {
        "frechet": "fid",
        "kernel": "kid",
        "halves": "fid_split_half",
        "error": "fid_bootstrap",
        "infinity": "fid_infinity",
        "by_class": "fid_per_class",
        "memorised": "memorisation",
    },
    "callbacks": {"judge": "sample_metrics", "finite": "nan_guard"},
}
CHOICES = PARTS | {  # files of a group
    "callbacks": {"judge": "sample_metrics", "quiet": "minimal", "long": "long_run"},
    "c_in": {"unit": "none"},
    "c_noise": {"index": "step_index", "native": "raw_time", "rescaled": "scaled_time"},
    "grid": {"cosine": "angle", "lu_lambda": "exponential", "uniform_log_snr": "exponential", "quad": "quadratic"},
    "guidance": {"auto": "clip_epsilon"},
    "loss_weight": {"plain": "constant", "likelihood": "elbo", "learned_variance": "uncertainty"},
    "objective": {"paired_noise": "ot_paired_noise"},
    "schedule": {"linear_scaled": "linear_shifted"},
    "time_distribution": {"second_moment": "loss_aware"},
}
_CLASSES = {
    "mezzotint.diffusion": (
        "Auto:AutoSpacing Beta:BetaQuantiles Churned:EDMStochastic ClipQuotient:ClipIfEpsilon "
        "ContinuousCosine:ContinuousCosineSchedule Corrected:LangevinCorrected Cosine:CosineSchedule "
        "CosineInterpolated:CosineInterpolatedTimes EDM:EDMSchedule Exponential:ExponentialAdamsBashforth "
        "Geometric:GeometricAugmentation Huber:HuberLoss Hybrid:HybridLoss Importance:ImportanceWeight "
        "Index:StepIndex Inpaint:InpaintGuidance Laplace:LaplaceSchedule LearnedRange:LearnedRangeVariance "
        "LearnedVariance:UncertaintyWeight Likelihood:ELBOWeight Linear:LinearSchedule Listed:ExplicitTimes "
        "LogLogistic:LogLogisticTimes LogNormal:LogNormalTimes LogSnr:LogSNR LowDiscrepancy:LowDiscrepancyTimes "
        "MeanFlowSampler:MeanFlow MinSNR:MinSNRWeight MultiScale:MultiScaleLoss Native:RawTime Normal:GaussianNoise "
        "Offset:OffsetNoise OnTable:SnapToTable P2:P2Weight Paired:OTPairedNoise Plain:ConstantWeight "
        "Posterior:PosteriorVariance PseudoHuber:PseudoHuberLoss Quad:Quadratic Rectified:RectifiedFlowSchedule "
        "Renoise:Renoised Replaced:InpaintReplacement Rescaled:ScaledTime SNR:SNRWeight "
        "ScaledLinear:ScaledLinearSchedule SecondMoment:LossAwareTimes Shifted:ShiftedSchedule Sigmoid:SigmoidSchedule "
        "SigmoidBeta:SigmoidBetaSchedule Singlestep:DPMSolverSinglestep SinglestepSDE:DPMSolverSinglestepSDE "
        "SoftMinSNR:SoftMinSNRWeight SplitLogNormal:SplitLogNormalTimes SquaredError:SquaredErrorLoss "
        "Started:WarmStarted Stratified:StratifiedTimes SubVP:SubVPSchedule Tabulated:TabulatedSchedule "
        "Transition:TransitionVariance TrigFlow:TrigFlowSchedule TruncatedSNR:TruncatedSNRWeight "
        "Uniform:UniformTimes Unit:NoScale UnitVariance:UnitVarianceScale VP:VPSchedule "
        "ZeroTerminalSNR:ZeroTerminalSNRSchedule unguided:no_guidance "
        "coordinates.Noise:NoiseCoordinate coordinates.Data:DataCoordinate coordinates.Flow:FlowCoordinate "
        "coordinates.Angle:AngleCoordinate"
    ),
    "mezzotint.data": "Npz:NPZ",
    "mezzotint.metrics": (
        "Auto:AutoExtractor Clip:CLIP Cmmd:CMMD DinoV2:DINOv2 EffNet:EfficientNet Frechet:FrechetDistance "
        "FrechetByClass:FrechetPerClass FrechetError:FrechetBootstrap Halves:SplitHalfFrechet Inception:InceptionV3 "
        "Kernel:KernelDistance MemorisationCheck:Memorisation MemorisationFrechet:MiFID"
    ),
    "mezzotint.training": "FiniteLoss:NaNGuard Judge:SampleMetrics",
}
MODULE_PATH = re.compile(r"(?P<room>mezzotint\.(?!app\.)\w+)(\.\w+)+\.(?P<name>[A-Z]\w*)")  # of a class of ours
TARGETS = {
    f"{room}.{old}": f"{room}.{new}"
    for room, pairs in _CLASSES.items()
    for old, new in (pair.split(":") for pair in pairs.split())
}
ARGUMENTS = {  # of what `_target_` names now
    "mezzotint.diffusion.EDMStochastic": {
        "churn": "s_churn",
        "low": "s_tmin",
        "high": "s_tmax",
        "inflate": "s_noise",
    },
    "mezzotint.diffusion.LinearSchedule": {"first": "beta_start", "last": "beta_end"},
    "mezzotint.diffusion.ScaledLinearSchedule": {"first": "beta_start", "last": "beta_end"},
    "mezzotint.diffusion.SigmoidBetaSchedule": {"first": "beta_start", "last": "beta_end"},
    "mezzotint.diffusion.CosineSchedule": {"cap": "max_beta"},
    "mezzotint.diffusion.SigmoidSchedule": {"cap": "max_beta"},
    "mezzotint.diffusion.TabulatedSchedule": {"betas_given": "values"},
    "mezzotint.diffusion.LearnedSchedule": {"high": "log_snr_max", "low": "log_snr_min"},
    "mezzotint.load": {"step": "checkpoint"},
}
_ARGUMENTS_OF = {  # of a group, whichever choice has them
    "sampler": ARGUMENTS["mezzotint.diffusion.EDMStochastic"],
    "schedule": {
        old: new for path, names in ARGUMENTS.items() if path.endswith("Schedule") for old, new in names.items()
    },
}
VALUES = {  # of an argument, or of each item of its list
    "mezzotint.training.SampleMetrics": {"metrics": PARTS["metrics"]},
    "mezzotint.training.Checkpoints": {"best": {"judge": "sample_metrics"}},
}


def modern(config: Node) -> Node:
    """Return a saved config, or a dict of some of its groups, in current names."""
    return _translated(config, KEYS, PARTS, TARGETS, ARGUMENTS, VALUES)


def original(config: Node) -> Node:
    """Return a config in the names of the first version; names that it did not have are unchanged.

    Paths that name the module of a class are shortened to the public one, as a run of today has them.
    """
    return _translated(mapped(config, _public), *_originals())


def _public(leaf: Node) -> Node:
    """Return the public path of a class of this package; any other value unchanged."""
    match leaf:
        case str() if leaf not in TARGETS and (found := MODULE_PATH.fullmatch(leaf)):
            return f"{found['room']}.{found['name']}"
    return leaf


@cache
def _originals() -> tuple[dict[str, Any], ...]:
    """The tables from current names to those of the first version."""
    targets = _reverse(TARGETS)
    parts = {group: _reverse(names) for group, names in PARTS.items()}
    arguments = {targets.get(path, path): _reverse(names) for path, names in ARGUMENTS.items()}
    values = {
        targets.get(path, path): {key: _reverse(names) for key, names in of.items()} for path, of in VALUES.items()
    }
    return _reverse(KEYS), parts, targets, arguments, values


def line(logged: Node) -> Node:
    """Return a line of metrics.jsonl in current names."""
    if "judge" in as_dict(logged):
        return {"sample_metrics" if key == "judge" else key: value for key, value in logged.items()}
    return logged


def evaluation(found: Node) -> Node:
    """Return an evaluation whose protocol has the current names of metrics and classes."""
    made = found["protocol"]
    parts = {key: _nodes(made[key]) for key in ("sampler", "grid", "guidance", "data", "average") if key in made}
    if metrics := as_dict(made.get("metrics")):
        parts["metrics"] = {PARTS["metrics"].get(name, name): _metric(of) for name, of in metrics.items()}
    return found | {"protocol": made | parts}


def spelled(word: str) -> str:
    """Return `key=value` of a command line in current names.

    `images=` has two meanings: for `sample` it is now `save=`, for `evaluate` it is still a folder.
    """
    key, equals, value = word.partition("=")
    top, dot, rest = key.partition(".")
    if not equals or (top == "images" and value not in ("png", "npz", "none")):
        return word
    part, inner, argument = rest.partition(".")
    part = PARTS.get(top, {}).get(part, _ARGUMENTS_OF.get(top, {}).get(part, part))
    top = KEYS.get(top, top)
    names = CHOICES.get(top, {})
    if dot:  # of an argument: only those of callbacks have values that changed
        names = next((of[argument] for of in VALUES.values() if top == "callbacks" and argument in of), {})
    value = re.sub(r"[\w.-]+", lambda found: names.get(found[0], found[0]), value)
    return f"{top}{dot}{part}{inner}{argument}={value}"


def _metric(of: Node) -> Node:
    if not as_dict(of):
        return of
    path = TARGETS.get(f"mezzotint.metrics.{of.get('metric')}", "")
    name = path.rpartition(".")[2] or of.get("metric")
    marked = {"of_reference": True} if name == "SplitHalfFrechet" else {}
    return of | {"metric": name} | marked if path or marked else of


def _nodes(value: Node) -> Node:
    return _translated({"node": value}, {}, {}, TARGETS, ARGUMENTS, VALUES)["node"]


def _value(value: Node, names: dict[str, str]) -> Node:
    return [_value(item, names) for item in value] if isinstance(value, list) else _renamed(value, names)


def _renamed(name: Node, names: dict[str, str]) -> Node:
    return names.get(name, name) if isinstance(name, str) else name


def _reverse(names: dict[str, str]) -> dict[str, str]:
    return {new: old for old, new in names.items()}


def _translated(
    config: Node,
    keys: dict[str, str],
    parts: dict[str, dict[str, str]],
    targets: dict[str, str],
    arguments: dict[str, dict[str, str]],
    values: dict[str, dict[str, dict[str, str]]],
) -> Node:
    def walk(node: Node) -> Node:
        match node:
            case list():
                return [walk(item) for item in node]
            case dict():
                return translated(node)
        return node

    def translated(node: dict[Any, Node]) -> dict[Any, Node]:
        path = _renamed(node.get("_target_"), targets)
        names = arguments.get(str(path), {})
        found = {names.get(key, key): walk(item) for key, item in node.items()}
        if "_target_" in found:
            found["_target_"] = path
        for key, known in values.get(str(path), {}).items():
            if key in found:
                found[key] = _value(found[key], known)
        return found

    if not as_dict(config):
        return config
    both = {key for key, new in keys.items() if new in config}  # `images` has another meaning beside `save`
    found = {key if key in both else _renamed(key, keys): walk(value) for key, value in config.items()}
    for group, names in parts.items():
        if nodes := as_dict(found.get(group)):
            found[group] = {names.get(name, name): node for name, node in nodes.items()}
    return found
