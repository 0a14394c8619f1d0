"""The estimator: ``MoERegressor`` and what its fits say."""

from moe.estimator.regressor import MoERegressor as MoERegressor
from moe.estimator.results import MixtureResults as MixtureResults
