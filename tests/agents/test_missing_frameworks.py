"""An adapter whose framework is not installed says what to install; the package itself asks for none of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = {
    "openai_agents": ("openai-agents", "agents"), "langchain": ("langchain", "langchain_core"), "langgraph": ("langgraph", "langgraph"),
    "google_adk": ("google-adk", "google.adk"), "strands": ("strands", "strands"), "llama_index": ("llama-index", "llama_index"),
    "pydantic_ai": ("pydantic-ai", "pydantic_ai"), "claude_agent_sdk": ("claude-agent-sdk", "claude_agent_sdk"),
    "agent_framework": ("agent-framework", "agent_framework"), "agent_framework_sessions": ("agent-framework", "agent_framework"),
    "praisonai": ("praisonai", "praisonaiagents"),
}
PROGRAM = """
import sys
import praison_store
assert not [name for name in sys.modules if name.partition(".")[0] == sys.argv[2].partition(".")[0]], "imported by the package"
sys.modules[sys.argv[2]] = None
try:
    import importlib
    module = importlib.import_module("praison_store.integrations." + sys.argv[1])
    module.install() if sys.argv[1] == "praisonai" else module.PraisonSession("s", session_settings={"limit": 1})
except praison_store.MissingExtraError as error:
    print(error.extra, error)
"""


@pytest.mark.parametrize("module", list(FRAMEWORKS))
def test_a_missing_framework_is_told_with_the_way_to_get_it(module: str) -> None:
    """Goal: the next step in the error. Method: a process that cannot import the framework."""
    extra, package = FRAMEWORKS[module]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM, module, package], capture_output=True, text=True, timeout=120, check=False)
    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith(f"{extra} ")
    assert f"pip install 'praison_store[{extra}]'" in done.stdout
