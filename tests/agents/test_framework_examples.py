"""The README's examples of agent frameworks run as they stand, and in a second process the agent remembers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in import service

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Agent frameworks\n")[2].partition("\n## ")[0]
EXAMPLES = dict(re.findall(r"^### (.+?)\n.*?^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL))
RUN = "import asyncio, sys\nfrom awaited_examples import run\nasyncio.run(run(sys.argv[1], {'__name__': '__main__'}))\n"
LONGEST_S = 120.0
# What a reader of each framework has already: an agent, a model, a chain; here they are asked of the stand-in.
BEFORE = {
    "PraisonAI": "",
    "OpenAI Agents SDK": "import agents; agents.set_default_openai_api('chat_completions'); agents.set_tracing_disabled(True)",
    "LangGraph": """
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from stand_in import remembering
builder = StateGraph(MessagesState)
builder.add_node("model", lambda state: {"messages": [AIMessage(remembering([{"content": one.content} for one in state["messages"]]))]})
builder.add_edge(START, "model")
builder.add_edge("model", END)
""",
    "LangChain": """
import warnings
warnings.simplefilter("ignore")
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from stand_in import remembering
chain = RunnableLambda(lambda messages: remembering([{"content": one.content} for one in messages]))
""",
    "Google ADK": """
from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.genai import types
from stand_in import remembering
class Model(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        said = remembering([{"content": part.text or ""} for one in llm_request.contents for part in one.parts])
        yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text=said)]))
agent = LlmAgent(name="helper", model=Model(model="stand-in"))
message = types.Content(role="user", parts=[types.Part(text="My name is Alice")])
""",
    "Strands Agents": """
from strands import Agent
from strands.models.openai import OpenAIModel
from strands.session.repository_session_manager import RepositorySessionManager
model = OpenAIModel(model_id="m", stream=False)
""",
    "LlamaIndex": """
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ChatResponse, CustomLLM, CompletionResponse, LLMMetadata
from llama_index.core.memory import ChatMemoryBuffer
from stand_in import remembering
class Listening(CustomLLM):
    @property
    def metadata(self):
        return LLMMetadata(is_chat_model=True)
    def chat(self, messages, **kwargs):
        return ChatResponse(message=ChatMessage(role="assistant", content=remembering([{"content": one.content} for one in messages])))
    def complete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text="")
    def stream_complete(self, prompt, formatted=False, **kwargs):
        yield CompletionResponse(text="")
llm = Listening()
""",
    "Pydantic AI": """
from pydantic_ai import Agent, ModelResponse, TextPart
from pydantic_ai.conversation import Conversation
from pydantic_ai.models.function import FunctionModel
from stand_in import remembering
def answer(messages, info):
    return ModelResponse([TextPart(remembering([{"content": part.content} for one in messages for part in one.parts]))])
agent = Agent(FunctionModel(answer))
""",
    "Microsoft Agent Framework": """
from agent_framework import Agent, BaseChatClient, ChatResponse, Message
from stand_in import remembering
class Listening(BaseChatClient):
    async def _inner_get_response(self, *, messages, stream, options, **kwargs):
        return ChatResponse(messages=[Message("assistant", [remembering([{"content": one.text} for one in messages])])])
client = Listening()
""",
}


def test_every_framework_of_the_readme_is_tried_here() -> None:
    """Goal: no example without a test. Method: the headings; the one that starts a CLI of its own has its test elsewhere."""
    assert {*BEFORE, "Claude Agent SDK"} == set(EXAMPLES)


@pytest.mark.parametrize("framework", list(BEFORE))
@pytest.mark.parametrize("runs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_the_example_of_a_framework_runs_and_remembers(framework: str, runs: int, tmp_path: Path) -> None:
    """Goal: copy, paste, it works. Method: the block as it stands; at length in a second process with another question."""
    example = EXAMPLES[framework]
    with service() as model:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": "none", "OTEL_SDK_DISABLED": "true",
                       "PRAISONAI_TELEMETRY_DISABLED": "true", "PYTHONPATH": ":".join([str(ROOT), str(ROOT / "tests" / "seeds"), str(ROOT / "tests" / "agents"), *sys.path])}
        for question, answer in (("My name is Alice", "Nice to meet you"), ("What is my name?", "Your name is Alice"))[:runs]:
            source = f"{BEFORE[framework]}\n{example}".replace("My name is Alice", question)
            done = subprocess.run([sys.executable, "-c", RUN, source], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
            assert 0 == done.returncode, done.stderr[-2000:]
            assert answer in done.stdout, done.stdout[-2000:]
