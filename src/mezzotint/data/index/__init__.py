"""Indexes of large sets of images: what a start must know of every image, scanned once and then memory-mapped.

`scan.py` lists a folder, `headers.py` finds the size of an image in its first bytes, `preparation.py` reads every image
once and can be killed and continued, `file.py` is the file, and `images.py` the images of a split.
"""
