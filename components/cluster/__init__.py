"""Clusters: minikube, Amazon EKS, an existing one, the embedded sandbox."""
