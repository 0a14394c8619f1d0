"""What the book runs: one folder a chapter, above `engine` (sweeps) and `common` (what they share).

A module holds one experiment: a frozen ``Spec``, and ``run(spec)``, which returns a frozen
``Record``. In each folder `claims` decides from records what the chapter claims, and
`figures` draws them.
"""
