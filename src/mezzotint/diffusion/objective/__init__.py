"""The training objective: time distributions, loss weights, losses, training noise, augmentation."""
