"""Starting processes: ranks, sweeps, SLURM rendezvous and requeue."""
