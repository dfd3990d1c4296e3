"""Write one page of Markdown with what several folders of figures say to the paper's claims: no pictures, only numbers.

\b
  write_results.py "LeNet-5 on MNIST=figures/lenet5" "AlexNet on Imagenette=figures/alexnet" --out results.md
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folders: Annotated[list[str], typer.Argument(metavar="NAME=FOLDER...", help="Folders of make_figures.py.")],
    out: Annotated[Path, typer.Option(help="The Markdown file.")] = Path("results.md"),
    title: Annotated[str, typer.Option(help="Its heading.")] = "What is seen of the paper's claims",
    text: Annotated[str, typer.Option(help="What stands below it.")] = "",
):
    named = {}
    for given in folders:
        name, _, folder = given.partition("=")
        command_line.check("A folder", given, name and folder and name not in named, "given as NAME=FOLDER, each once")
        if not Path(folder).is_dir():
            command_line.fail(f"There is no folder '{folder}'; give NAME=FOLDER of make_figures.py.")
        named[name] = folder
    command_line.check("--out", out, not out.is_dir(), "a file")
    from deconv import figures

    try:
        with command_line.output_folder(out.parent):
            figures.write_results(out, named, title, text)
    except (ValueError, OSError) as error:
        command_line.fail(error)
    typer.echo(f"Written: {out}")


if __name__ == "__main__":
    app()
