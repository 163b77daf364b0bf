"""Swap values for tokens and back, look for a value, look at a token.

Values are never arguments: those are in the shell's history and in every
process list. They come on stdin or are asked for.
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from cli import asking
from cli.command import group
from cli.output import Output, moment
from cli.remote.command import add_remote, exit_for, tell
from cli.remote.server import Answer, Server
from vault.domain.errors import InvalidInputError, LimitExceededError
from vault.domain.model import Reveal

MAX_ITEMS: Final = 1_000
"""Most items of one request; what is more belongs into ``import`` and ``export``."""

Purpose = Annotated[str, typer.Option("--purpose", help="Purpose of the policy.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why, for the log; no personal data of customers in it.")
]
OfPurpose = Annotated[
    str | None, typer.Option("--purpose", help="Purpose, where the grant is limited to some.")
]
Audience = Annotated[
    str | None,
    typer.Option("--audience", help="Recipient of the policy: its own tokens, the same each time."),
]
TokenText = Annotated[str, typer.Argument(metavar="TOKEN", help="The token.")]


def add_to(app: typer.Typer) -> None:
    """Add ``tokenize``, ``detokenize``, ``search`` and the group ``token``."""
    add_remote(
        app,
        "tokenize",
        tokenize,
        "piivault tokenize --purpose inquiry --field member.phone < phones.txt",
        "piivault tokenize --purpose inquiry --field member.phone --external-ref user-4711",
        "piivault tokenize --purpose inquiry --items < items.json --json",
        "piivault tokenize --purpose inquiry --field member.phone --one-time < phones.txt",
        "piivault tokenize --purpose inquiry --field member.phone --external-ref user-4711 \\",
        "    --audience message_sender",
        service=True,
    )
    add_remote(
        app,
        "detokenize",
        detokenize,
        "piivault detokenize --purpose inquiry --reason 'ticket 4711' phn_3f…",
        "piivault detokenize --purpose inquiry --reason 'ticket 4711' --plain phn_3f…",
        "cut -d, -f3 members.tokens.csv | tail -n +2 | piivault detokenize --purpose partner",
        service=True,
    )
    add_remote(
        app,
        "search",
        search,
        "piivault search --purpose inquiry --field member.phone --reason 'ticket 4711'",
        "echo 010-1234-5678 | piivault search --purpose inquiry --field member.phone --json",
        service=True,
    )
    token = group("token", "What a token is, without its value.", parent=app)
    add_remote(token, "show", show, "piivault token show phn_3f… --purpose inquiry", service=True)
    add_remote(token, "revoke", revoke, "piivault token revoke phn_3f… --purpose inquiry", service=True)


def tokenize(  # noqa: PLR0913 - one parameter for each option
    server: Server,
    out: Output,
    *,
    purpose: Purpose,
    field: Annotated[str | None, typer.Option("--field", help="Field of the values on stdin.")] = None,
    items: Annotated[
        bool, typer.Option("--items", help="Read the items as JSON, an array as in POST /v1/tokenize.")
    ] = False,
    subject: Annotated[str | None, typer.Option("--subject", help="Whose they are: sub_…")] = None,
    external_ref: Annotated[
        str | None, typer.Option("--external-ref", help="Your own id of whose they are.")
    ] = None,
    one_time: Annotated[bool, typer.Option("--one-time", help="Tokens that open once.")] = False,
    audience: Audience = None,
    reason: Reason = None,
) -> None:
    """Swap values for tokens.

    Reads one value a line from stdin, up to 1,000, and prints one token a line.
    A token for an audience needs --subject or --external-ref, and stands for the
    value given last.
    """
    if items == bool(field):
        raise InvalidInputError("give either --field or --items", field="--field", rule="exclusive")
    if items and (one_time or audience):
        raise InvalidInputError("of --items, each says its kind", field="--items", rule="exclusive")
    if items:
        wanted = _json_items()
    else:
        own = {"field": field, "subject": subject, "external_ref": external_ref, "audience": audience}
        own["kind"] = "one_time" if one_time else None
        given = {key: value for key, value in own.items() if value is not None}
        wanted = [{**given, "value": value} for value in _lines(f"{field}", "values")]
    answer = server.post(
        "/v1/tokenize",
        {"purpose": purpose, "reason": reason, "items": wanted},
        idempotency_key=str(uuid.uuid4()),
    )
    _tell_items(out, answer, "token")


def detokenize(
    server: Server,
    out: Output,
    tokens: Annotated[
        list[str] | None, typer.Argument(metavar="[TOKEN]...", help="Tokens; else one a line on stdin.")
    ] = None,
    *,
    purpose: Purpose,
    plain: Annotated[
        bool, typer.Option("--plain", help="Show the values themselves; needs --reason.")
    ] = False,
    reason: Reason = None,
) -> None:
    """Swap tokens for their values, masked or plain.

    Masked unless asked otherwise. Each call is one entry in the log.
    """
    if plain and not reason:
        raise InvalidInputError("plain values need a reason", field="--reason", rule="required")
    wanted = tokens or _lines("token", "tokens")
    _require_few(len(wanted))
    answer = server.post(
        "/v1/detokenize",
        {
            "purpose": purpose,
            "reason": reason,
            "reveal": (Reveal.PLAIN if plain else Reveal.MASKED).value,
            "items": [{"token": token} for token in wanted],
        },
    )
    _tell_items(out, answer, "value")


def search(
    server: Server,
    out: Output,
    *,
    purpose: Purpose,
    field: Annotated[str, typer.Option("--field", help="Field to look in.")],
    reason: Reason = None,
) -> None:
    """Find the tokens of exactly one value.

    The value comes on stdin or is asked for. Searches without a hit are limited.
    """
    value = (
        asking.ask_secret(field, option="the value on stdin")
        if sys.stdin.isatty()
        else asking.read_line("value")
    )
    answer = server.post("/v1/search", {"purpose": purpose, "field": field, "value": value, "reason": reason})
    if out.as_json:
        tell(out, answer)
        return
    rows = ((item["token"], item["subject"], item.get("audience", "")) for item in answer.body["items"])
    out.table(("token", "subject", "audience"), rows, none="no token stands for this value")


def show(server: Server, out: Output, token: TokenText, *, purpose: OfPurpose = None) -> None:
    """Show field, subject and state of a token."""
    answer = server.get(f"/v1/tokens/{quote(token, safe='')}", params={"purpose": purpose})
    _tell_token(out, answer)


def revoke(server: Server, out: Output, token: TokenText, *, purpose: OfPurpose = None) -> None:
    """Destroy the sealed value behind a token.

    For good. Other tokens of the same value stay.
    """
    answer = server.delete(f"/v1/tokens/{quote(token, safe='')}", params={"purpose": purpose})
    _tell_token(out, answer)


def _tell_token(out: Output, answer: Answer) -> None:
    if out.as_json:
        tell(out, answer)
        return
    body = answer.body
    named = ("token", "field", "subject", "kind", "audience", "state")
    told: list[tuple[str, object]] = [(key, body[key]) for key in named if body.get(key) is not None]
    out.pairs([*told, ("created", moment(body["created_at"]))])


def _tell_items(out: Output, answer: Answer, member: str) -> None:
    """Print one line an item, in order; what an item is refused for goes to stderr."""
    items: list[dict[str, Any]] = answer.body["items"]
    if out.as_json:
        tell(out, answer)
    else:
        for number, item in enumerate(items, 1):
            error = item.get("error")
            if error is None:
                out.line(item[member])
                continue
            out.line("")
            out.note(f"item {number}: {error['code']} ({error.get('field', '')}: {error.get('rule', '')})")
    exit_for(items)


def _lines(what: str, many: str) -> list[str]:
    if sys.stdin.isatty():
        return [asking.ask_secret(what, option=f"the {many} on stdin")]
    lines = [line.rstrip("\r\n") for line in sys.stdin]
    if not lines:
        raise InvalidInputError(f"no {many} on stdin", field=many, rule="missing")
    _require_few(len(lines))
    return lines


def _json_items() -> list[dict[str, Any]]:
    try:
        items = json.load(sys.stdin)
    except ValueError:
        items = None
    if not isinstance(items, list) or not items:
        raise InvalidInputError("stdin is not a JSON array of items", field="items", rule="json")
    _require_few(len(items))
    return items


def _require_few(count: int) -> None:
    if count > MAX_ITEMS:
        raise LimitExceededError(
            f"{count:,} items; one request takes {MAX_ITEMS:,}: see piivault import and export",
            field="items",
            rule="too_many",
        )
