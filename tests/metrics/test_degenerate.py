"""Every metric on sets without spread, with copies and with hardly an image: a finite value, a note, or one line."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mezzotint.data.image_set import TensorImages
from mezzotint.errors import ConfigError
from mezzotint.metrics import (
    CMMD,
    DensityCoverage,
    DigitsClassifier,
    FrechetBootstrap,
    FrechetDistance,
    FrechetInfinity,
    FrechetPerClass,
    InceptionScore,
    KernelDistance,
    MiFID,
    PrecisionRecall,
    SplitHalfFrechet,
    evaluate,
)

MADE = DigitsClassifier()
METRICS: dict[str, Callable[[], object]] = {
    "frechet": lambda: FrechetDistance(MADE),
    "kernel": lambda: KernelDistance(MADE, subsets=5, size=50),
    "cmmd": lambda: CMMD(MADE),
    "halves": lambda: SplitHalfFrechet(MADE),
    "by_class": lambda: FrechetPerClass(MADE, 10),
    "error": lambda: FrechetBootstrap(MADE, repeats=4),
    "infinity": lambda: FrechetInfinity(MADE),
    "mifid": lambda: MiFID(MADE),
    "inception_score": lambda: InceptionScore(MADE),
    "precision_recall": lambda: PrecisionRecall(MADE),
    "density_coverage": lambda: DensityCoverage(MADE),
}
ZERO = ("frechet", "kernel", "cmmd", "mifid")  # of two sets that are one image each


def sets(pixels: Tensor) -> dict[str, Tensor]:
    alike, black = pixels[:1].expand(40, -1, -1, -1), torch.zeros_like(pixels[:40])
    few = {f"{n}": pixels[:n] for n in (0, 1, 2, 40)}
    return few | {"alike": alike, "black": black, "copies": pixels[:8].repeat(5, 1, 1, 1)}


@pytest.mark.parametrize("name", METRICS)
def test_a_finite_value_a_note_or_one_line(name: str, digit_pixels: Tensor) -> None:
    for real_kind, real in sets(digit_pixels).items():
        for drawn_kind, drawn in sets(digit_pixels).items():
            labels = [torch.arange(len(images)) % 10 for images in (real, drawn)]
            try:
                found = evaluate(
                    [(drawn, labels[1])], TensorImages(real, labels[0]), {"it": METRICS[name]()}, len(drawn)
                )
            except ConfigError as error:
                assert "\n" not in str(error), (real_kind, drawn_kind)  # noqa: PT017
                assert min(len(real), len(drawn)) < 10, (real_kind, drawn_kind)
                continue
            numbers = [*found.values.values(), *found.errors.values()]
            assert all(map(math.isfinite, numbers)), (real_kind, drawn_kind)
            assert numbers or any("no value for class" in note for note in found.notes), (real_kind, drawn_kind)
            if name in ZERO and real_kind == drawn_kind == "alike":
                assert next(iter(found.values.values())) == pytest.approx(0, abs=1e-9)


def test_two_sets_of_one_image_each_are_as_far_apart_as_the_two_features(digit_pixels: Tensor) -> None:
    given = sets(digit_pixels)
    value = evaluate([given["black"]], TensorImages(given["alike"]), {"it": FrechetDistance(MADE)}, 40).values[
        "fd_digits_40"
    ]
    one, other = (MADE(given[kind][:1]).double() for kind in ("alike", "black"))
    assert value == pytest.approx(float((one - other).square().sum()), rel=1e-7)
    made = PrecisionRecall(MADE), DensityCoverage(MADE)
    both = evaluate([given["alike"]], TensorImages(given["alike"]), dict(enumerate(made)), 40).values
    assert list(both.values()) == pytest.approx([1, 1, 1, 1])
    apart = evaluate([given["black"]], TensorImages(given["alike"]), dict(enumerate(made)), 40).values
    assert list(apart.values()) == [0, 0, 0, 0]
