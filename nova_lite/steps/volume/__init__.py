"""Steps about volumes."""
