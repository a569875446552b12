"""Feature extractors: uint8 images to features, with their published preprocessing."""
