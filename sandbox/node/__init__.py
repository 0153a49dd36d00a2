"""Real nodes: kubelet, containerd and runc on this machine, each node in namespaces of its own."""
