"""The command line: each verb hands its options to the package that does the work, and says what came of it.

Exit status: 0 done, 1 a check failed, 2 the command or its input is wrong, 70 a fault of Vigie itself, 130
interrupted. Errors are lines on standard error that begin with ``vigie:``; set VIGIE_DEBUG for the traceback.

Verbs import what they need when they run: ``vigie --help`` answers before Numba and Polars would be loaded.
"""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import Abort, TyperException

if TYPE_CHECKING:
    from rich.console import RenderableType

    from engine.progress import Progress

__all__ = ["app", "main"]

FAILED, WRONG, FAULT, INTERRUPTED = 1, 2, 70, 130

app = typer.Typer(
    name="vigie",
    help="From what patients' devices send to one ordered list of whom to call now.",
    epilog="A first look: vigie demo --for 60",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
protocols = typer.Typer(help="Check and read protocols.", no_args_is_help=True)
logs = typer.Typer(help="Look after the log.", no_args_is_help=True)
packets = typer.Typer(help="Look into packets.", no_args_is_help=True)
app.add_typer(protocols, name="protocol", epilog="Example: vigie protocol check insuffisance_cardiaque")
app.add_typer(logs, name="log", epilog="Example: vigie log verify /var/lib/vigie/log")
app.add_typer(packets, name="packet", epilog="Example: vigie packet show body.bin")

PACKET = "9901a25031a57363616c6500cf0000019f7e89fc00c0c0009201cb405499999999999a"
"""A weight of 82.4 kg: the example of `packet show`."""

QueueAddress = Annotated[
    str,
    typer.Option(
        "--queue", envvar="VIGIE_DATABASE", help="The queue: an SQLite file, or postgresql+psycopg://..."
    ),
]
Protocols = Annotated[
    list[str], typer.Option("--protocol", help="A protocol's file, or the name of a shipped one. Repeatable.")
]


class CloseRouge(StrEnum):
    """When a ROUGE ends in a replay."""

    AT_RECOVERY = "at-recovery"
    NEVER = "never"


def _version(asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import version

    from kernels import SOURCE_HASH

    typer.echo(f"vigie {version('vigie')} (kernels {SOURCE_HASH})")
    raise typer.Exit


@app.callback()
def _options(
    *,
    _asked: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Say the version and the kernels' hash."
        ),
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: vigie demo --for 60 --patients 2000")
def demo(
    for_s: Annotated[
        float | None, typer.Option("--for", min=0, metavar="SECONDS", help="Stop by itself after this long.")
    ] = None,
    patients: Annotated[int, typer.Option(min=1, help="How many patients are simulated.")] = 2000,
    days: Annotated[int, typer.Option(min=1, help="Days that are behind them when it begins.")] = 30,
    speed: Annotated[float, typer.Option(min=1, help="Seconds of the patients' time in one of ours.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same patients.")] = 1,
    folder: Annotated[
        Path | None, typer.Option("--out", help="A new or empty folder to keep the log and the queue in.")
    ] = None,
) -> None:
    """Run a simulated cell and watch its queue fill, time running fast."""
    import triage.demo

    went = triage.demo.run(
        for_s=for_s,
        patients=patients,
        days=days,
        speed=speed,
        seed=seed,
        folder=folder,
        progress=_watched(),
    )
    typer.echo(went)


@app.command(epilog="Example: vigie simulate --patients 200 --days 30 --out cohort.parquet")
def simulate(
    patients: Annotated[int, typer.Option(help="How many patients.")],
    days: Annotated[int, typer.Option(help="How many days.")],
    out: Annotated[Path, typer.Option(help="File to write; the truth goes beside it.")],
    seed: Annotated[int, typer.Option(help="The same numbers give the same bytes.")] = 1,
    form: Annotated[
        str,
        typer.Option("--format", help="parquet or csv (long form), or log (as received, with its faults)."),
    ] = "parquet",
    ecg: Annotated[bool, typer.Option("--ecg", help="ECG strips too; in a log only.")] = False,
    protocol: Protocols = [],  # noqa: B006 - Typer copies it
) -> None:
    """Simulate a cohort: what its devices send, and the truth beside it."""
    from engine.protocols import load_all
    from ingest import simulator

    items = {
        item.name: simulator.Item(item.code, int(item.range[0]), int(item.range[1]))
        for each in load_all(protocol)
        for item in each.items.values()
    }
    with _watched() as progress:
        done = simulator.simulate(
            patients,
            days,
            seed,
            out,
            format=form,
            items=items,
            ecg=ecg,
            progress=_steps(progress, "simulate"),
        )
    typer.echo(f"{done.out}: {done.rows:,} {'bodies' if form == 'log' else 'readings'}")
    for kind, count in sorted(done.truth.items()):
        typer.echo(f"  {kind}: {count:,}")
    typer.echo(f"{done.truth_file}: the truth")


@app.command(epilog="Example: vigie replay cohort.parquet --protocol insuffisance_cardiaque --out replayed")
def replay(
    paths: Annotated[
        list[Path],
        typer.Argument(help="CSV or Parquet in long form, WFDB records, a log, or folders of these."),
    ],
    protocol: Protocols,
    out: Annotated[Path, typer.Option(help="Folder for alerts.parquet, summary.json and queue.sqlite.")],
    column: Annotated[
        list[str],
        typer.Option(
            help="A column called otherwise, such as time=date; of patient, time, signal, value, unit."
        ),
    ] = [],  # noqa: B006 - Typer copies it
    mapping: Annotated[
        Path | None, typer.Option(help="A TOML file that says how columns and signals are called.")
    ] = None,
    zone: Annotated[
        str, typer.Option(help="Zone of times that have none, and of local days.")
    ] = "Europe/Paris",
    shards: Annotated[int, typer.Option(min=1, help="Threads; the alerts are the same.")] = 1,
    limits: Annotated[Path | None, typer.Option(help="A book of limits of cells and patients.")] = None,
    enrolment: Annotated[
        Path | None,
        typer.Option(help="CSV of patient, cell, programmes, zone; others follow every protocol."),
    ] = None,
    close_rouge: Annotated[
        CloseRouge | None,
        typer.Option(help="When a ROUGE ends, since no person is there (files: at-recovery; a log: never)."),
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="Write features.parquet too: what the rules saw.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted replay.")] = False,
) -> None:
    """Send recorded readings or ECG through the line, as if they came now; write the alerts and a summary."""
    import engine.replay
    import triage.replayed
    from ingest.formats.mapping import Mappings, load_mapping

    triage.replayed.check(out)
    columns = (load_mapping(mapping) if mapping else Mappings()).with_columns(**_columns(column))
    with _watched() as progress:
        summary = engine.replay.replay(
            paths,
            protocol,
            out,
            mapping=columns,
            zone=zone,
            resume=resume,
            shards=shards,
            limits=limits,
            enrolment=enrolment,
            close_rouge=close_rouge.value if close_rouge else None,
            features=features,
            progress=progress,
        )
        triage.replayed.make(out, progress)
    typer.echo(str(summary))
    if not summary.ok:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: vigie analyse records/ --out results --report results/report.html")
def analyse(
    records: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORD...", help="WFDB, EDF, CSV, arrays of R peaks (.npz, .mat), or folders of these."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for one JSON a record, named after it.")],
    channel: Annotated[
        str, typer.Option(help="Name or number (from 0) of the signal; else II, else I, else the first ECG.")
    ] = "",
    strips: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="Analyse each strip of so many seconds alone, cold."),
    ] = None,
    beats: Annotated[
        str,
        typer.Option(
            metavar="ANNOTATOR",
            help="Take beats from this WFDB annotation, or array of a .npz or .mat, instead of detecting.",
        ),
    ] = "",
    first_sample: Annotated[
        int | None,
        typer.Option(min=0, max=1, help="Number of the first sample in .npz (else 0) or .mat (else 1)."),
    ] = None,
    alarm: Annotated[
        str,
        typer.Option(metavar="TYPE", help="Judge a monitor's alarm: Asystole, Bradycardia, Tachycardia, ..."),
    ] = "",
    at: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="When the alarm was raised; else 300.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Hz, where the file does not say it (CSV).")] = None,
    gain: Annotated[
        float | None, typer.Option(help="Counts per mV of a CSV; without it, its numbers are mV.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="A page to read, in French, with the strips.")
    ] = None,
) -> None:
    """Find beats and rhythm in ECG records. Status 2 when a record cannot be analysed; the others are."""
    import engine.ecg_batch
    from ingest.formats.ecg_files import How

    how = How(channel=channel, rate_hz=rate, gain=gain, beats=beats, first_sample=first_sample)
    question = engine.ecg_batch.Question.of(alarm, at)
    with _watched() as progress:
        summary = engine.ecg_batch.analyse_files(
            records, out, how, strip_s=strips, alarm=question, report=report, progress=progress
        )
    if summary.records:
        typer.echo(str(summary))
    if summary.failed:
        raise typer.Exit(_say("\n".join(summary.failed), WRONG))


@app.command(epilog="Example: vigie strips replayed --out strips.html")
def strips(
    folder: Annotated[Path, typer.Argument(help="A history, or what a replay wrote.")],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="A page to read, in French.")],
    patient: Annotated[str | None, typer.Option(help="Of this patient only.")] = None,
    alert: Annotated[str | None, typer.Option(metavar="ID", help="Of this alert only.")] = None,
) -> None:
    """Show the ECG strips that alerts have kept. Status 1 when there are none."""
    import engine.strip_page

    count = engine.strip_page.write(folder, out, patient, alert)
    typer.echo(f"{out}: {_count(count, 'strip')}" if count else f"{folder}: no strips")
    if not count:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: vigie queue --queue replayed/queue.sqlite --at last")
def queue(
    address: QueueAddress = "queue.sqlite",
    live: Annotated[bool, typer.Option("--live", help="Stay, and show what changes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
    at_most: Annotated[int, typer.Option("--lines", min=1, help="Show so many lines.")] = 40,
    at: Annotated[
        str,
        typer.Option(
            help="Count the time left to: now, last (newest row, for a replay), or an ISO 8601 time."
        ),
    ] = "now",
    zone: Annotated[str, typer.Option(help="Zone of the times of day shown.")] = "Europe/Paris",
) -> None:
    """Show who must be called, who first, and why."""
    import json

    import triage.store
    import triage.view
    import triage.watch

    if live and as_json:
        raise typer.BadParameter("--live and --json: one or the other")  # noqa: TRY003, EM101
    clock = triage.watch.clock(at)
    where = triage.watch.zone(zone)
    with triage.store.open(address, create=False) as store:
        if as_json:
            rows = triage.view.as_rows(store.queue(at_most=at_most), clock(store))
            typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        elif live:
            triage.watch.watch(store, clock, where, at_most)
        else:
            triage.watch.show(store, clock, where, at_most)


@app.command(epilog="Example: vigie warmup")
def warmup() -> None:
    """Compile the kernels once, so that workers start at once."""
    import engine.warmup

    with _watched() as progress:
        engine.warmup.warm(progress)


@protocols.command("check", epilog="Example: vigie protocol check insuffisance_cardiaque")
def protocol_check(
    file: Annotated[str, typer.Argument(help="A protocol's file, or the name of a shipped one.")],
) -> None:
    """Validate a protocol and run its own tests. Status 1 when a test fails, 2 when the file is wrong."""
    import engine.protocol_tests
    from engine.protocols import load_all
    from rules.explain import notice

    (protocol,) = load_all([file])
    results = engine.protocol_tests.run(protocol)
    for result in results:
        typer.echo(str(result))
    typer.echo(f"{protocol.id} {protocol.version} {protocol.hash}: {_count(len(protocol.rules), 'rule')}")
    if words := notice(protocol):
        typer.echo(words)
    if not all(result.passed for result in results):
        raise typer.Exit(FAILED)


@protocols.command("explain", epilog="Example: vigie protocol explain covidom")
def protocol_explain(
    file: Annotated[str, typer.Argument(help="A protocol's file, or the name of a shipped one.")],
) -> None:
    """Print a protocol as tables that a clinician can read."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from engine.protocols import load_all
    from rules.table import heading, tables

    (protocol,) = load_all([file])
    for line in heading(protocol):
        typer.echo(line)
    for each in tables(protocol):
        drawn = Table(title=each.title, title_justify="left", box=box.HORIZONTALS, show_lines=True)
        for name in each.columns:
            drawn.add_column(name)
        for row in each.rows:
            # Text: what a protocol says in brackets is no markup.
            drawn.add_row(*map(Text, row))
        _print(drawn)


@logs.command("verify", epilog="Example: vigie log verify /var/lib/vigie/log")
def log_verify(path: Annotated[Path, typer.Argument(help="The log's file.")]) -> None:
    """Read a whole log and check every checksum; beside a running writer too. Status 1 when it is damaged."""
    from ingest.log import LogReader

    with LogReader(path) as log:
        report = log.verify()
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(FAILED)


@logs.command("trim", epilog="Example: vigie log trim /var/lib/vigie/log --before 120000")
def log_trim(
    path: Annotated[Path, typer.Argument(help="The log's file; nobody else may be writing it.")],
    before: Annotated[int, typer.Option(min=0, help="The first offset to keep.")],
) -> None:
    """Remove the oldest entries of a log. There is no way back."""
    from ingest.log import Log, LogReader

    # Read first: opening to write would make a log where there is none.
    LogReader(path).close()
    with Log.open(path) as log:
        removed = log.trim(before)
        first = log.first_offset
    typer.echo(f"{path}: {_count(removed, 'entry', 'entries')} removed, the first offset is now {first}")


@packets.command(
    "show",
    epilog=f"Example: vigie packet show {PACKET}",
)
def packet_show(
    body: Annotated[str, typer.Argument(help="A file that holds a body, or its bytes in hexadecimal.")],
    source: Annotated[str, typer.Option(help="Who sent it; only the source cell may send acts.")] = "gateway",
    protocol: Annotated[
        list[str], typer.Option(help="Protocol whose questionnaire items are known. Repeatable.")
    ] = [],  # noqa: B006 - Typer copies it
) -> None:
    """Decode a body: its packets, and what is refused with the reason. Status 1 when anything is refused."""
    import time

    from engine.protocols import load_all
    from ingest import show

    items = {
        item.code: (item.name, *item.range) for each in load_all(protocol) for item in each.items.values()
    }
    shown = show.body(_bytes(body), source, time.time_ns() // 1_000_000, items)
    typer.echo(str(shown))
    if shown.refused:
        raise typer.Exit(FAILED)


def _watched() -> "AbstractContextManager[Progress]":
    from engine.progress import watched

    return watched()


def _steps(progress: "Progress", label: str) -> Callable[[int, int], None]:
    """Give a callback of (done, in all) that reports to `progress`."""
    last = 0

    def tell(done: int, whole: int) -> None:
        nonlocal last
        if last == 0:
            progress.step(label, whole)
        progress.advance(done - last)
        last = done

    return tell


def _columns(renamed: list[str]) -> dict[str, str | None]:
    """Read options such as ``time=date``."""
    pairs = [each.partition("=") for each in renamed]
    legal = ("patient", "time", "signal", "value", "unit")
    wrong = [
        each
        for each, (ours, _, theirs) in zip(renamed, pairs, strict=True)
        if ours not in legal or not theirs
    ]
    if wrong:
        msg = f"--column {wrong[0]}: legal is ours=theirs, such as time=date; ours is {', '.join(legal)}"
        raise ValueError(msg)
    return {ours: theirs for ours, _, theirs in pairs}


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _print(drawn: "RenderableType") -> None:
    """Print on the terminal; elsewhere, wide enough for a table."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=200)).print(drawn)


def _bytes(given: str) -> bytes:
    """Read a file, or hexadecimal digits where there is no file of that name."""
    path = Path(given)
    # A long hexadecimal text is no legal name of a file.
    if len(given) < 256 and path.exists():
        return path.read_bytes()
    try:
        return bytes.fromhex(given)
    except ValueError:
        short = given if len(given) <= 60 else given[:60] + "..."
        msg = f"{short}: neither a file nor hexadecimal digits"
        raise ValueError(msg) from None


def main() -> None:
    """Run the command line; never shows a traceback unless VIGIE_DEBUG is set."""
    try:
        status = app(standalone_mode=False)
    except TyperException as error:
        # Without a message the help was asked for by saying nothing, and is there already.
        message = error.format_message().rstrip(".")
        status = _say(f"{message}; see vigie --help", WRONG) if message else WRONG
    except (Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except Exception as error:
        if os.environ.get("VIGIE_DEBUG"):
            raise
        status = _explain(error)
    if status == INTERRUPTED and sys.argv[1:] and sys.argv[1] in INTERRUPTION:
        _say(INTERRUPTION[sys.argv[1]], INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: Exception) -> int:
    """Say what an error says of itself, when it is one that is meant to be read."""
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return _say(f"{named}{error.strerror}", WRONG)
    kind = type(error)
    if isinstance(error, (ValueError, OSError)) or kind.__module__.partition(".")[0] in OURS:
        return _say(str(error), WRONG)
    return _say(f"a fault of Vigie itself: {kind.__name__}: {error}; VIGIE_DEBUG=1 shows where", FAULT)


def _say(message: str, status: int) -> int:
    for line in message.splitlines() or [message]:
        print(f"vigie: {line}", file=sys.stderr)  # noqa: T201 - typer.echo would not be there without Typer
    return status


INTERRUPTION = {"replay": "interrupted; the same command with --resume goes on from where it was last safe"}
"""What to say of an interrupted verb, where there is more to say than that."""

OURS = {"kernels", "ingest", "rules", "engine", "triage"}
"""Packages whose own exceptions are written to be read."""

if __name__ == "__main__":
    main()
