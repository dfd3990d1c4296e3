"""Write a Markdown page that compares the numbers of several folders of figures with the claims of the paper.

\b
  write_results.py "LeNet-5 on MNIST=figures/lenet5" "AlexNet on Imagenette=figures/alexnet" --out results.md
  write_results.py "ZFNet=figures/zfnet" --keep results.md --against "AlexNet on Imagenette" --out results.md
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
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Results compared with the claims of the paper",
    text: Annotated[str, typer.Option(help="Text below the heading.")] = "",
    keep: Annotated[Path | None, typer.Option(help="Page of this script whose columns are kept.")] = None,
    against: Annotated[str | None, typer.Option(help="Column with which the verdicts are compared.")] = None,
):
    folder_of: dict[str, str] = {}
    for argument in folders:
        name, _, folder = argument.partition("=")
        is_valid = name and folder and name not in folder_of
        command_line.check("A folder", argument, is_valid, "given as NAME=FOLDER, with unique names")
        if not Path(folder).is_dir():
            command_line.fail(
                f"There is no folder '{folder}'. Pass NAME=FOLDER with an output folder of make_figures.py."
            )
        folder_of[name] = folder
    command_line.check("--keep", keep, keep is None or keep.is_file(), "an existing file")
    command_line.check("--out", out, not out.is_dir(), "the name of a file")
    from deconv import figures

    try:
        with command_line.output_folder(out.parent):
            figures.write_results(out, folder_of, title, text, keep=keep, against=against)
    except (ValueError, OSError) as error:
        command_line.fail(error)
    typer.echo(f"Written: {out}")


if __name__ == "__main__":
    app()
