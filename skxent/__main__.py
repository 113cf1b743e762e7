"""The command line: ``python -m skxent``, with the name of a command."""

import argparse
import sys
from pathlib import Path


def main() -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="python -m skxent", description="Cross-entropy for scikit-learn."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="cross-validate and fit SoftmaxRegression beside LogisticRegression",
    )
    demo.add_argument(
        "--picture",
        type=Path,
        default=Path("skxent-demo.png"),
        help="where to save the picture (default: %(default)s)",
    )
    commands.add_parser(
        "show-versions", help="print what a report of a problem should say"
    )
    commands.add_parser(
        "warm-cache", help="compile ahead what is commonly called, for minutes"
    )
    commands.add_parser("clear-cache", help="remove what was compiled, and only that")
    arguments = parser.parse_args()
    if arguments.command == "warm-cache":
        from skxent._warm_cache import warm_cache

        sys.exit(warm_cache())
    if arguments.command == "clear-cache":
        from skxent.kernels._cache import clear, folders

        removed, errors = clear()
        print(f"Removed {len(removed)} files from {', '.join(map(str, folders()))}.")
        if errors:
            sys.exit(f"{len(errors)} files could not be removed: {errors[0]}.")
        return
    if arguments.command == "show-versions":
        from skxent._versions import lines

        print("\n".join(lines()))
        return

    from skxent._demo import run  # scikit-learn is not loaded for --help

    run(arguments.picture)


if __name__ == "__main__":
    main()
