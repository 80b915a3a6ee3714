"""Errors that a person can act on. The library raises them; only the CLI and the app translate them."""


class GanlabError(Exception):
    """Base of every error that ganlab raises on purpose: what was wrong, where, and what to do."""


class ConfigError(GanlabError, ValueError):
    """A hyperparameter is out of range, unknown, or does not fit the others or the data."""


class DataError(GanlabError, ValueError):
    """A data set is missing, empty, damaged or unsafe to open."""


class NoSplit(DataError):
    """A data set has no such part: no test pictures, say."""


class WeightsError(GanlabError, ValueError):
    """A file of weights or training state is missing, damaged, or of another schema."""


class RunError(GanlabError, RuntimeError):
    """A run directory can't be used as asked: busy, missing, or holding another configuration."""


class Diverged(GanlabError, ArithmeticError):
    """Training left the finite numbers, or its losses exploded."""
