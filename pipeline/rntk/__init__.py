"""Gram matrices of the recurrent NTK in files, over MPI ranks."""
