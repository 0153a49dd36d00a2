"""Clusters: minikube, an existing one, the embedded sandbox."""
