"""Steps about disks and files on this host."""
