"""Ways to minimise the losses: one file a method."""
