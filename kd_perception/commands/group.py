"""A group of commands that packages join through an entry-point group; a command is imported when it is used."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import typer
from typer.core import TyperGroup


class CommandGroup(TyperGroup):
    """Lists the installed commands and imports only the one that is run (all of them for the short help texts).

    A subclass names its `entry_point_group`, the `order` in which commands are listed, and perhaps the `default`
    command, which runs where none is named.
    """

    entry_point_group: str
    order: Sequence[str] = ()
    default: str | None = None

    def list_commands(self, ctx) -> list[str]:  # noqa: ANN001 - typer's own context type is private
        """Names of the installed commands, those of `order` first."""
        names = set(_offered(self.entry_point_group))
        return [name for name in self.order if name in names] + sorted(names - set(self.order))

    def get_command(self, ctx, cmd_name: str):  # noqa: ANN001, ANN201
        """The command as typer runs it; None if no package offers it."""
        entry = _offered(self.entry_point_group).get(cmd_name)
        if entry is None:
            return None
        loaded = entry.load()
        if isinstance(loaded, typer.Typer):
            command = typer.main.get_command(loaded)
        else:
            wrapper = typer.Typer(add_completion=False, rich_markup_mode="rich")
            wrapper.command(cmd_name)(loaded)
            command = typer.main.get_command(wrapper)
        command.name = cmd_name
        return command

    def parse_args(self, ctx, args: list[str]) -> list[str]:  # noqa: ANN001
        """Give options without a command to the default command."""
        named = bool(args) and (args[0] in ctx.help_option_names or not args[0].startswith("-"))
        return super().parse_args(ctx, args if named or self.default is None else [self.default, *args])


@cache
def _offered(group: str) -> dict[str, EntryPoint]:
    """Commands of installed packages, by name; read once, since what all packages offer is read for it."""
    return {entry.name: entry for entry in entry_points(group=group)}
