"""Studies of trainings: their plan and the stages draw, twin, rich, tangents, train, limit, poisson."""
