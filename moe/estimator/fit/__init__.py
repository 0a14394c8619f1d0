"""How a fit of the estimator comes about, from columns to parameters."""
