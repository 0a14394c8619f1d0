"""The types of the public names, which `__init__.py` loads on first use."""

from moe.estimator.regressor import MoERegressor as MoERegressor
from moe.exceptions import DoubtfulFitWarning as DoubtfulFitWarning
from moe.exceptions import NonGaussianInputWarning as NonGaussianInputWarning
from moe.exceptions import OutsideTheoryWarning as OutsideTheoryWarning
from moe.exceptions import SignsLostWarning as SignsLostWarning
from moe.likelihood.efficiency import cramer_rao as cramer_rao
from moe.likelihood.efficiency import standard_errors as standard_errors
from moe.metrics import align as align
from moe.metrics import gating_error as gating_error
from moe.metrics import regressor_error as regressor_error
from moe.model.mixture import MoE as MoE
from moe.model.mixture import random_moe as random_moe
from moe.model.nonlinearity import Nonlinearity as Nonlinearity
from moe.moments.transforms import learnability as learnability
from moe.moments.transforms import output_transform as output_transform
from moe.randomness import stream as stream
from moe.recovery import recover as recover
from moe.recovery.any_gate.experts import Experts as Experts
from moe.recovery.results import Recovery as Recovery
from moe.recovery.selection import choose_k as choose_k
from moe.solvers.prediction import samples_for_l4 as samples_for_l4
from moe.solvers.streaming import stream_l4_moments as stream_l4_moments

__version__: str
