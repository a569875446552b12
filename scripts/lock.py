"""Print the constraints of this Python: every installed package with its version, without what torch pins itself."""

import re
from importlib.metadata import distributions

OURS_OR_TORCHS = re.compile(r"^(mezzotint|pip|setuptools|wheel|triton|nvidia-.*|cuda-.*)$")

packages = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions()}
print("# made by `make lock`; versions that were tested together")
for name, version in sorted(packages.items()):
    if not OURS_OR_TORCHS.match(name):
        print(f"{name}=={version.split('+')[0]}")
