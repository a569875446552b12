"""What commands keep in folders and find again: runs, evaluations, references, the points of sweeps."""
