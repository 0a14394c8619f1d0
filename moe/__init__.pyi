"""The types of the public names, which `__init__.py` loads on first use."""

from moe.efficiency import cramer_rao as cramer_rao
from moe.efficiency import standard_errors as standard_errors
from moe.estimator import MoERegressor as MoERegressor
from moe.metrics import align as align
from moe.metrics import gating_error as gating_error
from moe.metrics import regressor_error as regressor_error
from moe.model import MoE as MoE
from moe.model import random_moe as random_moe
from moe.nonlinearity import Nonlinearity as Nonlinearity
from moe.randomness import stream as stream
from moe.recovery import recover as recover
from moe.results import Recovery as Recovery
from moe.selection import choose_k as choose_k
from moe.streaming import stream_l4_moments as stream_l4_moments
from moe.transforms import learnability as learnability
from moe.transforms import output_transform as output_transform

__version__: str
