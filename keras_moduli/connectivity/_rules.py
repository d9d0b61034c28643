"""The rules by which kernels are connected."""

from dataclasses import dataclass

from keras_moduli.connectivity._base import Connectivity, _registry
from keras_moduli.connectivity._layout import BlockLayout


@_registry.register("from_mask")
@dataclass(frozen=True)
class FromMask(Connectivity):
    """The blocks of a given layout, whatever they are.

    Args:
        layout: Of a kernel (rows, units), repeated for each gate, or of all gates.
    """

    layout: BlockLayout

    def connect(
        self, rows: int, units: int, *, gates: int = 1, recurrent: bool = False
    ) -> BlockLayout:
        """Returns the layout."""
        if self.layout.columns == gates * units:
            return self.layout
        return self.layout.repeat(gates)
