"""How much of a conversation a model has room for. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import InvalidArgumentError, shown
from .exchanges import Messages, exchange_marks, leading_system
from .formats.parts import picture_of
from .message import Record
from .recall import text_of
from .values import exact, size_bytes_of

_BYTES_A_TOKEN, _TOKENS_A_MESSAGE, _TOKENS_A_PICTURE = 4, 4, 1000


def token_count(messages: Sequence[Mapping[str, Any]]) -> int:
    """
    Return about how many tokens messages are.

    Shape: one for four bytes of text, call or result, four for a message, and _TOKENS_A_PICTURE whatever its bytes.
    """
    return sum(_TOKENS_A_MESSAGE + _of_content(message.get("content")) + _of_value(message.get("tool_calls"))
               for message in messages)


def _of_content(content: Any) -> int:
    if not isinstance(content, list):
        return _of_text(text_of(content))
    return sum(_of_part(part) for part in content)


def _of_part(part: Any) -> int:
    if isinstance(part, str) or (isinstance(part, Mapping) and isinstance(part.get("text"), str)):
        return _of_text(text_of([part]))
    is_picture = isinstance(part, Mapping) and picture_of(part) is not None
    return _TOKENS_A_PICTURE if is_picture else _of_value(part)


def _of_value(value: Any) -> int:
    return _of_text(exact(value)) if value else 0


def _of_text(text: str) -> int:
    return -(-size_bytes_of(text) // _BYTES_A_TOKEN)


def within(history: list[Record], max_tokens: int | None, count: Callable[[Record], int] | None) -> list[Record]:
    """
    Return the newest messages of a history that take no more tokens; see `tokens_window`.

    Args:
        count: the tokens of one message; None guesses as `token_count` does.
    Raises:
        InvalidArgumentError: `count` is no callable, or returned no number from 0.
    """
    if count is not None and not callable(count):
        raise InvalidArgumentError(f"count is a function of a message, not {shown(count)}: pass one, or None.")
    if max_tokens is None:
        return history
    counted = [token_count([message]) if count is None else count(message) for message in history]
    for tokens in counted:
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise InvalidArgumentError(f"count returned {shown(tokens)}: it returns a whole number from 0.")
    leading, start = tokens_window(history, max_tokens, counted)
    return history[:leading] + history[start:]


def tokens_window(messages: Messages, max_tokens: int, counted: Sequence[int]) -> tuple[int, int]:
    """
    Choose the newest messages a model has room for, as `newest_window` does for a number of them.

    Args:
        max_tokens: 1 or more; leading system messages count too, and stay. counted: the tokens of each message.
    Returns:
        (leading, start): keep `messages[:leading] + messages[start:]`. The newest exchange is kept whole even where it
        alone is longer.
    """
    leading = leading_system(messages)
    marks = exchange_marks(messages)
    left = max_tokens - sum(counted[:leading])
    start = len(messages)
    for index in range(len(messages) - 1, leading - 1, -1):
        left -= counted[index]
        if left < 0 and start < len(messages):
            break
        if not marks[index]:
            start = index
    return leading, start
