"""Diffusion transformers: patches become tokens, blocks of attention and MLP transform them, tokens become patches."""
