"""How many samples a contestant needs."""
