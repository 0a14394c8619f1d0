"""Chapter 10: experts under any gate that does not look into their span."""
