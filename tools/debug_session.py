"""A debugging session over the Debug Adapter Protocol, written down as Markdown.

    python tools/debug_session.py walk.py:walk --input 2 --checkpoint runs/quickstart/train/model

The client steps through the execution beside the model's prediction: it stops wherever the two
differ, goes one step back and sets the given variable there, from where the model predicts alone,
and runs to the end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "bench"))

from dap_client import Client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", help="FILE.py:function")
    parser.add_argument("--input", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--set", default="", help="NAME=VALUE, set at the last difference")
    given = parser.parse_args()
    engine = ["engine=local", f"engine.checkpoint={given.checkpoint}"]
    client = Client([given.target, "--input", given.input, *engine])
    client.launch()
    print("| request | why it stops | line | state | predicted |\n|---|---|---|---|---|")
    tell(client, "launch", "entry")
    client.ask("setExceptionBreakpoints", filters=["divergence"])
    while (stopped := client.move("continue"))["reason"] not in ("end", "step"):
        tell(client, "continue", said(stopped))
    tell(client, "continue", said(stopped))
    if given.set:
        edit(client, *given.set.split("=", 1))
    client.ask("disconnect")


def edit(client: Client, name: str, value: str) -> None:
    client.ask("setExceptionBreakpoints", filters=[])
    tell(client, "stepBack", said(client.move("stepBack")))
    top = client.ask("stackTrace", threadId=1)["stackFrames"][0]
    scope = client.ask("scopes", frameId=top["id"])["scopes"][0]["variablesReference"]
    client.ask("setVariable", variablesReference=scope, name=name, value=value)
    tell(client, f"setVariable {name} = {value}", "")
    tell(client, "continue", said(client.move("continue")))


def said(stopped: dict[str, Any]) -> str:
    return str(stopped.get("text") or stopped.get("description") or stopped["reason"])


def tell(client: Client, request: str, why: str) -> None:
    top = client.ask("stackTrace", threadId=1)["stackFrames"][0]
    scopes = client.scopes()
    cells = [shown(scopes.get(name, ())) for name in ("Locals", "Predicted")]
    where = f"{top['line']} in `{top['name']}`"
    print(f"| {request} | {why} | {where} | {cells[0]} | {cells[1]} |")


def shown(variables: Any) -> str:
    """Return variables, and for predicted ones the probability that an editor shows as a type."""
    return ", ".join(
        f"`{each['name']} = {each['value']}`" + (f" ({sure})" if (sure := each.get("type")) else "")
        for each in variables
    )


if __name__ == "__main__":
    main()
