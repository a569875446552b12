"""Folders of latents: a manifest, and shards of moments for each image and the flipped image.

`mezzotint encode` writes them once, and `data=latents` trains from them:

    manifest.json             the autoencoder and the data by their hashes, shapes, the shards, moments of the channels
    train-00000.safetensors   "moments" (n, 2, 2 C, h, w): of an image and its mirror image, mean and log-variance
    test-00000.safetensors    of the held-out images
    train.safetensors         labels and stored conditions, where the data have some
"""
