"""Derives src/mezzotint/data/assets/emoji.webp, emoji.json and emoji_names.txt from npm's emoji-datasource-twitter.

    npm pack emoji-datasource-twitter@16.0.0 && tar xzf emoji-datasource-twitter-16.0.0.tgz
    python scripts/make_emoji.py package

The package's sheet holds one emoji of 32 x 32 in every cell of 34 x 34. Of its 1,911 base emoji (without skin tones)
the five of the category "Component", which are the bare skin tones, are left out: 1,906 in nine categories remain, in
the order of Unicode's charts. They are laid on white, and each channel is rounded to 6 bits (at most 2 of 255 off),
which brings the lossless sheet from 1.46 MB to 0.96 MB.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ASSETS = Path(__file__).parents[1] / "src" / "mezzotint" / "data" / "assets"
CELL, SIZE, COLUMNS = 34, 32, 48


def main(package: Path) -> None:
    listed = json.loads((package / "emoji.json").read_text())
    kept = [emoji for emoji in listed if emoji["has_img_twitter"] and emoji["category"] != "Component"]
    kept.sort(key=lambda emoji: emoji["sort_order"])
    categories = sorted({emoji["category"] for emoji in kept})
    tiles = cut(package / "img" / "twitter" / "sheets" / "32.png", kept)
    steps = 255 / 63
    sheet = lay_out(np.rint(np.rint(tiles / steps) * steps).astype(np.uint8))
    sheet.save(ASSETS / "emoji.webp", lossless=True, quality=100, method=6)
    about = {
        "categories": categories,
        "labels": [categories.index(emoji["category"]) for emoji in kept],
    }
    (ASSETS / "emoji.json").write_text(json.dumps(about, separators=(",", ":"), ensure_ascii=False) + "\n")
    names = "".join(f"{emoji['name'].lower()}\n" for emoji in kept)
    (ASSETS / "emoji_names.txt").write_text(names, encoding="utf-8")
    size = (ASSETS / "emoji.webp").stat().st_size
    print(f"{len(kept)} of {len(listed)} emoji, {len(categories)} categories, {size} bytes")


def cut(sheet: Path, kept: list[dict]) -> np.ndarray:
    """(N, 32, 32, 3) uint8, on white."""
    transparent = Image.open(sheet).convert("RGBA")
    white = Image.new("RGBA", transparent.size, "white")
    white.alpha_composite(transparent)
    pixels = np.asarray(white.convert("RGB"))
    corners = [(emoji["sheet_y"] * CELL + 1, emoji["sheet_x"] * CELL + 1) for emoji in kept]
    return np.stack([pixels[y : y + SIZE, x : x + SIZE] for y, x in corners])


def lay_out(tiles: np.ndarray) -> Image.Image:
    """Row by row, 48 in a row, the rest of the last row white."""
    rows = -(-len(tiles) // COLUMNS)
    full = np.full((rows * COLUMNS, SIZE, SIZE, 3), 255, np.uint8)
    full[: len(tiles)] = tiles
    return Image.fromarray(
        full.reshape(rows, COLUMNS, SIZE, SIZE, 3).swapaxes(1, 2).reshape(rows * SIZE, COLUMNS * SIZE, 3)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
