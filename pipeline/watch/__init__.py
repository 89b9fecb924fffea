"""A live view of a study under way. Only reads: it writes nothing, takes no lock, and needs neither MPI nor a GPU."""
