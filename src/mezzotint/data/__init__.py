"""Datasets, and the order in which training sees them.

A dataset is a frozen description (`Digits()`, `ImageFolder(root=..., shape=(3, 64, 64))`); `split("train")` reads it
and gives `Images`: uint8 (B, C, H, W) and labels, asked for by index a whole batch at a time, with a digest of their
content. Sets that fit live in memory as one tensor; large folders are decoded when they are needed. `DataModule` turns
two splits into batches for Lightning, in the endless order of `order.py`. `Range` says how 0..255 becomes [-1, 1] and
back.

To add a dataset: one file here, one name below, one file in configs/data.
"""

import importlib
from typing import Any

_HOMES = {
    "Range": "range",
    "Images": "images",
    "InMemory": "images",
    "Dataset": "dataset",
    "Digits": "digits",
    "MNIST": "mnist",
    "FashionMNIST": "mnist",
    "CIFAR10": "cifar",
    "CIFAR100": "cifar",
    "Emoji": "emoji",
    "ImageFolder": "folder",
    "Npz": "npz",
    "DataModule": "datamodule",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"mezzotint.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mezzotint.data' has no attribute {name!r}")
