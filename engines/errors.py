"""The tree of errors that a user can act upon.

Every message says what was expected, what was found and what to do. The command line prints it as one line
without a traceback and leaves with `exit_code`.
"""


class InspectError(Exception):
    """Base of every error that is the input's or the environment's, not ours."""

    exit_code = 2


class UsageError(InspectError):
    """Options that do not fit together."""


class ConfigError(InspectError):
    """A configuration file with an unknown key, a wrong type or an impossible value."""


class DataError(InspectError):
    """Photographs that are missing, unreadable or too few."""


class WeightsError(InspectError):
    """Backbone weights that are absent, foreign or altered."""


class BundleError(InspectError):
    """A bundle that is missing, incomplete, altered or of a newer schema."""


class CalibrationError(InspectError):
    """A threshold that cannot be set, or that does not belong to the engine at hand."""


class CameraError(InspectError):
    """A camera or file source that cannot be opened or read."""


class EngineError(InspectError):
    """A backend that is absent, does not compile the network, or fails while it runs."""

    exit_code = 1


class PrecisionError(EngineError):
    """A precision was asked for that the backend, the bundle or the processor does not have."""

    exit_code = 2
