"""Kubeflow: from a pinned source to Pulumi's graph."""
