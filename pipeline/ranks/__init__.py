"""MPI ranks and their devices: who takes which block, and how a block survives a kill."""
