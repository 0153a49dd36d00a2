"""Looks at a running platform, and names what is wrong with it and how to mend it. Only reads."""
