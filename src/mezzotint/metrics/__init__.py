"""The room of metrics: how far drawn images are from real ones, and what made the number.

An extractor turns uint8 images into features; a metric is a `torchmetrics.Metric` over one extractor that takes real
and drawn images and can be used in anyone's Lightning code; `evaluate` runs many metrics in one pass and writes the
protocol beside the values. A Frechet distance is called FID only over Inception features of enough images.

    extractor = DigitsClassifier()
    frechet = FrechetDistance(extractor)
    frechet.update(real_uint8, real=True)
    frechet.update(generated_uint8, real=False)
    print(frechet.reported_name(1797), frechet.compute())

Names are imported when they are first used: naming this room loads neither torchmetrics nor torchvision.
"""

from mezzotint.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "extractors.base": "Extractor",
        "extractors.digits_classifier": "DigitsClassifier",
        "extractors.inception": "InceptionV3",
        "extractors.effnet": "EfficientNet",
        "extractors.dinov2": "DINOv2",
        "extractors.clip": "CLIP",
        "extractors.auto": "AutoExtractor",
        "frechet.fid": "FrechetDistance",
        "mmd": "CMMD KernelDistance",
        "frechet.split_half": "SplitHalfFrechet",
        "frechet.per_class": "FrechetPerClass",
        "frechet.bootstrap": "FrechetBootstrap",
        "frechet.infinity": "FrechetInfinity",
        "frechet.mifid": "MiFID",
        "inception_score": "InceptionScore",
        "neighbours.manifold": "DensityCoverage PrecisionRecall",
        "likelihood": "NegativeLogLikelihood",
        "statistics_file": "StatisticsFile",
        "evaluation": "Evaluation evaluate over_seeds",
        "references": "load_references",
        "metric": "Context Error EvaluatedModel ImageTable Measured Metric short_count",
        "feature_metric": "FeatureMetric feature_metrics",
        "accumulators": "FeatureReservoir MomentSums",
        "neighbours.search": "Neighbours find_neighbours neighbour_table",
        "neighbours.memorisation": "Memorisation MemorisationResult memorised",
    },
)
