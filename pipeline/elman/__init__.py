"""Studies of the recurrent NTK: their plan, Elman networks of finite width, Gram matrices in files."""
