"""Records into figures; the only part of the package that imports matplotlib. One file a topic."""
