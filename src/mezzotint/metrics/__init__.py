"""The room of metrics: how far drawn images are from real ones, and what made the number.

An extractor turns uint8 images into features; a metric is a `torchmetrics.Metric` over one extractor that takes real
and drawn images and can be used in anyone's Lightning code; `evaluate` runs many metrics in one pass and writes the
protocol beside the values. A Frechet distance is called FID only over Inception features of enough images.

    extractor = DigitsClassifier()
    frechet = Frechet(extractor)
    frechet.update(real_uint8, real=True)
    frechet.update(drawn_uint8, real=False)
    print(frechet.label(1797), frechet.compute())

Names are imported when they are first used: naming this room loads neither torchmetrics nor torchvision.
"""

import importlib
from typing import Any

_HOMES = {
    "Extractor": "extractor",
    "DigitsClassifier": "digits",
    "Inception": "inception",
    "EffNet": "effnet",
    "DinoV2": "dinov2",
    "Clip": "clip",
    "Auto": "auto",
    "Frechet": "frechet",
    "Kernel": "kernel",
    "Cmmd": "cmmd",
    "Halves": "halves",
    "FrechetByClass": "frechet_by_class",
    "FrechetError": "frechet_error",
    "FrechetInfinity": "frechet_infinity",
    "MemorisationFrechet": "memorisation_distance",
    "InceptionScore": "inception_score",
    "PrecisionRecall": "precision_recall",
    "DensityCoverage": "density_coverage",
    "NegativeLogLikelihood": "likelihood",
    "StatisticsFile": "statistics_file",
    "evaluate": "evaluation",
    "Evaluation": "evaluation",
    "over_seeds": "evaluation",
    "load_references": "reference",
    "memorised": "memorisation",
    "Memorisation": "memorisation",
    "MemorisationCheck": "memorisation",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
