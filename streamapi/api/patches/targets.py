"""What the patches rely on in other libraries, checked when the app is built.

Without these checks nobody would notice a release that renames a private part: the library would no
longer call our method, and the bound in it would be gone. So each patch names what it overrides,
what it reads, and where the library looks up what the patch replaces. If an installed library lacks
one of these, the server does not start.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType


class MissingTarget(RuntimeError):
    """An installed library is not one that the patches fit."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}, and streamapi relies on it to bound its connections: the server does not "
            "start. Install the releases that requirements.lock names."
        )


@dataclass(frozen=True)
class Uses:
    """Methods of a class of a library, and attributes of its instances, that a patch overrides or
    reads. The class itself must use the attributes."""

    owner: type
    methods: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `MissingTarget` for the first that is not there."""
        where = f"{self.owner.__module__}.{self.owner.__qualname__}"
        for name in self.methods:
            if name not in vars(self.owner):
                raise MissingTarget(f"{where} has no `{name}`")
        functions = [it for it in vars(self.owner).values() if isinstance(it, FunctionType)]
        for name in self.attributes:
            if not any(name in _names(function) for function in functions):
                raise MissingTarget(f"{where} does not use `{name}`")


@dataclass(frozen=True)
class Replaces:
    """A name of a module that a patch replaces, and the function that must look the name up there:
    if the function does not, nothing ever uses the replacement."""

    module: ModuleType
    name: str
    by: type
    used_by: tuple[type | ModuleType, str]

    def check(self) -> None:
        """Raise `MissingTarget` where the name or its use is not there."""
        if not hasattr(self.module, self.name):
            raise MissingTarget(f"{self.module.__name__} has no `{self.name}`")
        user, function = self.used_by
        if self.name not in set(_names(getattr(user, function, None))):
            raise MissingTarget(f"{user.__name__}.{function} does not use `{self.name}`")

    def replace(self) -> None:
        """Let the library use what replaces the name."""
        setattr(self.module, self.name, self.by)


def apply(*targets: Uses | Replaces) -> None:
    """Check that every target is there, and replace what is to be replaced. Raises
    `MissingTarget`, and then nothing is replaced."""
    for target in targets:
        target.check()
    for target in targets:
        if isinstance(target, Replaces):
            target.replace()


def _names(function: object) -> Iterator[str]:
    """The names that a function looks up or assigns, those of the functions within it included."""
    codes: list[CodeType] = [function.__code__] if isinstance(function, FunctionType) else []
    while codes:
        code = codes.pop()
        yield from code.co_names
        codes += [it for it in code.co_consts if isinstance(it, CodeType)]
