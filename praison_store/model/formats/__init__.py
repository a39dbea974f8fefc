"""
Messages in the forms model services take, there and back. Pure; no I/O.

Ours is OpenAI's chat form: role, content, `tool_calls`, `tool_call_id`; the parts of a content stay as they came, and
are put into another service's form when they are sent there. What a form has no place for stands beside the message in
a field of its own, so that the way there and back gives what came.

    chat        OpenAI's chat completions
    responses   OpenAI's Responses: one item is one message of ours, calls and results apart
    anthropic   Anthropic's messages: the system text apart, calls and results as parts
    parts       text and pictures, which each of them writes in its own way

What comes back shares its values with what was given; storing it copies them.

Considered and not taken: keeping the foreign message whole beside ours; that stores each text twice, and a change made
to one is missing in the other.
"""

from __future__ import annotations

from .anthropic import from_anthropic, to_anthropic
from .chat import arguments_of, from_openai_chat, to_openai_chat
from .responses import from_responses, to_responses

__all__ = [
    "arguments_of",
    "from_anthropic",
    "from_openai_chat",
    "from_responses",
    "to_anthropic",
    "to_openai_chat",
    "to_responses",
]
