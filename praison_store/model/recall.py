"""Find words in a session and show them in context. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .exchanges import whole_exchanges
from .message import Record
from .session import SessionData, SessionHit

SNIPPET_CHARACTERS = 120
_BOOKEND_MESSAGES = 2


def terms_of(query: str) -> list[str]:
    """Return the lower-case words of a query."""
    return query.lower().split()


def text_of(content: Any) -> str:
    """Return the words of a content: the text itself, or the texts of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return " ".join(text for text in texts if isinstance(text, str))


def hit(session: SessionData, archived: Sequence[Record], query: str, around: int) -> SessionHit | None:
    """
    Return the best match of a query in a session; None where no word of it is there.

    Source: a message scores 2 for the whole query and 1 for each of its words, as in PraisonAI's search.
    """
    messages, in_archive = session.transcript(archived)
    needle, terms = " ".join(query.lower().split()), terms_of(query)
    scores = [_score(text_of(message.get("content")).lower(), needle, terms) for message in messages]
    best = max(range(len(scores)), key=scores.__getitem__, default=0)
    if not messages or not scores[best]:
        return None
    return SessionHit(
        session_id=session.session_id,
        title=title_of(session),
        when=session.updated_at or session.created_at,
        snippet=_snippet(text_of(messages[best].get("content")), needle, terms),
        score=sum(scores),
        anchor_index=best,
        messages=rows_around(messages, in_archive, best, around),
        bookends=_bookends(messages, in_archive),
    )


def _score(text: str, needle: str, terms: Sequence[str]) -> float:
    return 2.0 * (needle in text) + sum(term in text for term in terms)


def title_of(session: SessionData) -> str:
    """Return a name for people: the title, else the agent's name, else the first words of the user, else the id."""
    first = next((text_of(m.content) for m in session.messages if m.role == "user" and text_of(m.content)), "")
    title = session.metadata.get("title") or session.agent_name or " ".join(first.split())[:60] or session.session_id
    return str(title)


def rows_around(messages: Sequence[Record], in_archive: range, anchor: int, around: int) -> list[Record]:
    """Return the messages up to `around` before and after one; no tool exchange is cut (D9)."""
    start, stop = max(0, anchor - around), min(len(messages), anchor + around + 1)
    start, stop = whole_exchanges(messages, start, stop, anchor)
    return [_row(messages[index], index, in_archive) for index in range(start, stop)]


def _row(message: Record, index: int, in_archive: range) -> Record:
    return {
        "index": index,
        "role": message.get("role", ""),
        "content": message.get("content", ""),
        "timestamp": message.get("timestamp"),
        "archived": index in in_archive,
    }


def _bookends(messages: Sequence[Record], in_archive: range) -> dict[str, list[Record]]:
    spoken = [_row(m, i, in_archive) for i, m in enumerate(messages) if m.get("role") in ("user", "assistant")]
    closing = spoken[-_BOOKEND_MESSAGES:] if len(spoken) > _BOOKEND_MESSAGES else []
    return {"opening": spoken[:_BOOKEND_MESSAGES], "closing": closing} if spoken else {}


def _snippet(content: str, needle: str, terms: Sequence[str]) -> str:
    text = " ".join(content.split())
    lowered = text.lower()
    found = [place for place in (lowered.find(word) for word in (needle, *terms)) if place >= 0]
    start = max(0, (found[0] if found else 0) - SNIPPET_CHARACTERS // 2)
    stop = start + SNIPPET_CHARACTERS
    return ("…" if start else "") + text[start:stop] + ("…" if stop < len(text) else "")
