"""The AWS stack: what runs in an account, and the checks before it."""
