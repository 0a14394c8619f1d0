"""Chapter 7: the whole method against the squared loss and EM."""
