"""Chapter 13: claims of later papers, as their abstracts state them, at the sizes of this book."""
