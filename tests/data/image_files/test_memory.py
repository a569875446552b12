"""Memory that decoding takes: estimates against measured peaks, and the bound over pictures and threads."""

import subprocess
import sys
import threading

import pytest
from PIL import Image, features

from mezzotint.data import ImageFolder
from mezzotint.data.image_files import decoder
from mezzotint.data.image_files.memory import MemoryBudget, needed
from mezzotint.errors import DataError

SIDE = 2048
MEASURE = """
import resource, sys
from pathlib import Path
from mezzotint.data.image_files.decoder import decode
file, small = map(Path, sys.argv[1:])
decode(small, (3, 8, 8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(file, (3, 8, 8))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
FILES = {
    "webp": ("RGB", {}),
    "transparent.webp": ("RGBA", {}),
    "lossless.webp": ("RGB", {"lossless": True}),
    "avif": ("RGB", {"subsampling": "4:4:4", "speed": 10}),
    "jp2": ("RGB", {}),
    "jpg": ("RGB", {}),
    "progressive.jpg": ("RGB", {"progressive": True, "subsampling": 0}),
    "png": ("RGB", {}),
    "transparent.png": ("RGBA", {}),
    "gif": ("P", {}),
    "lzw.tif": ("RGB", {"compression": "tiff_lzw"}),
    "strip.tif": ("RGB", {"compression": "tiff_lzw", "strip_size": 1 << 30}),
    "cmyk.tif": ("CMYK", {"compression": "tiff_lzw"}),
    "bmp": ("RGB", {}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_picture_takes_no_more_memory_than_its_header_tells(name, tmp_path):
    if name == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    mode, how = FILES[name]
    large, small = (tmp_path / f"{size}.{name}" for size in ("large", "small"))
    for file, side in ((large, SIDE), (small, 32)):
        Image.linear_gradient("L").resize((side, side)).convert(mode).save(file, **how)
    with decoder.opened(large) as image:
        told = needed(image, SIDE * SIDE)
    ran = subprocess.run([sys.executable, "-c", MEASURE, large, small], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 1.05 * told + 8e6


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_what_lies_in_memory_once_is_reckoned_once(suffix, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / f"a.{suffix}")
    with decoder.opened(tmp_path / f"a.{suffix}") as image:
        assert needed(image, 64 * 64) == 4 * 64 * 64


@pytest.mark.parametrize("limit", [0, 1 << 30])
@pytest.mark.parametrize("suffix", ["webp", "jp2", "bmp"])
def test_what_takes_more_memory_than_there_is_for_pictures_is_refused_by_its_size(suffix, limit, tmp_path, monkeypatch):
    for name, side in ((f"a.{suffix}", 512), ("b.png", 64)):
        Image.new("RGB", (side, side)).save(tmp_path / name)
    monkeypatch.setattr(decoder, "budget", MemoryBudget(600_000))
    dataset = ImageFolder(root=str(tmp_path), shape=(3, 16, 16), memory_limit=limit, held_out=0)
    with pytest.raises(DataError, match=rf"a\.{suffix} cannot be decoded \(decoding its 512 x 512 pixels as") as caught:
        dataset.split("train")
    assert "\n" not in str(caught.value)


def test_threads_together_stay_within_the_budget():
    budget, held, most = MemoryBudget(100), [0], [0]
    lock = threading.Lock()

    def work(wanted: int) -> None:
        with budget.reserve(wanted):
            with lock:
                held[0] += wanted
                most[0] = max(most[0], held[0])
            with lock:
                held[0] -= wanted

    threads = [threading.Thread(target=work, args=(wanted,)) for wanted in (60, 50, 100, 10, 90, 40) * 20]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 100
    assert budget.left == 100
