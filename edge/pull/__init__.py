"""Images from the workspace's registry, resumed over any link and any restart."""
