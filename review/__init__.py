"""What a change would do, for whoever reviews it: a report of the engine's preview."""
