"""Entry point of the `dengar` command: registers the commands and turns errors into exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from asr import __version__
from asr.errors import DengarError, MissingDependencyError
from services.cli import augment, cabin, data, learn_jobs, output
from services.cli.bench import bench
from services.cli.bench_endpoint import bench_endpoint
from services.cli.bench_hints import bench_hints
from services.cli.bench_load import bench_load
from services.cli.bench_names import bench_names
from services.cli.bench_soak import bench_soak
from services.cli.bench_stability import bench_stability
from services.cli.bench_train import bench_train
from services.cli.bench_unknown import bench_unknown
from services.cli.bench_words import bench_words
from services.cli.bundle import bundle_app
from services.cli.demo import demo
from services.cli.doctor import doctor
from services.cli.evaluate import compare, evaluate
from services.cli.keys import keys_app
from services.cli.ladder import ladder
from services.cli.learn import learn_app
from services.cli.models import app as models_app
from services.cli.names import names_app
from services.cli.privacy import privacy_app
from services.cli.report import report
from services.cli.serve import serve
from services.cli.simulate import simulate
from services.cli.store import store_app
from services.cli.stream import stream
from services.cli.synth import heldout_names, synth
from services.cli.train import train
from services.cli.transcribe import transcribe
from services.cli.tune import tune

app = typer.Typer(
    name="dengar",
    help="Speech recognition for voice search that keeps learning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
data_app = typer.Typer(help="Ingest, describe, augment and synthesise speech data.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(bundle_app, name="bundle")
bench_app = typer.Typer(invoke_without_command=True)
bench_app.callback()(bench)
bench_app.command("train")(bench_train)
bench_app.command("hints")(bench_hints)
bench_app.command("endpoint")(bench_endpoint)
bench_app.command("load")(bench_load)
bench_app.command("stability")(bench_stability)
bench_app.command("soak")(bench_soak)
bench_app.command("unknown")(bench_unknown)
bench_app.command("names")(bench_names)
bench_app.command("words")(bench_words)
app.add_typer(bench_app, name="bench")
app.add_typer(keys_app, name="keys")
app.add_typer(learn_app, name="learn")
learn_app.command("run")(learn_jobs.run)
learn_app.command("status")(learn_jobs.status)
learn_app.command("request")(learn_jobs.request)
learn_app.command("prepare")(learn_jobs.prepare)
app.add_typer(models_app, name="models")
app.add_typer(names_app, name="names")
app.add_typer(store_app, name="store")
app.add_typer(privacy_app, name="privacy")
app.command("train")(train)
app.command("tune")(tune)
app.command("transcribe")(transcribe)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.command("ladder")(ladder)
app.command("report")(report)
app.command("serve")(serve)
app.command("stream")(stream)
app.command("demo")(demo)
app.command("doctor")(doctor)
app.command("simulate")(simulate)
data_app.command("ingest")(data.ingest)
data_app.command("report")(data.report)
data_app.command("augment")(augment.augment)
data_app.command("cabin")(cabin.cabin)
data_app.command("synth")(synth)
data_app.command("heldout-names")(heldout_names)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.console.print(f"dengar {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Speech recognition for voice search that keeps learning."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 2 bad input, 1 and 3 to 5 see `asr.errors`."""
    try:
        result = app(args=arguments, prog_name="dengar", standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.TyperException as error:
        output.fail(error.format_message())
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        output.fail("interrupted")
        return 130
    except DengarError as error:
        output.fail(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("", "asr", "services"):
            raise
        output.fail(
            f"this needs the Python package {error.name}, which is not installed; run: pip install 'dengar[serve]', or "
            "'dengar[train]' to train and to prepare data; dengar doctor tells what is missing"
        )
        return MissingDependencyError.exit_code
    return result if isinstance(result, int) else 0


def run() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
