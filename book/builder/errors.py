"""What can go wrong while the book is built, in words for the person who runs the command."""


class BuildError(Exception):
    """The book cannot be built; the message names the file, what was expected and what came."""
