"""Chapter 3: moments through Stein's lemma, and their errors."""
