"""Datasets, and the order in which training visits them.

A dataset is a frozen description (`Digits()`, `ImageFolder(root=..., shape=(3, 64, 64))`); `split("train")` reads it
and returns an `ImageSource`: uint8 images (B, C, H, W) and labels, fetched by index in batches, with a content digest.
Datasets that fit are kept in memory as one tensor; large folders are decoded on demand. `DataModule` turns two splits
into batches for Lightning, in the endless order of `order.py`. A `Codec` turns stored examples into numbers for the
network and back: `PixelCodec` maps 0..255 to [-1, 1], `StandardizeCodec` measured quantities to unit deviation.

To add a dataset: one file here, one name below, one file in configs/data.
"""

from mezzotint.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "scaling": "PixelScaling",
        "codecs.base": "Codec",
        "codecs.pixels": "PixelCodec",
        "codecs.standardize": "StandardizeCodec",
        "codecs.latent": "LatentCodec",
        "codecs.autoencoder": "AutoencoderCodec",
        "image_set": "ImageSource TensorImages",
        "dataset": "Dataset coded_shape codec_of",
        "sources.digits": "Digits",
        "sources.digits_video": "DigitsVideo",
        "sources.mnist": "FashionMNIST MNIST",
        "sources.cifar": "CIFAR10 CIFAR100",
        "sources.emoji": "Emoji EmojiSentences",
        "sources.folder": "ImageFolder",
        "sources.containers": "LMDBImages ParquetImages TarImages ZipImages",
        "sources.npz": "NPZ",
        "sources.array": "ArrayFile",
        "sources.measured": "EEG Terrain",
        "sources.latents": "Latents",
        "datamodule": "DataModule",
    },
)
