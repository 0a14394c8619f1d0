"""One expert too many, or more: likelihood, squared loss and L_4."""
