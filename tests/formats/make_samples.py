"""
Make the sample files anew with PraisonAI's own store: `python tests/formats/make_samples.py`.

The files are kept, so that what an installed version once wrote is read for ever; run this only to add one.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from praisonaiagents.session.store import DefaultSessionStore  # type: ignore[import-untyped] # it has no types

SAMPLES = Path(__file__).parent / "samples"
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Zürich"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
]


def make(directory: str) -> dict[str, str]:
    """Write the sessions with PraisonAI's store; return their names by the name of the sample."""
    store = DefaultSessionStore(session_dir=directory)
    store.add_user_message("plain", "Hello")
    store.add_assistant_message("plain", "Hi there!")

    store.add_user_message("tools", "Weather and time?")
    store.add_message("tools", "assistant", "", tool_calls=CALLS)
    store.add_message("tools", "tool", "rain", tool_call_id="call_1")
    store.add_message("tools", "tool", "noon", tool_call_id="call_2")
    store.add_assistant_message("tools", "Rain at noon.")

    for number in range(4):
        store.add_user_message("compacted", f"message {number}")
    store.append_compaction_checkpoint("compacted", "Four messages.", tokens_before=40, tokens_after=4)
    store.add_user_message("compacted", "message 4")

    small = DefaultSessionStore(session_dir=directory, max_messages=4, retention="compact")
    for number in range(9):
        small.add_user_message("archived", f"message {number}")

    names = {"名前": "ü", "nul": "\0", "quote": '"\\/'}
    store.add_user_message("unicode", "Grüße, 世界 \U0001f600 \u2028 e\u0301", names)
    store.set_agent_info("unicode", agent_name="Agent Ωmega", user_id="用户")
    store.rename_session("unicode", "Ein Titel 🌍")

    store.add_user_message(
        "numbers", "numbers", {
            "nan": float("nan"), "infinity": float("inf"), "minus": float("-inf"), "big": 2**64, "bigger": 10**40,
            "below": -(2**63) - 1, "small": 5e-324, "minus_zero": -0.0, "third": 1 / 3, "int": 2**53 + 1,
        },
    )
    store.update_session_metadata("numbers", model="a-model", total_tokens=10**30, cost=float("inf"))

    store.set_agent_info("empty", agent_name="Agent")
    return {path.stem: path.name for path in Path(directory).glob("*.json")}


def main() -> None:
    """Keep each session file under samples/praisonai_<name>.json, and one export of PraisonAI's."""
    SAMPLES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        for name, file in sorted(make(directory).items()):
            shutil.copyfile(Path(directory, file), SAMPLES / f"praisonai_{name}.json")
        exported = DefaultSessionStore(session_dir=directory).export_session("archived")
        (SAMPLES / "praisonai_export.json").write_text(json.dumps(exported, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
