"""Signs of life for operators: streams without messages, figures, and a file that is touched."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Number of streams that a remark names.
_NAMED = 3
_EMPTY = "0-0"


def list_silent(
    began: Mapping[str, str], given: Mapping[str, object], now: Mapping[str, str], *, is_over: bool
) -> list[str]:
    """List remarks on streams without a message, the names of which may be misspelt.

    Args:
        began: The positions at the beginning.
        given: The starts as they were given; None for "now".
        now: The positions now.
        is_over: True if no message is waited for any more.
    """
    silent = [name for name in began if began[name] == now[name]]
    what = "no messages in" if is_over else "waiting for"
    remarks = [
        f"{what} {name!r}{_circumstances(given[name], began[name], is_over=is_over)}"
        for name in silent[:_NAMED]
    ]
    more = len(silent) - _NAMED
    return [*remarks, f"{what} {more} more stream{'s' if more > 1 else ''}"][: len(silent)]


def _circumstances(given: object, began: str, *, is_over: bool) -> str:
    text = ", from now on" if given is None and not is_over else ""
    if began == _EMPTY:
        return f"{text} (empty, or misspelt)"
    return text or f" after {began}"
