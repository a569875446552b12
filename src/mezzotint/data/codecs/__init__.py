"""Codecs: conversions between data as they are stored and the numbers that networks work on.

Whatever is particular to a kind of data is asked of its codec: the range of x, whether values are clipped, how many of
them there are, whether an example is an image. To add one: one file here, one name in `mezzotint.data`, one file in
configs/codec.
"""
