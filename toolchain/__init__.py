"""The tools that the project runs, pinned, and what installs them."""
