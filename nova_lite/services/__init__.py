"""Code that steps, handlers and loops share and that is no step itself."""
