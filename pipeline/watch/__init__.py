"""A live view of a running study. It only reads: it takes no lock, and uses neither MPI nor a GPU."""
