"""The Pulumi program: settings, clusters, Kubeflow."""
