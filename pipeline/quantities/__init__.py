"""What is measured: estimators of quantities, their ladders, and their expected rates.

Each family of quantities is a module of this package that registers its entries when it is imported. A new module is
found automatically; its rows come after those of FAMILIES. Your own program may call `register` as well.
"""

from importlib import import_module
from pkgutil import iter_modules

from rnnlimits.quantities.base import register
from rnnlimits.quantities.trained import TrainedQuantity, Trainings

__all__ = ["TrainedQuantity", "Trainings", "register"]

FAMILIES = (  # in the order of their rows in rates.csv
    *("outputs", "output_law", "loss", "skewed", "memory", "parameters", "noise", "histories", "kernel", "depth"),
    "suprema",
    *("twins", "rich"),
    *("surface", "contraction", "loss_decay", "constants", "elman"),
)

for _name in (*FAMILIES, *sorted({module.name for module in iter_modules(__path__)} - set(FAMILIES))):
    import_module(f"{__name__}.{_name}")
