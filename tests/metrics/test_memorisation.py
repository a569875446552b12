"""The memorisation check catches copies and leaves new images alone."""

import pytest
import torch

from mezzotint.data import Digits, PixelScaling
from mezzotint.diffusion import DDIM, CosineSchedule, Trailing, sample
from mezzotint.diffusion.exact import ExactMixture
from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics import Context, DigitsClassifier, EvaluatedModel, Memorisation, evaluate, memorised


@pytest.fixture(scope="module")
def parts():
    """Training images, held-out ones, and 600 more that neither has seen."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    everything = Digits().split("all")
    return [everything.take(part) for part in order.split([600, 597, 600])]


def test_new_images_are_as_far_as_held_out_ones(parts):
    training, held_out, new = parts
    found = memorised(new.pixels, training, held_out, DigitsClassifier())
    assert found.share == pytest.approx(found.level, abs=0.03)
    assert found.nearer == pytest.approx(0.5, abs=0.05)
    fair = memorised(held_out.pixels, training, held_out, DigitsClassifier()).distances
    pairs = (found.distances[:, None] < fair).double().mean() + (found.distances[:, None] == fair).double().mean() / 2
    assert found.nearer == pytest.approx(float(pairs), abs=1e-12)
    assert memorised(held_out.pixels, training, held_out, DigitsClassifier()).nearer == pytest.approx(0.5, abs=1e-12)


def test_noisy_copies_are_caught_and_their_originals_found(parts):
    training, held_out, _ = parts
    noise = 4 * torch.randn(training.pixels.shape, generator=torch.Generator().manual_seed(1))
    copies = (training.pixels + noise).round().clamp(0, 255).to(torch.uint8)
    found = memorised(copies, training, held_out, DigitsClassifier())
    assert found.share > 0.95
    assert found.nearer > 0.99
    assert (found.neighbours == torch.arange(600)).double().mean() > 0.99
    assert found.lines()[0].startswith("100.0% of the samples")


def test_a_model_that_copies_a_third_of_the_time(parts):
    training, held_out, new = parts
    drawn = torch.cat([training.pixels[:200], new.pixels[:400]])
    found = memorised(drawn, training, held_out, DigitsClassifier())
    assert found.share == pytest.approx(1 / 3 + 2 / 3 * 0.05, abs=0.03)
    worst = found.worst(5)
    assert torch.equal(drawn[worst], training.pixels[found.neighbours[worst]])
    assert found.distances[worst].max() <= found.distances.kthvalue(5).values
    assert found.typical > found.distances.median()


def test_a_model_that_knows_nothing_but_its_training_images(parts):
    """What a model over-fitted on 64 digits comes to: the exact denoiser of 64 points draws only these."""
    training, held_out = parts[0].take(torch.arange(64)), parts[1]
    points = PixelScaling().to_float(training.pixels).double()
    model = ExactMixture(
        CosineSchedule(), points, torch.zeros(64, 1, 1, 1).double(), torch.full((64,), 1 / 64).double()
    )
    eps = torch.randn(200, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = PixelScaling().to_uint8(sample(model, DDIM(), Trailing(20), eps))
    found = memorised(drawn, training, held_out, DigitsClassifier())
    assert found.share > 0.95
    assert found.nearer > 0.95
    assert len(found.neighbours.unique()) > 40


def test_the_same_model_with_as_much_noise_as_the_digits_differ_is_no_copy(parts):
    """Points blurred by a standard deviation of 0.5 in [-1, 1]: worse images, and none of them a copy."""
    training, held_out = parts[0].take(torch.arange(64)), parts[1]
    points = PixelScaling().to_float(training.pixels)
    noise = 0.5 * torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    found = memorised(PixelScaling().to_uint8(points + noise), training, held_out, DigitsClassifier())
    assert found.share < 0.2


def test_the_check_looks_at_so_many_and_names_extractor_and_number(parts):
    training, held_out, new = parts
    check = Memorisation(DigitsClassifier(), images=200)
    assert check.count(500) == 200
    splits = {"train": training, "test": held_out}
    model = EvaluatedModel(None, splits.__getitem__, lambda count, advance: new.pixels[:count])
    found = memorised(new.pixels[:200], training, held_out, DigitsClassifier())
    done = evaluate((), training, {"memorisation": check}, 500, model=model)
    assert done.values == {"copied_digits_200": found.share, "copied_nearer_digits_200": found.nearer}
    made = done.protocol["metrics"]["memorisation"]
    assert (made["count"], made["training"]["count"], made["held_out"]["count"]) == (200, 600, 597)
    assert done.pictures["memorisation"].images.shape == (2, 10, 1, 8, 8)
    assert check.settings()["level"] == 0.05
    with pytest.raises(ValueError, match="level=0"):
        Memorisation(DigitsClassifier(), level=0)


def test_a_dataset_that_holds_nothing_out_is_refused(parts):
    check = Memorisation(DigitsClassifier())
    check.validate(Context(9, 600, EvaluatedModel(None, {"train": parts[0], "test": parts[1]}.__getitem__)))
    with pytest.raises(DataError, match=r"holds none out.*data\.held_out"):
        check.validate(Context(9, 600, EvaluatedModel(None, lambda split: parts[0])))
    with pytest.raises(ConfigError, match=r"the examples that the model was trained on.*run=DIR"):
        check.validate(Context(9, 600))
