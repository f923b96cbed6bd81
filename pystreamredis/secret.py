"""Secrets stay out of what is printed: of `repr`, error texts, and reports with local variables."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Value = TypeVar("Value")

# The names under which secrets are given, misspelt ones of `password` included.
_names_a_secret = re.compile(
    r"pas+.?w|ssw?or[dt]|^pass[0-9]*$|pass_?(phrase|code)|pwd|auth(?!or)|token|secret|credential"
    r"|^creds?$|(api|private)_?key",
    re.IGNORECASE,
).search


class Secret:
    """A value that is returned by a call, and shown by nothing else."""

    __slots__ = ("_reveal",)

    def __init__(self, value: object) -> None:
        # Inside of a function, no look into this object finds the value.
        self._reveal: Callable[[], Any] = lambda: value

    def __call__(self) -> Any:
        """Return the value."""
        return self._reveal()

    def __repr__(self) -> str:
        return "(not shown)"


def conceal(value: Value) -> Value:
    """Wrap a value in a `Secret`, unless it is None, wrapped already, or a callable."""
    concealed: Any = value if value is None or callable(value) else Secret(value)
    result: Value = concealed
    return result


def reveal(value: Any) -> Any:
    """Take a value out of its `Secret`, if it is in one."""
    return value() if isinstance(value, Secret) else value


def conceal_keywords(keywords: dict[str, Any]) -> None:
    """Wrap, in place, the password, and text under keywords that look like a secret's name."""
    for name in filter(_names_a_secret, keywords):
        if name == "password" or isinstance(keywords[name], (str, bytes)):
            keywords[name] = conceal(keywords[name])


def conceal_url(host: Value) -> Value:
    """Wrap a host that is a URL by mistake: a password may be in it."""
    return conceal(host) if isinstance(host, str) and "://" in host else host


def is_secret_name(name: object) -> bool:
    """Return whether the value under such a name is likely to be a secret."""
    return isinstance(name, str) and _names_a_secret(name) is not None
