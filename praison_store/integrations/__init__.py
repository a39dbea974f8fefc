"""
Side door: the session stores of agent frameworks, kept in ours. One module for each; each imports its framework.

Contract: what a framework stored it gets back as it was; where what it stores is a conversation, the messages stand in
our form (OpenAI's chat), so that a session written through one adapter is read through another. What ours has no place
for stands beside the message, in a field named for the framework. Every adapter takes any store, and by default the
JSON files every process on this machine shares.

Where a conversation is: under the framework's own id for PraisonAI, the OpenAI Agents SDK, LangChain, LlamaIndex,
Pydantic AI and Agent Framework. Google's ADK, Strands and Claude name theirs by several texts, and `session_key`,
`agent_key` and `session_key_of` of their modules give the key for `Transcript`. LangGraph keeps states, not messages.

    praisonai, openai_agents, langgraph, langchain, google_adk, strands, llama_index, pydantic_ai, claude_agent_sdk,
    agent_framework    the doors, each with the modules that bear its name
    transcript         every message of one session, archived ones too: what a framework calls its session
    beside             the framework's own message beside ours, with pointers where ours has the text already

Considered and not taken: the framework's message alone, as it is; then no other adapter, search or person reads it.
"""
