"""Image files on disk: formats, integrity, listing, decoding, resizing."""
