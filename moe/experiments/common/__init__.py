"""What the experiments of several chapters share: problems, quadrature, claims, style."""
