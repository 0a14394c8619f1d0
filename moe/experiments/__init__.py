"""One module a claim: a frozen ``Spec``, and ``run(spec)`` that returns a frozen ``Record``."""
