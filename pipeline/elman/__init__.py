"""Studies of the recurrent NTK: their plan and the stages train, rates, figures."""
