"""What steps, handlers and loops work with, and which is no step itself."""
