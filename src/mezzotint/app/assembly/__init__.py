"""From a job's config to its components, their compatibility and their cost."""
