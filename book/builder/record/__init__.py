"""What a page tells of itself: claims, how it came to be, where figures were made, their data."""
