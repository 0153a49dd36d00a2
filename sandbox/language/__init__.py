"""A stand-in for Pulumi's Python language host, where that cannot be downloaded."""
