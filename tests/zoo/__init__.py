"""A zoo of models that are not ours: complete architectures, as their authors built them.

Each is that of a public example, nearly always one on keras.io, in other words and as
small as it can be. One file holds a family; a new member is one function with the
decorator `architecture` in one of these files.
"""

from tests.zoo import adaptation, forecasts, generative, speech, text, vision  # noqa: F401
from tests.zoo.table import ARCHITECTURES, Architecture

__all__ = ["ARCHITECTURES", "Architecture"]
