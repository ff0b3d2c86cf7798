"""Steps that write records of Nova and Placement."""
