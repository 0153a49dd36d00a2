"""Kubernetes API machinery of the provider plugins, and the platform's own plugin."""
