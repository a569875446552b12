"""A run that takes a second: random 4 x 4 images, a small MLP, and the callbacks of the default config."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
