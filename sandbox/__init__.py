"""The embedded control plane: a Kubernetes cluster of local processes and simulated nodes."""
