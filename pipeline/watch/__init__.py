"""A live view of a study under way. Only reads: no lock, neither MPI nor a GPU."""
