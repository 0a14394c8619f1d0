"""What each step towards the efficient estimate gains when nothing is known of the gate."""
