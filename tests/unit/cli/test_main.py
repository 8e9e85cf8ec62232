"""The table of commands says what its files have."""

from __future__ import annotations

import importlib

import typer

from orchestrator.cli.main import MODULES, program


def _words(app: typer.Typer) -> set[str]:
    groups = {
        group.name or (group.typer_instance and group.typer_instance.info.name) for group in app.registered_groups
    }
    commands = {command.name or (command.callback and command.callback.__name__) for command in app.registered_commands}
    return {str(word) for word in groups | commands}


def test_every_file_registers_the_commands_that_the_table_names() -> None:
    for module, words in MODULES.items():
        app = typer.Typer()
        importlib.import_module(f"orchestrator.cli.{module}").register(app)
        assert _words(app) == set(words), module


def test_a_word_loads_its_own_commands_and_an_unknown_one_all() -> None:
    assert _words(program("keys")) == {"keys", "merchants"}
    everything = {word for words in MODULES.values() for word in words}
    assert _words(program("nonsense")) == _words(program()) == everything
