"""A change that a stream cannot take, from its failure to each of the decisions on it."""

from __future__ import annotations

from support.running_project import Stack, headrace_json, wait_until

# Other tests add items to lists of their own.
ONLY = "FROM ItemAdded WHERE list_id = 'letters'"
CREATE = f"CREATE STREAM checked AS SELECT item, throwIf(item = 'poison') AS bad {ONLY}"
MENDED = CREATE.replace("CREATE", "CREATE OR REPLACE").replace("throwIf", "toUInt8")


def test_dead_letter_is_listed_shown_retried_and_discarded(stack: Stack) -> None:
    def status() -> str:
        """Of the only letter, asked without the command line, which takes a second to start."""
        ((letter),) = stack.sql("SELECT status FROM headrace.dead_letters FINAL")
        return str(letter["status"])

    def settled() -> bool:
        return bool(stack.http.get("/status").json()["read_models"]["checked"] == "ready")

    assert headrace_json("sql", CREATE, folder=stack.folder)["state"] == "ready"
    for item in ("good", "poison", "better"):
        answer = stack.http.post("/add-item", json={"list_id": "letters", "item": item})
    stack.query("items_per_list", answer.json()["position"])
    (letter,) = headrace_json("dead-letters", "list", folder=stack.folder)
    assert (letter["target"], letter["status"]) == ("checked", "waiting")
    assert "throwIf" in letter["reason"]
    assert stack.http.get("/status").json()["dead_letters"] == 1
    at = letter["position"]
    assert '"poison"' in headrace_json("dead-letters", "show", at, folder=stack.folder)["raw"]

    # Nothing was mended: it fails again, waits again, and the worker goes on.
    assert headrace_json("dead-letters", "retry", at, folder=stack.folder)["targets"] == ["checked"]
    wait_until(lambda: status() == "waiting", "the letter waits again")
    wait_until(settled, "the stream is filled again")
    assert sorted(row["item"] for row in stack.sql("SELECT item FROM groceries.checked")) == ["better", "good"]

    assert headrace_json("dead-letters", "discard", at, folder=stack.folder)["status"] == "discarded"
    assert stack.http.get("/status").json()["dead_letters"] == 0

    assert headrace_json("sql", MENDED, folder=stack.folder)["state"] == "ready"
    assert headrace_json("dead-letters", "retry", at, folder=stack.folder)["targets"] == ["checked"]
    wait_until(lambda: status() == "loaded", "the letter went in")
    wait_until(settled, "the stream is filled again")
    assert {"item": "poison", "bad": 1} in stack.sql("SELECT item, bad FROM groceries.checked")
