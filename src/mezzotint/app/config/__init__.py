"""From a composed config to objects: checked, settled, built, and what is in the way before time is spent."""
