"""Backup and restore of what a running platform holds and no program makes again."""
