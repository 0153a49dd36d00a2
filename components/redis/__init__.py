"""Redis in every topology: the typed model, what is built from it, and the components."""
