"""``piivault demo``: the whole story, on this host, in a folder of its own."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.command import add
from cli.demo.account import Account
from cli.demo.host import Host
from cli.demo.story import Story
from cli.errors import OTHER, failure_of
from cli.output import Output
from cli.remote import profiles


def add_to(app: typer.Typer) -> None:
    """Add ``demo``."""
    add(app, "demo", demo, "piivault demo", "piivault demo --json", "piivault demo --keep")


def demo(
    out: Output,
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running, and say how to log in.")
    ] = False,
) -> None:
    """Show the whole job on invented people.

    What the vault does, and what it refuses. Starts a real server on a free
    port of this host, with the embedded database, and takes everything away
    again. Ends with 1 when anything is not as it has to be.
    """
    host = Host()
    story = Story(host, Account(sys.stderr if out.as_json else sys.stdout))
    try:
        faults = _told(story)
        if out.as_json:
            out.document(story.figures.document())
        for fault in faults:
            out.note(f"piivault: demo: {fault}")
        if keep:
            _leave_running(out, host, story)
    finally:
        if not keep:
            host.stop()
            host.remove()
    if faults:
        raise typer.Exit(OTHER)


def _told(story: Story) -> list[str]:
    """Tell the story and return what went wrong."""
    try:
        story.tell()
    except Exception as error:  # noqa: BLE001 - the figures are due whatever happens
        return [failure_of(error).line().removeprefix("piivault: ")]
    return story.figures.faults()


def _leave_running(out: Output, host: Host, story: Story) -> None:
    """Keep everybody's session where the command finds it, and say how to go on."""
    config = host.work / "config"
    for person in story.cast.everybody:
        if person.session:
            profile = profiles.Profile(
                host.url, person.login, person.session, person.session_id, person.expires_at
            )
            profiles.save(person.profile, profile, base=config)
    pid = host.leave()
    out.note(f"\nThe server goes on at {host.url}, process {pid}, in {host.work}.")
    out.note("Everybody is logged in, under a profile by their role, the other administrator as second:\n")
    out.note(f"  export XDG_CONFIG_HOME={config}")
    out.note("  piivault audit list --profile reviewer")
    out.note("  piivault grant list --profile administrator\n")
    out.note("To log in anew, with piivault login LOGIN --url URL and an authenticator:\n")
    for person in story.cast.everybody:
        if person.authenticator is not None:
            secret = person.authenticator.secret
            out.note(
                f"  {person.role:<14} {person.login:<7} password {person.password}  authenticator {secret}"
            )
    out.note(f"\nWhen you are done: kill {pid}; rm -r {host.work}")
