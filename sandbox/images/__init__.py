"""Stand-ins for the official images, built on the spot and loaded under the official names."""
