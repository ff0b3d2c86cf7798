"""Steps about the guest itself."""
