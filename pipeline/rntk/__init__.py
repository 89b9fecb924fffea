"""The recurrent NTK at work: Gram matrices in files over MPI ranks, and classification of data sets."""
