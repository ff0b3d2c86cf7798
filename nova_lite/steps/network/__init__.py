"""Steps about ports and interfaces."""
