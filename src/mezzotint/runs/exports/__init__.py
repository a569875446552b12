"""A trained denoiser in the formats of other programs, each a folder laid out as a model hub expects it."""
