"""A stand-in for F5 NGINX Ingress Controller 5.5.4, which no package registry has.

It is what runs in the image `docker.io/nginx/nginx-ingress:5.5.4` that `sandbox.images` builds: it
reads the same objects from the API server with the same rights and command line, writes the
configuration that they ask for, and runs a real nginx with it. Objects that use a field which it
does not know are refused in their status, never carried out in part.

What a field means follows https://docs.nginx.com/nginx-ingress-controller/configuration/ and the
controller's own API types. It checks no values: those that the platform renders are checked by its
model, and what is left over is refused by nginx.

The package holds nothing but Python's standard library, for it is copied into the image whole.
"""
