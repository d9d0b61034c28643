"""What users ask of a layer, and a part of it knows."""

from typing import Any

from keras_moduli.manifolds import Manifold


class HasCost:
    """A layer whose neurons learn their positions."""

    cost: Any

    @property
    def manifold(self) -> Manifold:
        """Where the neurons live."""
        return self.cost.manifold


class HasConnectivity:
    """A layer that is sparse from the first step."""

    connectivity: Any

    @property
    def manifold(self) -> Manifold | None:
        """Where the neurons live by the rule, or None if it has no geometry."""
        return getattr(self.connectivity, "manifold", None)


class HasCell:
    """A recurrent layer, whose weights are those of its `cell`."""

    cell: Any

    @property
    def recurrent_kernel(self) -> Any:
        """The weight of the cell, once it is built: a kernel, or its blocks."""
        return self.cell.recurrent_kernel


class HasLayer:
    """A layer around another."""

    layer: Any

    @property
    def recurrent_kernel(self) -> Any:
        """That of the layer inside, if it is recurrent, once it is built."""
        return self.layer.cell.recurrent_kernel
