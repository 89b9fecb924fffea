"""Studies of trainings: their plan and the stages draw, twin, train, limit, poisson."""
