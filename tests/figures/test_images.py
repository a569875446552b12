import subprocess
import sys

import numpy as np
import pytest
import torch

from mezzotint.figures import film_strip, gif, grid, show


def block(value: int, channels: int = 1, size: int = 64) -> torch.Tensor:
    return torch.full((channels, size, size), value, dtype=torch.uint8)


def test_a_grid_is_in_reading_order_on_white_paper():
    images = torch.stack([block(10 * i) for i in range(6)])
    picture = np.asarray(grid(images, columns=3))
    gap, size = 4, 64
    assert picture.shape == (gap + 2 * (size + gap), gap + 3 * (size + gap), 3)
    middles = picture[gap + size // 2 :: size + gap, gap + size // 2 :: size + gap, 0]
    assert middles.tolist() == [[0, 10, 20], [30, 40, 50]]
    assert (picture[:gap] == 255).all()
    assert (picture[:, :gap] == 255).all()


def test_small_images_are_enlarged_by_a_whole_number():
    image = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    picture = np.asarray(grid(image))[..., 0]
    body = picture[3:-3, 3:-3]
    assert body.shape == (48, 48)
    assert (body.reshape(8, 6, 8, 6) == image[0, 0].numpy()[:, None, :, None]).all()
    assert np.asarray(grid(torch.zeros(1, 3, 200, 60, dtype=torch.uint8))).shape[0] == 200 + 2 * (200 // 16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels(channels):
    picture = np.asarray(grid(torch.stack([block(i * 30, 1)[0] for i in range(channels)])[None]))
    expected = [[0, 0, 0], [0, 30, 0], [0, 30, 60], [0, 30, 60]][channels - 1]
    assert picture[32, 32].tolist() == expected


def test_labels_are_written_below():
    images = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    plain, labelled = np.asarray(grid(images)), np.asarray(grid(images, labels=torch.tensor([3, 7])))
    assert labelled.shape[0] == plain.shape[0] + 12
    assert (labelled[68:80] < 128).any()
    with pytest.raises(ValueError, match="3 labels for 2 images"):
        grid(images, labels=[1, 2, 3])


def test_a_film_strip_has_a_row_for_the_state_and_one_for_the_estimate():
    frames = torch.arange(6, dtype=torch.uint8).view(3, 2, 1, 1, 1).expand(3, 2, 1, 64, 64)
    picture = np.asarray(film_strip(frames, frames + 100))[36::68, 36::68, 0]
    assert picture.tolist() == [[0, 2, 4], [100, 102, 104], [1, 3, 5], [101, 103, 105]]
    assert np.asarray(film_strip(frames)).shape[0] == 4 + 2 * 68
    with pytest.raises(ValueError, match=r"one shape \(F, B, C, H, W\)"):
        film_strip(frames, frames[:2])


def test_a_gif_has_all_frames_and_rests_at_the_end(tmp_path):
    from PIL import Image

    frames = (torch.arange(5) * 40).to(torch.uint8).view(5, 1, 1, 1, 1).expand(5, 4, 1, 8, 8)
    with Image.open(gif(frames, tmp_path / "film.gif", seconds=1.0)) as film:
        assert film.n_frames == 5
        assert film.size == (3 * 105, 3 * 105)  # two images a side, enlarged so that they can be watched
        durations = []
        for i in range(5):
            film.seek(i)
            durations.append(film.info["duration"])
    assert durations == [200, 200, 200, 200, 1200]


def test_show_takes_floats_and_bytes():
    x = torch.linspace(-1.2, 1.2, 64).view(1, 8, 8)
    floats = np.asarray(show(x))
    assert (floats.min(), floats.max()) == (0, 255)
    assert (np.asarray(show(x[None])) == floats).all()
    pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    assert (np.asarray(show(pixels)) == floats).all()
    assert (np.asarray(show(x.requires_grad_())) == floats).all()


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(1, 1, 8, 8), "uint8 images"),
        (torch.zeros(8, 8, dtype=torch.uint8), "uint8 images"),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), "at least one image"),
    ],
)
def test_what_is_no_picture(images, says):
    with pytest.raises(ValueError, match=says):
        grid(images)


def test_importing_generation_is_cheap():
    code = (
        "import sys, mezzotint.generation;"
        "heavy = {'lightning', 'torchvision', 'PIL', 'matplotlib'} & sys.modules.keys();"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
