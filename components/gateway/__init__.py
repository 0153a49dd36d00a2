"""The gateway: load balancer, reverse proxy and API gateway, described once."""
