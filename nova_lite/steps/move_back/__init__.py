"""Steps that end a move: its user keeps the server where it is, or wants it back."""
