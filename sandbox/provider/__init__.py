"""Stand-in for the official Kubernetes provider plugin."""
