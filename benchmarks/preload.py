"""What a process forked for a benchmark finds imported: every contender that is installed."""

from contextlib import suppress
from importlib import import_module

from . import stores  # noqa: F401 - it sets the environment before a peer is imported

for name in ("praisonaiagents.session.store", "agents", "langchain_community.chat_message_histories"):
    with suppress(ImportError):
        import_module(name)
