"""Metrics of samples and models, and the protocol that makes their values comparable.

An extractor turns uint8 images into features. A feature metric is a `torchmetrics.Metric` over one extractor that takes
real and generated images and can be used in any Lightning code; other metrics read the model itself. `evaluate`
computes any number of metrics in one pass and records the protocol. A Frechet distance is called FID only over
published Inception features of enough images.

    extractor = DigitsClassifier()
    frechet = FrechetDistance(extractor)
    frechet.update(real_uint8, real=True)
    frechet.update(generated_uint8, real=False)
    print(frechet.reported_name(1797), frechet.compute())

Names are imported on first use: importing this package loads neither torchmetrics nor torchvision.
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
        "extractors.simple": "ModuleFeatures RawFeatures SpectralFeatures",
        "extractors.auto": "AutoExtractor",
        "extractors.joint": "JointExtractor",
        "frechet.fid": "FrechetDistance",
        "mmd": "CMMD KernelDistance",
        "frechet.split_half": "SplitHalfFrechet",
        "frechet.per_class": "FrechetPerClass",
        "frechet.bootstrap": "FrechetBootstrap",
        "frechet.infinity": "FrechetInfinity",
        "frechet.mifid": "MiFID",
        "frechet.ratio": "FrechetRatio",
        "inception_score": "InceptionScore",
        "neighbours.manifold": "DensityCoverage PrecisionRecall",
        "likelihood": "NegativeLogLikelihood",
        "statistics_file": "StatisticsFile",
        "evaluation": "Evaluation evaluate over_seeds",
        "references": "load_references",
        "paired.base": "PairedMetric",
        "paired.fidelity": "PSNR SSIM",
        "paired.retrieval": "Retrieval",
        "metric": "Context Error EvaluatedModel ImageTable Measured Metric Scores short_count",
        "feature_metric": "FeatureMetric feature_metrics",
        "accumulators": "FeatureReservoir MomentSums",
        "neighbours.search": "Neighbours find_neighbours neighbour_table",
        "neighbours.memorisation": "Memorisation MemorisationResult memorised",
    },
)
