"""The Python of NexAU's session management document that makes an Agent, with only its import lines changed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from awaited_examples import run

from praison_store.aio import AgentConfig, SessionManager

sys.path.append(str(Path(__file__).parents[1] / "agents"))
from stand_in import remembering

SETUP = '''
from praison_store.aio import SessionManager
from praison_store.aio import SQLDatabaseEngine

engine = SQLDatabaseEngine.from_url("sqlite+aiosqlite:///sessions.db")
await engine.setup_models()
session_manager = SessionManager(engine=engine)
'''

QUICK_START = '''
from praison_store.aio import Agent, AgentConfig
from praison_store.aio import SessionManager
from praison_store.aio import SQLDatabaseEngine

# Initialize storage backend
engine = SQLDatabaseEngine.from_url("sqlite+aiosqlite:///sessions.db")
await engine.setup_models()

# Create session manager
session_manager = SessionManager(engine=engine)

# Create agent with session management
agent = Agent(
    config=agent_config,
    session_manager=session_manager,
    user_id="user_123",
    session_id="sess_456",
)

# Agent automatically:
# - Creates/loads session if needed
# - Loads conversation history from previous runs
# - Saves history after each run
# - Maintains context across multiple interactions

response = await agent.run_async("Hello, how are you?")
# Next run will remember this conversation
response2 = await agent.run_async("What did I just ask?")
'''

SESSION_ID = '''
from praison_store.aio import Agent
# Create new session
agent = Agent(
    config=agent_config,
    session_manager=session_manager,
    user_id="user_123",
    # session_id not provided - creates new session
)


# Continue existing session
agent = Agent(
    config=agent_config,
    session_manager=session_manager,
    user_id="user_123",
    session_id="sess_456",  # Loads existing session
)
'''

USER_ID = '''
from praison_store.aio import Agent
agent = Agent(
    config=agent_config,
    session_manager=session_manager,
    user_id="alice@example.com",  # User identifier
    session_id="chat_001",
)
'''

HISTORY = '''
from praison_store.aio import Agent
agent = Agent(
    config=agent_config,
    session_manager=session_manager,
    user_id="user_123",
    session_id="sess_456",
)

# First message
response1 = await agent.run_async("My name is Alice")

# Second message - agent remembers the name
response2 = await agent.run_async("What's my name?")
# Agent will respond: "Your name is Alice"
'''

CHAT = '''
from praison_store.aio import Agent
from praison_store.aio import SessionManager
from praison_store.aio import SQLDatabaseEngine

# Initialize once
engine = SQLDatabaseEngine.from_url("sqlite+aiosqlite:///chat.db")
await engine.setup_models()
session_manager = SessionManager(engine=engine)

async def handle_user_message(user_id: str, session_id: str, message: str):
    """Handle a message from a user."""
    agent = Agent(
        config=agent_config,
        session_manager=session_manager,
        user_id=user_id,
        session_id=session_id,
    )

    response = await agent.run_async(message)
    return response

# Usage
response = await handle_user_message(
    user_id="alice@example.com",
    session_id="chat_001",
    message="Hello!"
)
'''

NOT_PERSISTING = '''
from praison_store.aio import Agent
# ❌ Incorrect - no session manager
agent = Agent(config=agent_config)
'''

PERSISTING = '''
from praison_store.aio import Agent
# ✅ Correct - with session manager
agent = Agent(
    config=agent_config,
    session_manager=session_manager,  # Required
    user_id="user_123",
    session_id="sess_456",
)
'''


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each example in an empty directory."""
    monkeypatch.chdir(tmp_path)


def named() -> dict[str, Any]:
    """Return what the document's reader has defined already: the configuration of an agent."""
    return {"agent_config": AgentConfig("assistant", llm=remembering)}


async def said_in(manager: SessionManager, session_id: str, user_id: str) -> list[str]:
    """Return what a user said in a session."""
    history = await manager.get_history(user_id=user_id, session_id=session_id)
    return [message["content"] for message in history if message["role"] == "user"]


def test_the_quick_start_remembers_from_run_to_run() -> None:
    """Goal: history is loaded and saved by itself. Method: the example, then what the database holds."""

    async def main() -> None:
        names = await run(QUICK_START, named())
        said = await said_in(names["session_manager"], "sess_456", "user_123")
        assert ["Hello, how are you?", "What did I just ask?"] == said
        await names["engine"].close()

    asyncio.run(main())


def test_a_new_session_has_an_id_of_its_own_and_an_existing_one_is_continued() -> None:
    """Goal: the session id examples. Method: a new agent's session beside the one that is named."""

    async def main() -> None:
        names = await run(SETUP, named())
        first, second = SESSION_ID.split("# Continue existing session")
        names = await run(first, names)
        new = names["agent"]
        names = await run("from praison_store.aio import Agent\n" + second, names)
        old = names["agent"]
        await new.run_async("in the new one")
        await old.run_async("in the old one")
        assert ["in the new one"] == await said_in(names["session_manager"], new.session_id, "user_123")
        assert ["in the old one"] == await said_in(names["session_manager"], "sess_456", "user_123")
        assert "sess_456" == old.session_id
        await names["engine"].close()

    asyncio.run(main())


def test_a_user_is_told_apart_by_the_user_id() -> None:
    """Goal: alice's and bob's chat_001 are two. Method: the example, and its twin."""

    async def main() -> None:
        names = await run(USER_ID, await run(SETUP, named()))
        await names["agent"].run_async("I am alice")
        names = await run(USER_ID.replace("alice", "bob"), names)
        await names["agent"].run_async("I am bob")
        for name in ("alice", "bob"):
            assert [f"I am {name}"] == await said_in(names["session_manager"], "chat_001", f"{name}@example.com")
        await names["engine"].close()

    asyncio.run(main())


def test_the_agent_remembers_a_name() -> None:
    """Goal: the documented answer. Method: the example, with a model that answers from what it is sent."""

    async def main() -> None:
        names = await run(HISTORY, await run(SETUP, named()))
        assert "Your name is Alice" == names["response2"]
        names = await run(PERSISTING, await run(SETUP, named()))
        assert "Your name is Alice" == await names["agent"].run_async("What's my name?")
        await names["engine"].close()

    asyncio.run(main())


def test_the_multi_user_chat_application() -> None:
    """Goal: an agent for each message. Method: the example; then alice twice and bob once at the same time."""

    async def main() -> None:
        names = await run(CHAT, named())
        handle = names["handle_user_message"]
        await handle("alice@example.com", "chat_001", "My name is Alice")
        assert ["Your name is Alice", "Your name is Alice", "You did not tell me"] == await asyncio.gather(
            *(handle(f"{name}@example.com", "chat_001", "What is my name?") for name in ("alice", "alice", "bob")))
        await names["engine"].close()

    asyncio.run(main())


def test_without_a_session_manager_nothing_is_kept() -> None:
    """Goal: the documented mistake does what the document says. Method: two agents of one configuration."""

    async def main() -> None:
        for prompt in ("My name is Alice", "What's my name?"):
            names = await run(NOT_PERSISTING, named())
            answer = await names["agent"].run_async(prompt)
        assert "You did not tell me" == answer

    asyncio.run(main())
