"""The policies of every preview and update: a pack that Pulumi's engine runs by itself."""
