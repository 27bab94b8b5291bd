import click


@click.command("inspect")
def inspect_command() -> None: ...
