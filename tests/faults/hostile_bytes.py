"""The table of bytes nobody's store wrote: what may stand in a file's place, made of a sound one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

DEEP = 2000

HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "one NUL": lambda raw: b"\0",
    "zeros": lambda raw: bytes(len(raw)),
    "a page of zeros": lambda raw: bytes(4096),
    "blank": lambda raw: b" \n\n \t\n",
    "a byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "nothing but a byte order mark": lambda raw: b"\xef\xbb\xbf",
    "latin-1": lambda raw: raw.decode("utf-8").encode("latin-1", "replace"),
    "UTF-16": lambda raw: raw.decode("utf-8").encode("utf-16"),
    "no text": lambda raw: bytes(range(256)) * 4,
    "compressed": gzip.compress,
    "a list": lambda raw: b"[]",
    "a list of messages": lambda raw: b'[{"role":"user","content":"x"}]',
    "null": lambda raw: b"null",
    "true": lambda raw: b"true",
    "a number": lambda raw: b"17",
    "a number without end": lambda raw: b"9" * 6000,
    "an endless fraction": lambda raw: b'{"session_id":"one","messages":[],"created_at":1e999999}',
    "a text": lambda raw: b'"messages"',
    "an empty object": lambda raw: b"{}",
    "messages that are none": lambda raw: b'{"session_id":"one","messages":null}',
    "messages that are numbers": lambda raw: b'{"session_id":"one","messages":[1,2]}',
    "messages that are objects": lambda raw: b'{"session_id":"one","messages":{"role":"user","content":"x"}}',
    "an object in our first line": lambda raw: b'{"session_id":"one","messages":[\n',
    "a deep list": lambda raw: b"[" * DEEP + b"]" * DEEP,
    "a deep list without end": lambda raw: b"[" * 100_000,
    "deep objects": lambda raw: b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a deep message": lambda raw: raw.replace(b'"zweite', b'"z","x":' + b"[" * DEEP + b"]" * DEEP + b',"y":"', 1),
    "another id inside": lambda raw: raw.replace(b'"session_id":"one"', b'"session_id":"two"', 1),
    "an id that is no text": lambda raw: raw.replace(b'"session_id":"one"', b'"session_id":17', 1),
    "a lone surrogate": lambda raw: raw.replace(b"zweite", b"\\ud800", 1),
    "half a character": lambda raw: raw.replace("ä".encode(), b"\xc3", 1),
    "Windows' line ends": lambda raw: raw.replace(b"\n", b"\r\n"),
    "old Mac line ends": lambda raw: raw.replace(b"\n", b"\r"),
    "twice": lambda raw: raw + raw,
    "its second half": lambda raw: raw[len(raw) // 2 :],
    "one line too few": lambda raw: b"".join(raw.splitlines(keepends=True)[:1] + raw.splitlines(keepends=True)[2:]),
    "a line of NUL in it": lambda raw: raw.replace(b"\n", b"\n" + bytes(64) + b"\n", 1),
    "its file name": lambda raw: b"one.json\n",
    "a page of HTML": lambda raw: b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
    "a merge conflict": lambda raw: b"<<<<<<< HEAD\n" + raw + b"=======\n" + raw + b">>>>>>> theirs\n",
    "a lock's pointer": lambda raw: json.dumps({"version": 1, "size": len(raw)}).encode(),
}
