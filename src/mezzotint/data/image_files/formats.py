"""Image formats by content: the supported ones, and names for those that are not."""

from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath

from PIL import Image

from mezzotint.data.image_files.stored import StoredImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")  # Pillow's names
PACKAGES = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}  # plugins for Pillow, if installed
CURES = {
    "HEIC": "`pip install pillow-heif` reads it",
    "JPEG XL": "`pip install pillow-jxl-plugin` reads it",
    "AVIF": "`pip install 'pillow>=11.3'` reads it",
    "a Git LFS pointer": "`git lfs pull` fetches it",
}
CONVERT = "convert it to PNG or JPEG"


def endings(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


# files with these endings are opened without checking their content first
SUFFIXES = endings("jpg jpeg jpe jfif png apng webp gif bmp dib tif tiff avif ppm pgm pbm pnm jp2 j2k j2c jpx jpf")
# raw camera files: TIFF by content, of which Pillow would read a thumbnail
RAW = endings("3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f")
OTHER = endings(
    "heic heif hif jxl jxr psd psb xcf svg eps ps emf wmf ico cur icns tga icb vda vst exr hdr pfm qoi dds blp bpg "
    "pcx dcx sgi bw rgb rgba im ras pcd pict pct xbm xpm msp fits dcm"
)
HEAD = 64  # bytes that identify a format


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the supported formats that this Pillow and its plugins decode.

    No other format is opened; PostScript, for example, would start another program.
    """
    Image.init()
    for package in PACKAGES.values():
        if find_spec(package):
            with suppress(ImportError):
                module = import_module(package)
                if package == "pillow_heif":
                    module.register_heif_opener()
    return tuple(name for name in (*FORMATS, *PACKAGES) if name in Image.OPEN)


def readable() -> frozenset[str]:
    """Return the supported formats, named as by `identify`."""
    names = {"WEBP": "WebP", "JPEG2000": "JPEG 2000", "HEIF": "HEIC", "JXL": "JPEG XL"}
    return frozenset(names.get(name, name) for name in formats())


def identify(head: bytes) -> str:
    """Return the format of a file by its first bytes; empty if it is not an image."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:2] == b"BM" and head[14:18] in (bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 64, 108, 124)):
        return "BMP"
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4]), len(head)), 4))]
        if any(brand in (b"avif", b"avis") for brand in brands):
            return "AVIF"
        return "HEIC" if any(brand in (b"heic", b"heix", b"hevc", b"heim", b"mif1") for brand in brands) else ""
    return next((name for name, begins in SIGNATURES if head.startswith(begins)), "")


SIGNATURES = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("GIF", (b"GIF87a", b"GIF89a")),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("JPEG 2000", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    ("JPEG XL", (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    ("Photoshop", b"8BPS"),
    ("PostScript", (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    ("OpenEXR", b"\x76\x2f\x31\x01"),
    ("SVG", b"<svg"),
    ("PDF", b"%PDF"),
    ("a Git LFS pointer", b"version https://git-lfs"),
)


def format_of(file: StoredImage) -> str:
    """Return the format of a file by its content; empty if it is not an image or cannot be read."""
    try:
        with file.open("rb") as opened:
            return identify(opened.read(HEAD))
    except OSError:
        return ""


def unread(file: StoredImage) -> str | None:
    """Return why an image is unsupported, empty if it is supported; None if it is not an image by name or content."""
    suffix = PurePath(file.name).suffix.lower()
    if suffix in SUFFIXES:
        return ""
    if suffix in RAW:
        return f"a camera's raw file: {CONVERT}"
    found = format_of(file)
    if found in readable():
        return ""
    if suffix not in OTHER and found not in CURES:
        return None
    return f"{found or suffix.removeprefix('.').upper()}: {CURES.get(found, CONVERT)}"


def in_line(file: StoredImage) -> str:
    """Return a file name with line breaks escaped, for one-line messages."""
    return str(file).replace("\n", "\\n")
