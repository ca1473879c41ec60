"""How Sluice is run for real: images, services, the edge, databases, watching; and the same topology as processes."""
