"""Configurations as frozen data, and the names that users type for them.

The only file that knows under which names objects are looked up and saved.
"""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

import keras

from keras_moduli import _checks

PACKAGE = "keras_moduli"

T = TypeVar("T")


class Configuration:
    """Frozen data: equality, hashing, repr and saving follow from the fields."""

    def get_config(self) -> dict[str, Any]:
        """Returns the fields as plain Python values, for `keras.saving`."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: _make_plain(getattr(self, field.name)) for field in fields}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuilds the object from its configuration.

        Args:
            config: What `get_config` returned.
        """
        return cls(**config)

    def _set(self, **fields: Any) -> None:
        # The one way to normalize a field of a frozen dataclass in `__post_init__`.
        for name, value in fields.items():
            object.__setattr__(self, name, value)


def _locate(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _make_plain(value: Any) -> Any:
    if isinstance(value, Configuration):
        return keras.saving.serialize_keras_object(value)
    if isinstance(value, tuple):
        return [_make_plain(item) for item in value]
    return value


class Registry(Generic[T]):
    """One idiom for each family of objects: `get`, `names` and `register`.

    Args:
        kind: What users call one of the family, such as "manifold".
        base: The class that all of the family have in common.
        adapt: What else may be typed: makes an object of the family of it, or returns
            None where it cannot.
        also: What that is, in words for a message.
    """

    def __init__(
        self,
        kind: str,
        base: type[T],
        adapt: Callable[[Any], T | None] = lambda value: None,
        also: str = "",
    ) -> None:
        self.kind = kind
        self.base = base
        self.adapt = adapt
        self.also = also
        self.classes: dict[str, type[T]] = {}

    def names(self) -> list[str]:
        """Returns the known names, sorted.

        Examples:
            >>> import keras_moduli as km
            >>> km.pruning.scopes.names()
            ['erk', 'gate', 'global', 'layer']
        """
        return sorted(self.classes)

    def register(self, *names: str) -> Callable[[type[T]], type[T]]:
        """Returns a class decorator that makes a class known, to `keras.saving` too.

        Args:
            *names: What users may type for it.

        Raises:
            TypeError: If a name is not a string, or the class is not one of the family.
            ValueError: If a name, or that of the class in saved files, is taken.

        Examples:
            As `@register("its_name")` above the class, or later:

            >>> import keras_moduli as km
            >>> km.schedules.register("cubic")(km.schedules.Cubic)  # once more
            <class 'keras_moduli.schedules.Cubic'>
        """
        if strange := [name for name in names if not isinstance(name, str)]:
            raise TypeError(
                f"`register` takes the names of a {self.kind}, as in "
                f"@register('my_{self.kind}'). Received: {strange[0]!r}"
            )

        def decorate(cls: type[T]) -> type[T]:
            # By kind: an inhibitor and a schedule may both be called Constant.
            package = f"{PACKAGE}.{self.kind}s"
            self._check_free(cls, names, package)
            keras.saving.register_keras_serializable(package)(cls)
            self.classes.update(dict.fromkeys(names, cls))
            return cls

        return decorate

    def _check_free(self, cls: Any, names: tuple[str, ...], package: str) -> None:
        if not (isinstance(cls, type) and issubclass(cls, self.base)):
            raise TypeError(
                f"Only a subclass of {self.base.__name__} can be registered as a "
                f"{self.kind}. Received: {cls!r}"
            )
        taken = {f"{name!r}": self.classes.get(name) for name in names}
        in_files = f"{package}>{cls.__name__}"
        taken[in_files] = keras.saving.get_registered_object(in_files)
        for name, other in taken.items():
            # The same class again, as when a cell of a notebook runs twice, is welcome.
            if other is not None and _locate(other) != _locate(cls):
                raise ValueError(
                    f"The {self.kind} {name} is {'.'.join(_locate(other))} already. "
                    f"Choose another name. Received: {'.'.join(_locate(cls))}"
                )

    def get(self, identifier: Any) -> T:
        """Returns an object from itself, its name or its configuration.

        Raises:
            TypeError: If `identifier` is none of the three.
            ValueError: If the name is unknown, or needs arguments.
        """
        if isinstance(identifier, self.base):
            return identifier
        if isinstance(identifier, dict):
            return self._check(self._deserialize(identifier))
        if isinstance(identifier, str):
            return self._create(identifier)
        adapted = self.adapt(identifier)
        return self._check(identifier) if adapted is None else adapted

    def _deserialize(self, config: dict[str, Any]) -> Any:
        try:
            return keras.saving.deserialize_keras_object(config)
        except Exception as error:  # whatever a config of somebody else's can raise
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(
                f"No {self.kind} can be made of this config; `keras.saving."
                "serialize_keras_object` makes one that can. Received: "
                f"{_checks.shorten(config)} ({error})"
            ) from error

    def _create(self, name: str) -> T:
        if name not in self.classes:
            close = difflib.get_close_matches(name.lower(), self.classes, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"Unknown {self.kind} {name!r}.{hint} Known names: "
                f"{self.names()}. You can also pass a "
                f"{self.base.__name__} instance."
            )
        cls = self.classes[name]
        if missing := _list_required(cls):
            raise ValueError(
                f"The {self.kind} {name!r} has no defaults. Pass an instance, such as "
                f"{cls.__name__}({', '.join(f'{field}=...' for field in missing)})."
            )
        return cls()

    def _check(self, value: Any) -> T:
        if not isinstance(value, self.base):
            is_class = isinstance(value, type) and issubclass(value, self.base)
            hint = f" Did you mean {value.__name__}(...)?" if is_class else ""
            came = value.__name__ if is_class else _checks.shorten(value)
            last = f"its config, or {self.also}" if self.also else "or its config"
            raise TypeError(
                f"`{self.kind}` must be a name from {self.names()}, a "
                f"{self.base.__name__} instance, {last}.{hint} Received: "
                f"{came} (of type {type(value).__name__})"
            )
        return value


def _list_required(cls: type) -> list[str]:
    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is missing and field.default_factory is missing
    ]
