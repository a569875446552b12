"""From a config's node to an object: locate the target, check the arguments against their type hints, build."""
