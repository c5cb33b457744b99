"""What can be said on the command line, or in a TOML file of settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import sklearn_rdm
from sklearn_rdm._cli import _commands as commands
from sklearn_rdm._cli._settings import as_value, read_toml
from sklearn_rdm._pairs._images import COLOURS

__all__ = ["parse"]

NEEDED = {
    "images": "a folder of image files",
    "rdm": "a file of dissimilarities",
    "layers": "--layers and names of layers, which 'sklearn-rdm layers BACKBONE' lists",
    "out": "--out and the folder to write",
}
EXAMPLES = {
    "demo": "sklearn-rdm demo",
    "layers": "sklearn-rdm layers alexnet",
    "evaluate": "sklearn-rdm evaluate photos/ ratings.csv --backbone alexnet --layers conv3 conv5",
    "fit": """sklearn-rdm fit photos/ ratings.mat --layer conv4 --out model/
  sklearn-rdm fit photos/ ratings.mat --layer conv4 --background white \\
      --search freeze_up_to=None,conv2 lr=1e-4,1e-3 --set max_epochs=20 --out model/
  sklearn-rdm fit --settings study.toml --out model/

settings in TOML have the names of the options:
  images = "photos"
  rdm = "ratings.mat"
  layer = "conv4"
  [search]
  lr = [1e-4, 1e-3]""",
    "predict": "sklearn-rdm predict model/ new_photos/ --out rdm.mat",
    "report": "sklearn-rdm report model/",
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; those of a settings file are defaults of those on the command line."""
    parser, of_command = _parser()
    arguments = parser.parse_args(argv)
    if getattr(arguments, "settings", None) is not None:
        chosen = of_command[arguments.name]
        chosen.set_defaults(**_read_settings(arguments.settings, arguments, chosen))
        arguments = parser.parse_args(argv)
    for name, what in NEEDED.items():
        if getattr(arguments, name, "") is None:
            of_command[arguments.name].error(f"{name} is missing: give {what}")
    if getattr(arguments, "jobs", None) == 0:
        of_command[arguments.name].error("--jobs must be 1 or more, or -1 for all processors")
    if len(getattr(arguments, "columns", [])) not in (0, 3, 4):
        of_command[arguments.name].error("--columns needs three names, or four with the subject's")
    return arguments


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        "sklearn-rdm",
        description="Fine-tune pretrained networks on measured dissimilarities of images.",
        epilog="examples:\n  " + "\n  ".join(text.splitlines()[0] for text in EXAMPLES.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=sklearn_rdm.__version__)
    subparsers = parser.add_subparsers(required=True, dest="name", metavar="COMMAND")
    of_command = {}
    for add in (_add_demo, _add_layers, _add_evaluate, _add_fit, _add_predict, _add_report):
        name = add.__name__.removeprefix("_add_")
        summary = add.__doc__ or ""
        of_command[name] = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"examples:\n  {EXAMPLES[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        of_command[name].set_defaults(command=getattr(commands, name))
        add(of_command[name])
    return parser, of_command


def _add_demo(parser: argparse.ArgumentParser) -> None:
    """Fine-tune a small network on human brains, or on simulated subjects, and report it."""
    _add_fitting(parser)
    parser.add_argument("--out", default="demo", help="folder to write (default: demo)")
    parser.set_defaults(
        **{"backbone": "efficientnet_lite0", "weights": "DEFAULT", "device": "cpu"},
        **{"columns": [], "size": None, "scoring": "spearman", "random_state": 0},
        set={"max_epochs": 12},
    )


def _add_layers(parser: argparse.ArgumentParser) -> None:
    """List the layers of a network."""
    parser.add_argument("backbone", help="name of a network, such as alexnet")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Score layers of a network as it is against measured dissimilarities."""
    _add_data(parser)
    _add_network(parser)
    parser.add_argument("--layers", nargs="+", default=None, help="layers to score (needed)")
    parser.add_argument(
        "--permutations", type=int, default=1000, help="shuffles of the images, for chance level"
    )
    parser.add_argument("--out", default="", help="CSV file to write the table to")
    parser.add_argument("--figure", default="", help="PNG, PDF or SVG file to draw")


def _add_fit(parser: argparse.ArgumentParser) -> None:
    """Fine-tune a network, choose settings on held-out images, and write a folder."""
    _add_data(parser)
    _add_network(parser)
    parser.add_argument("--layer", default=None, help="layer that is trained to predict")
    parser.add_argument(
        "--search",
        nargs="+",
        default={},
        type=_candidates,
        metavar="NAME=A,B",
        help="parameters of SiameseRDMRegressor to search, with their candidates",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default={},
        type=_parameter,
        metavar="NAME=VALUE",
        help="other parameters of SiameseRDMRegressor, with one value each",
    )
    _add_fitting(parser)
    parser.add_argument("--out", default=None, help="folder to write (needed)")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    """Predict the dissimilarity matrix of new images."""
    _add_model(parser)
    parser.add_argument("images", help="folder of image files")
    parser.add_argument(
        "--background", choices=[*COLOURS], help="as in fit (default: that of the model)"
    )
    parser.add_argument(
        "--out", required=True, help="file to write: .mat, .npz, .npy, .csv, .h5 or .pkl"
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    """Write the report of a fitted model again, one HTML file."""
    _add_model(parser)
    parser.add_argument("--out", default="", help="HTML file (default: report.html in the folder)")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", help="folder that fit wrote; loading it can run code: use only those you trust"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="?", help="folder of image files")
    parser.add_argument(
        "rdm", nargs="?", help="file of dissimilarity matrices: .mat, .npz, .npy, .csv, .h5 or .pkl"
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="NAME",
        help="RDM is a table with a row per pair: its columns of the two images, of the "
        "dissimilarity, and of the subject if there is one",
    )
    parser.add_argument("--size", type=int, default=None, help="resize images to this many pixels")
    parser.add_argument("--background", choices=[*COLOURS], help="colour of the display")
    parser.add_argument("--scoring", default="spearman", help="score (default: spearman)")
    parser.add_argument("--random-state", type=int, default=0, help="seed (default: 0)")
    parser.add_argument("--settings", default=None, help="TOML file with any of these options")


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="alexnet", help="network (default: alexnet)")
    parser.add_argument("--weights", default="DEFAULT", help="name or file of weights, or none")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")


def _add_fitting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folds", type=int, default=5, help="folds over images (default: 5)")
    parser.add_argument(
        "--test-size",
        type=float,
        default=0.25,
        help="share of the images held out for the final score; 0 trains on all (default: 0.25)",
    )
    parser.add_argument("--jobs", type=int, default=None, help="fits to run at the same time")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _candidates(text: str) -> tuple[str, list[Any]]:
    name, value = _named(text)
    return name, [as_value(part) for part in value.split(",")]


def _parameter(text: str) -> tuple[str, Any]:
    name, value = _named(text)
    return name, as_value(value)


def _named(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _read_settings(
    path: str, arguments: argparse.Namespace, parser: argparse.ArgumentParser
) -> dict[str, Any]:
    try:
        settings = read_toml(path)
    except ValueError as error:
        parser.error(str(error))
    known = set(vars(arguments)) - {"command", "name", "settings"}
    if unknown := sorted(set(settings) - known):
        parser.error(f"{path}: unknown settings {unknown}; known are {sorted(known)}")
    return settings
