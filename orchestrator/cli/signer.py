"""``crossrail signer``: the process with the spending keys, and what people who approve need. It reads no config.yaml."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.console import Failure, JsonOption, print_fields, print_json, run

if TYPE_CHECKING:
    from orchestrator.signer.judge import Reading
    from orchestrator.signer.policy import Policy

PolicyOption = Annotated[Path, typer.Option("--policy", "-p", envvar="CROSSRAIL_SIGNER_POLICY", help="Its own file.")]
ChainOption = Annotated[str, typer.Option(help="CAIP-2, such as eip155:56.")]
SenderOption = Annotated[str, typer.Option(help="The address that pays, as `sweeps list --json` shows it.")]
UnsignedArgument = Annotated[str, typer.Argument(help="The bytes to be signed, in hex, as `sweeps list` shows them.")]
DEFAULT_POLICY = Path("signer.yaml")


def register(app: typer.Typer) -> None:
    signer = typer.Typer(
        help="The process that holds the spending keys (without a command: run it), and approvals for it.",
        invoke_without_command=True,
    )
    signer.callback()(serve)
    signer.command("read")(read)
    signer.command("approve")(approve)
    app.add_typer(signer, name="signer")


def serve(context: typer.Context, *, policy: PolicyOption = DEFAULT_POLICY) -> None:
    """Sign what the policy allows, asked over a Unix socket, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    from orchestrator.config_source import ConfigInvalid
    from orchestrator.private_files import FileNotSafe
    from orchestrator.signer import server
    from orchestrator.signer.keys import BadKey

    try:
        server.assert_apart(dict(os.environ))
        run(server.run(_policy(policy)))
    except (FileNotSafe, BadKey, ConfigInvalid, server.SharesTheServer) as error:
        raise Failure(str(error), 2) from None
    except sqlite3.Error as error:
        raise Failure(f"the journal cannot be opened, another signer may run: {error}", 2) from None


def read(
    *,
    unsigned: UnsignedArgument,
    chain: ChainOption,
    sender: SenderOption,
    policy: PolicyOption = DEFAULT_POLICY,
    json_: JsonOption = False,
) -> None:
    """Say what bytes would do, read from the bytes alone."""
    _print(_reading(_policy(policy), chain, sender, unsigned), json_=json_)


def approve(
    *,
    unsigned: UnsignedArgument,
    chain: ChainOption,
    sender: SenderOption,
    key_file: Annotated[Path, typer.Option(help="Your own key, 64 hex digits, readable by you only.")],
    policy: PolicyOption = DEFAULT_POLICY,
    json_: JsonOption = False,
) -> None:
    """Show what bytes would do and print your signature under them. Give that to `crossrail sweeps approve`."""
    from orchestrator.private_files import FileNotSafe, read_private
    from orchestrator.signer.approval import sign_approval

    reading = _reading(_policy(policy), chain, sender, unsigned)
    try:
        secret = bytes.fromhex(read_private(key_file).strip())
    except (FileNotSafe, ValueError) as error:
        raise Failure(f"no key in {key_file}: {error if isinstance(error, FileNotSafe) else 'not hex'}", 2) from None
    _print(reading, json_=json_, signature=sign_approval(reading.approval, secret).hex())


def _policy(path: Path) -> Policy:
    from orchestrator.private_files import FileNotSafe
    from orchestrator.signer.policy import Policy

    try:
        return Policy.read(path)
    except FileNotSafe as error:
        raise Failure(str(error), 2) from None


def _reading(policy: Policy, chain: str, sender: str, unsigned: str) -> Reading:
    from orchestrator.signer import judge

    if chain not in policy.chains:
        raise Failure(f"the policy does not name {chain}", 2)
    try:
        found = policy.chains[chain]
        return judge.read(chain, found, bytes.fromhex(unsigned), found.read_address(sender))
    except (judge.NotSigned, ValueError) as error:
        raise Failure(f"not read: {error}") from None


def _print(reading: Reading, *, json_: bool, **more: str) -> None:
    call = reading.call
    shown: dict[str, Any] = {
        "chain": reading.chain, "sender": call.sender.hex(), "does": call.kind.value, "recipient": call.recipient.hex(),
        "raw_value": str(call.raw_value), "contract": None if call.contract is None else call.contract.hex(),
        "fee_max": str(reading.fee_max), "nonce": reading.nonce, "approval": reading.approval, **more,
    }  # fmt: skip
    if json_:
        print_json(shown)
    else:
        print_fields(shown)
