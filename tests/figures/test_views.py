"""Pictures of series, fields and volumes; images are their own."""

import pytest
import torch

from mezzotint.data import PixelCodec, StandardizeCodec
from mezzotint.figures import as_frames, as_images, table_as_images
from mezzotint.figures.grid_layout import HEIGHT, picture_shape
from mezzotint.figures.views import INKS, PAPER

SHAPES = ((1, 1), (2, 7), (3, 300), (5, 6, 8), (1, 3, 4, 5), (3, 6, 4, 5), (6, 2, 4, 5))


def codec(channels: int) -> StandardizeCodec:
    return StandardizeCodec((10.0,) * channels, (2.0,) * channels)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_rank_has_a_picture_of_the_announced_shape(shape):
    stored = 10 + 2 * torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    pictures = as_images(stored, codec(shape[0]))
    assert pictures.dtype == torch.uint8
    assert pictures.shape == (4, *picture_shape(shape))
    table = table_as_images(torch.stack([stored, stored]), codec(shape[0]))
    assert torch.equal(table[0], pictures)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_their_own_picture(channels):
    pixels = torch.randint(0, 256, (2, channels, 5, 6), dtype=torch.uint8)
    assert as_images(pixels, PixelCodec()) is pixels


def test_a_line_lies_at_its_value():
    flat = torch.full((1, 1, 100), 10.0)  # the mean: the middle of three deviations either way
    picture = as_images(flat, codec(1))[0]
    inked = (picture != PAPER).any(0)
    assert inked.sum(0).tolist() == [1] * 100
    assert set(inked.nonzero()[:, 0].tolist()) == {round((HEIGHT - 1) / 2)}
    assert picture[:, inked].unique(dim=1).flatten().tolist() == list(INKS[0])
    step = torch.cat([torch.full((1, 1, 50), 4.0), torch.full((1, 1, 50), 16.0)], -1)
    columns = (as_images(step, codec(1))[0] != PAPER).any(0)
    assert columns[:, 50].all()
    assert columns[HEIGHT - 1, :50].all()
    assert columns[0, 50:].all()


def test_bounds_are_black_and_white():
    bounded = StandardizeCodec((10.0,) * 5, (2.0,) * 5, low=0.0, high=20.0)
    field = torch.stack([torch.full((4, 4), value) for value in (0.0, 20.0, 10.0, 0.0, 20.0)])[None]
    picture = as_images(field, bounded)[0, 0]
    assert picture[0, ::4].tolist() == [0, 255, 128, 0]


def test_slices_have_a_white_pixel_between_them():
    video = torch.arange(0, 256, 64, dtype=torch.uint8).view(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 3)
    picture = as_images(video, PixelCodec())[0, 0]
    assert picture[0].tolist() == [0] * 3 + [255] + [64] * 3 + [255] + [128] * 3 + [255] + [192] * 3
    assert torch.equal(picture[0], picture[1])


def test_a_video_is_shown_as_far_as_it_fits_and_a_deep_volume_in_even_parts():
    depths = torch.arange(100, dtype=torch.uint8).view(1, 1, 100, 1, 1)
    narrow = as_images(depths.expand(1, 1, 100, 2, 16), PixelCodec())[0, 0, 0, ::17]
    assert len(narrow) == 256 // 16
    assert narrow.tolist() == [int((i + 0.5) * 100 / 16) for i in range(16)]
    wide = as_images(depths.expand(1, 1, 100, 2, 200), PixelCodec())[0, 0, 0, ::201]
    assert wide.tolist() == [12, 37, 62, 87]


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_an_animation_shows_every_frame(channels):
    video = torch.randint(0, 256, (5, channels, 7, 3, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames = as_frames(video, PixelCodec())
    assert frames.shape[:2] == (7, 5)
    for depth in range(7):
        shown = video[:, :, depth] if channels == 3 else video[:, :4, depth].flatten(1, 2)[:, None]
        assert torch.equal(frames[depth], shown)
