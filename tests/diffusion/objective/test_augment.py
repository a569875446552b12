"""Augmented images against changes made by hand, what the network is told, and that only training has any of it."""

import math

import pytest
import torch

from mezzotint.diffusion import Clean, Denoiser, GeometricAugmentation, KeyedRandom, LinearSchedule, Objective

N = 4000


def images(n: int = N, size: tuple[int, int] = (8, 8)) -> torch.Tensor:
    return KeyedRandom(1, torch.arange(n)).normal("images", (2, *size)).double()


def labels_and_maps(probability: float = 0.12) -> tuple[torch.Tensor, torch.Tensor]:
    return GeometricAugmentation(probability).sample(KeyedRandom(0, torch.arange(N)), torch.Size((8, 8)))


def test_each_change_is_as_frequent_as_it_says():
    told, _ = labels_and_maps()
    share = (told != 0).double().mean(0)
    wanted = torch.tensor([0.06, 0.06] + [0.12] * 7).double()
    assert ((share - wanted).abs() < 5 * (wanted * (1 - wanted) / N).sqrt()).all()
    assert not labels_and_maps(0.0)[0].any()


def test_an_image_that_is_told_to_be_unchanged_is():
    x = images()
    changed, told = GeometricAugmentation()(x, KeyedRandom(0, torch.arange(N)))
    same = (told == 0).all(1)
    assert 0.4 < same.double().mean() < 0.6
    assert torch.equal(changed[same], x[same])
    assert not (changed[~same] == x[~same]).flatten(1).all(1).any()
    assert (changed - x)[~same].square().mean() > 0.5


def test_mirrors_are_mirrors():
    x = images()
    changed, told = GeometricAugmentation(0.3)(x, KeyedRandom(0, torch.arange(N)))
    alone = (told[:, 2:] == 0).all(1)
    for wanted, dims in (((1, 0), [-1]), ((0, 1), [-2]), ((1, 1), [-1, -2])):
        chosen = alone & (told[:, :2] == torch.tensor(wanted)).all(1)
        assert chosen.any()
        torch.testing.assert_close(changed[chosen], x[chosen].flip(dims), rtol=0.0, atol=1e-9)


def test_maps_are_what_is_told():
    told, theta = labels_and_maps(0.4)
    area = 2.0 ** (-0.4 * told[:, 2]) * (1 - 2 * told[:, 0]) * (1 - 2 * told[:, 1])
    torch.testing.assert_close(torch.linalg.det(theta[:, :, :2]), area)
    torch.testing.assert_close(theta[:, :, 2], 0.25 * told[:, 7:])
    turned = (told[:, [0, 1, 2, 5, 6]] == 0).all(1)
    torch.testing.assert_close(theta[turned, 0, 0], 1 + told[turned, 3])
    torch.testing.assert_close(theta[turned, 1, 0], told[turned, 4])
    spread = torch.linalg.svdvals(theta[:, :, :2])
    w = told[:, 5:7].norm(dim=1)
    torch.testing.assert_close(spread[:, 0] / spread[:, 1], 2.0 ** (0.4 * w))


def test_turning_keeps_lengths_on_images_that_are_not_square():
    draws = KeyedRandom(0, torch.arange(N))
    told, theta = GeometricAugmentation(0.4).sample(draws, torch.Size((4, 12)))
    turned = (told[:, [0, 1, 2, 5, 6]] == 0).all(1) & (told[:, 3] != 0)
    sides = torch.tensor([12.0, 4.0]).double()
    linear = theta[turned, :, :2] * sides[:, None] / sides
    torch.testing.assert_close(linear @ linear.mT, torch.eye(2).double().expand_as(linear))


def test_the_change_of_an_image_is_its_own():
    x = images(20)
    whole = GeometricAugmentation(0.5)(x, KeyedRandom(0, torch.arange(20)))
    part = GeometricAugmentation(0.5)(x[5:9], KeyedRandom(0, torch.arange(5, 9)))
    for all_of, some in zip(whole, part, strict=True):
        torch.testing.assert_close(all_of[5:9], some)


class Net(torch.nn.Module):
    told: torch.Tensor | None = None

    def forward(self, x, time, augment=None):
        self.told = augment
        return torch.zeros_like(x)


def test_the_network_is_told_in_training_alone():
    objective, net, draws = Objective(augment=GeometricAugmentation(0.5)), Net(), KeyedRandom(0, torch.arange(30))
    denoiser, x = Denoiser(net, LinearSchedule(), Clean()), images(30)
    loss = objective(denoiser, x, draws)
    changed, told = GeometricAugmentation(0.5)(x, draws)
    assert torch.equal(net.told, told)
    torch.testing.assert_close(loss, changed.square().flatten(1).mean(1))
    loss = objective(denoiser.eval(), x, draws)
    assert net.told is None
    torch.testing.assert_close(loss, x.square().flatten(1).mean(1))


def test_a_probability_is_a_share():
    with pytest.raises(ValueError, match=r"probability=1.5: give a number from 0 to 1"):
        GeometricAugmentation(1.5)
    assert math.isclose(GeometricAugmentation().probability, 0.12)
