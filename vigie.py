"""The command line: each verb hands its options to the package that does the work, and says what came of it.

Exit status: 0 done, 1 a check failed, 2 the command or its input is wrong, 70 a fault of Vigie itself, 130
interrupted. Errors are lines on standard error that begin with ``vigie:``; set VIGIE_DEBUG for the traceback.

Verbs import what they need when they run: ``vigie --help`` answers before Numba and Polars would be loaded.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import Abort, TyperException

from triage.people.person import Role, Scope

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy import Engine

    from engine.backtest_study import Terms
    from engine.program import Options
    from engine.progress import Progress
    from engine.replay_input import Asked
    from ingest.sources import Sources

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
protocols = typer.Typer(help="Write, check, compare and sign protocols.", no_args_is_help=True)
logs = typer.Typer(help="Look after the log.", no_args_is_help=True)
packets = typer.Typer(help="Look into packets.", no_args_is_help=True)
sources = typer.Typer(help="Gateways that may send, and their keys.", no_args_is_help=True)
users = typer.Typer(help="Accounts of those who work with the queue.", no_args_is_help=True)
trail = typer.Typer(help="The audit trail of the queue.", no_args_is_help=True)
config = typer.Typer(help="The service's configuration.", no_args_is_help=True)
personal = typer.Typer(help="Limits of single patients.", no_args_is_help=True)
patients = typer.Typer(help="Enrol patients and look after the register.", no_args_is_help=True)
app.add_typer(protocols, name="protocol", epilog="Example: vigie protocol check insuffisance_cardiaque")
app.add_typer(
    personal,
    name="limits",
    epilog="Example: vigie limits propose cohort.parquet --protocol covidom --limit rate_high --out own",
)
app.add_typer(logs, name="log", epilog="Example: vigie log verify /var/lib/vigie/log")
app.add_typer(patients, name="patient", epilog="Example: vigie patient import patients.csv --dry-run")
app.add_typer(packets, name="packet", epilog="Example: vigie packet show body.bin")
app.add_typer(
    sources, name="source", epilog="Example: vigie source create home-gateway --cell 'Cellule Nord'"
)
app.add_typer(
    users, name="user", epilog="Example: vigie user create marie --role nurse --cell 'Cellule Nord'"
)
app.add_typer(trail, name="audit", epilog="Example: vigie audit verify")
app.add_typer(config, name="config", epilog="Example: vigie config show")

PACKET = "9901a25031a57363616c6500cf0000019f7e89fc00c0c0009201cb405499999999999a"
"""A weight of 82.4 kg: the example of `packet show`."""

QueueAddress = Annotated[
    str,
    typer.Option(
        "--queue", envvar="VIGIE_DATABASE", help="The queue: an SQLite file, or postgresql+psycopg://..."
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file of settings; else VIGIE_CONFIG names it."),
]
LogAddress = Annotated[
    str | None,
    typer.Option(
        help="The log on Redis, redis://host:port/database; a password goes into the file or VIGIE_LOG."
    ),
]
DataFolder = Annotated[Path | None, typer.Option("--data", help="The service's folder.")]
Protocols = Annotated[
    list[str], typer.Option("--protocol", help="A protocol's file, or the name of a shipped one. Repeatable.")
]
RegisterAddress = Annotated[
    str,
    typer.Option(
        "--register",
        envvar="VIGIE_REGISTER",
        help="The register of patients: an SQLite file, or postgresql+psycopg://... Never the queue's.",
    ),
]
By = Annotated[str, typer.Option("--by", help="Who does it; else the user of the machine.")]
OwnProtocols = Annotated[
    list[str],
    typer.Option("--protocol-file", help="A protocol's file, beside those that are shipped. Repeatable."),
]
PatientId = Annotated[str, typer.Argument(metavar="ID", help="As vigie patient list shows it.")]
Identity = Annotated[bool, typer.Option("--identity", help="Show who they are; that it was shown is noted.")]
AccountName = Annotated[str, typer.Argument(metavar="NAME", help="Of the account.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
NotedIn = Annotated[
    str,
    typer.Option(
        "--queue", envvar="VIGIE_DATABASE", help="Whose audit trail notes signatures: as of vigie queue."
    ),
]
ZoneShown = Annotated[str, typer.Option(help="Zone of the times shown.")]

Histories = Annotated[
    list[Path], typer.Argument(help="CSV or Parquet in long form, folders of these, or a log.")
]
Outcomes = Annotated[
    Path | None, typer.Option(help="CSV or Parquet of patient, time and kind: what became of them.")
]
OutcomeKinds = Annotated[list[str], typer.Option(help="Kind of outcome that counts; else all. Repeatable.")]
WindowDays = Annotated[
    float, typer.Option(min=0.1, max=366, help="Before an outcome, in which an alert counts for it.")
]
RenamedColumns = Annotated[list[str], typer.Option(help="A column called otherwise, such as time=date.")]
MappingFile = Annotated[
    Path | None, typer.Option(help="A TOML file that says how columns and signals are called.")
]
ZoneOfDays = Annotated[str, typer.Option(help="Zone of times that have none, and of days.")]
BookOfLimits = Annotated[Path | None, typer.Option(help="A book of limits of cells and patients.")]
EnrolmentFile = Annotated[Path | None, typer.Option(help="CSV of patient, cell, programmes, zone.")]
KeptFolder = Annotated[
    Path | None, typer.Option(help="Folder for what is computed once; by default in the output folder.")
]
KeptAtMost = Annotated[
    int,
    typer.Option(
        min=1, help="How many of these, used last, are left in that folder; older ones are removed."
    ),
]
Threads = Annotated[int, typer.Option(min=1, max=64, help="Threads; the figures are the same.")]


class DiffForm(StrEnum):
    """How the differences of two protocols are written."""

    TEXT = "text"
    JSON = "json"


class CloseRouge(StrEnum):
    """When a ROUGE ends in a replay."""

    AT_RECOVERY = "at-recovery"
    NEVER = "never"


RougeEnds = Annotated[
    CloseRouge | None, typer.Option(help="When a ROUGE ends (files: at-recovery; a log: never).")
]


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
    speed: Annotated[float, typer.Option(min=1, help="Seconds of the patients' time in one of ours.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same patients.")] = 1,
    folder: Annotated[
        Path | None, typer.Option("--out", help="A new or empty folder to keep the log and the queue in.")
    ] = None,
    web: Annotated[bool, typer.Option(envvar="VIGIE_WEB", help="Serve the nurses' pages.")] = True,
) -> None:
    """Run a simulated cell on a busy morning: its queue in the terminal, and the nurses' pages in a browser.

    With --speed 600 a day passes in a few minutes.
    """
    import triage.demo

    went = triage.demo.run(
        for_s=for_s,
        patients=patients,
        days=days,
        speed=speed,
        seed=seed,
        folder=folder,
        web=web,
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
    shards: Annotated[int, typer.Option(min=1, max=64, help="Threads; the alerts are the same.")] = 2,
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
    no_queue: Annotated[
        bool,
        typer.Option("--no-queue", help="Leave out queue.sqlite, which takes longest where alerts are many."),
    ] = False,
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
            then=triage.replayed.leave_out if no_queue else triage.replayed.make,
            command=["vigie", *sys.argv[1:]],
        )
    typer.echo(str(summary))
    if not summary.ok:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: vigie quality exports/ --report quality.html")
def quality(
    paths: Annotated[
        list[Path],
        typer.Argument(help="CSV or Parquet, WFDB records, or folders of these: what is to be replayed."),
    ],
    column: Annotated[list[str], typer.Option(help="A column called otherwise, such as time=date.")] = [],  # noqa: B006
    mapping: Annotated[
        Path | None, typer.Option(help="A TOML file that says how columns and signals are called.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Zone of times that have none, and of days.")] = "Europe/Paris",
    protocol: Annotated[
        list[str],
        typer.Option("--protocol", help="A protocol whose questionnaire is in the files. Repeatable."),
    ] = [],  # noqa: B006
    silent_days: Annotated[int, typer.Option(min=1, max=366, help="Days without data that are a gap.")] = 7,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all of it as JSON.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page: each site with a plot of its days.")
    ] = None,
) -> None:
    """Say what files are like before they are replayed: units, clocks, duplicates, gaps, implausible, per site.

    Where columns are not known a mapping is proposed instead, on standard output, to be saved. Exit status 1 where
    something is found by which a replay is likely to be wrong, or a mapping has to be written first.
    """
    import engine.quality
    import engine.quality_page
    from engine.protocols import load_all
    from ingest.formats.mapping import Mappings, load_mapping

    columns = (load_mapping(mapping) if mapping else Mappings()).with_columns(**_columns(column))
    given = mapping.read_text(encoding="utf-8") if mapping else ""
    proposed = engine.quality.propose(paths, mapping=columns, zone=zone, protocols=protocol, given=given)
    if proposed:
        typer.echo(proposed.text, nl=False)
        more = f" and {len(proposed.files) - 5:,} more" if len(proposed.files) > 5 else ""
        typer.echo(f"no known columns: {', '.join(proposed.files[:5])}{more}", err=True)
        typer.echo("on standard output is a mapping that may fit: save it, then --mapping FILE", err=True)
        for each in proposed.to_decide:
            typer.echo(f"to decide: {each}", err=True)
        raise typer.Exit(FAILED)
    with _watched() as progress:
        found = engine.quality.inspect(
            paths, mapping=columns, zone=zone, protocols=protocol, silent_days=silent_days, progress=progress
        )
    typer.echo(str(found))
    if as_json:
        found.write(as_json)
    if report:
        engine.quality_page.write_page(found, report, load_all(protocol))
    if found.serious:
        raise typer.Exit(FAILED)


@app.command(
    epilog="Example: vigie backtest cohort.parquet --protocol covidom --limit rate_high=115 --out tried"
)
def backtest(
    paths: Histories,
    protocol: Protocols,
    out: Annotated[Path, typer.Option(help="Folder for report.html, summary.txt and tables.")],
    against: Annotated[
        list[str],
        typer.Option(help="Protocol to compare with: a file, or the name of a shipped one. Repeatable."),
    ] = [],  # noqa: B006 - Typer copies it
    limit: Annotated[
        list[str], typer.Option(help="A limit to change, such as gain_3d_kg=1.5. Repeatable.")
    ] = [],  # noqa: B006
    sweep: Annotated[
        list[str], typer.Option(help="A limit to try at many values: gain_3d_kg=1:3:0.25. Once or twice.")
    ] = [],  # noqa: B006
    outcomes: Outcomes = None,
    outcome: OutcomeKinds = [],  # noqa: B006
    window_days: WindowDays = 30.0,
    lateness: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE:HOURS",
            help="What late readings would change in a file: 0.02:6 is 2 %, by 6 h in the median. A log is told by its "
            "receipt times; none leaves that out.",
        ),
    ] = None,
    column: RenamedColumns = [],  # noqa: B006
    mapping: MappingFile = None,
    zone: ZoneOfDays = "Europe/Paris",
    limits: BookOfLimits = None,
    enrolment: EnrolmentFile = None,
    close_rouge: RougeEnds = None,
    kept: KeptFolder = None,
    keep: KeptAtMost = 8,
    shards: Threads = 2,
) -> None:
    """Try protocols on a history: alerts, load, outcomes caught; and what a change would add, remove and miss."""
    import engine.backtest
    import engine.backtest_report
    import engine.backtest_study
    from engine.backtest_lateness import order_of
    from engine.backtest_sweep import parse_sweep
    from engine.load import load
    from engine.replay_input import is_log_among

    changes = dict(_numbers(each) for each in limit)
    spans = [parse_sweep(each) for each in sweep]
    asked = _history(paths, mapping, column, zone)
    log = is_log_among(paths)
    order = order_of(lateness, has_receipts=log)
    options = _of_history(close_rouge, log=log)
    base, other = (
        load(names, limits=limits, enrolment=enrolment, zone=zone, options=options) if names else None
        for names in (protocol, against)
    )
    assert base is not None  # noqa: S101 - a protocol is required
    terms = _terms(outcomes, outcome, window_days, zone)
    out.mkdir(parents=True, exist_ok=True)
    with _watched() as progress:
        histories = [
            engine.backtest.History(
                asked, kept or out / "kept", shards=shards, keep=keep, progress=progress, order=each
            )
            for each in (None, order)
        ]
        found = engine.backtest_study.study(
            histories[0],
            base,
            against=other,
            changes=changes,
            spans=spans,
            terms=terms,
            other_order=histories[1] if order else None,
            progress=progress,
        )
        progress.step("report")
        engine.backtest_study.write(found, out, ["vigie", *sys.argv[1:]])
        engine.backtest_report.write_report(found, out / "report.html", ["vigie", *sys.argv[1:]])
    typer.echo(engine.backtest_study.summary(found))
    typer.echo(f"report: {out / 'report.html'}")


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
    zone: ZoneShown = "Europe/Paris",
) -> None:
    """Show the ECG strips that alerts have kept. Status 1 when there are none."""
    import engine.strip_page
    import triage.watch

    count = engine.strip_page.write(folder, out, patient, alert, zone=triage.watch.zone(zone))
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


@app.command(
    epilog="Example: vigie serve --data /var/lib/vigie --protocol insuffisance_cardiaque --port 8080"
)
def serve(
    file: ConfigFile = None,
    data: DataFolder = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="A protocol's file, or the name of a shipped one. Repeatable."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.")] = None,
    log: LogAddress = None,
) -> None:
    """Take packets over HTTP, durably, and put alerts in the queue, until Ctrl-C or SIGTERM.

    With --log redis://... it only takes packets, into a log that vigie work processes share; without, it is all in one.
    Every setting can be given in a TOML file or in the environment: vigie config show.
    """
    import engine.config
    import engine.intake_service
    import engine.service
    import engine.warmup
    import triage.depth
    import triage.policy
    import triage.store
    import triage.web.child
    import triage.work.outgoing

    given = {"data": data, "protocols": protocol or None, "host": host, "port": port, "log": log}
    settings, _ = engine.config.load(file, given)
    engine.service.messages(settings)
    with _watched() as progress:
        engine.warmup.warm(progress)
    settings.data.mkdir(parents=True, exist_ok=True)
    policy = triage.policy.read(settings.policy)
    with triage.store.open(settings.database or settings.data / "queue.sqlite", policy) as store:
        depth = triage.depth.of(store)
        outbox = triage.work.outgoing.Outbox(store.engine)
        if settings.log:
            service: engine.service.Service = engine.intake_service.IntakeService(settings, depth, outbox)
        else:
            service = engine.service.Service(settings, store.apply, depth, outbox)
        with engine.service.stopped_by_signals(service), triage.web.child.beside(settings):
            service.run(lambda address: typer.echo(f"vigie: listening at {address}"))


@app.command(epilog="Example: vigie web --data /var/lib/vigie --port 8081")
def web(
    file: ConfigFile = None,
    data: DataFolder = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="A protocol's file, or the name of a shipped one. Repeatable."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.")] = None,
    register: Annotated[
        str,
        typer.Option(envvar="VIGIE_REGISTER", help="The register of patients; without it, pseudonyms only."),
    ] = "",
) -> None:
    """Show the queue to the nurses' browsers, until Ctrl-C or SIGTERM. vigie serve begins it beside itself.

    Accounts are made by vigie user create. Several may run on one queue, on any machine that reaches its database.
    """
    import engine.config
    import engine.service
    import triage.web.serving

    given = {"data": data, "protocols": protocol or None, "web_host": host, "web_port": port}
    settings, _ = engine.config.load(file, given)
    engine.service.messages(settings)
    pages = triage.web.serving.Pages(settings, register)
    with engine.service.stopped_by_signals(pages):
        pages.run(lambda address: typer.echo(f"vigie: pages at {address}"))


@app.command(
    epilog="Example: vigie link 7K2M-9QXT-4HJD-0BWE --protocol covidom --base https://vigie.example.org"
)
def link(
    patients: Annotated[list[str], typer.Argument(help="Ids of patients.")],
    protocol: Annotated[str, typer.Option(help="Whose questionnaire is asked.")],
    base: Annotated[str, typer.Option(help="Address at which patients reach the pages.")],
    hours: Annotated[float, typer.Option(min=1, max=168, help="How long the links are good.")] = 24,
    file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Print links with which patients answer a questionnaire without an account: one line each, id and link."""
    import time

    import engine.config
    import engine.protocols
    import triage.people.seal
    import triage.web.links

    settings, _ = engine.config.load(file, {"data": data})
    engine.protocols.load_all([protocol])
    seal = triage.people.seal.load(settings.data / "web.key")
    until_ms = time.time_ns() // 1_000_000 + round(hours * 3_600_000)
    for patient in patients:
        token = triage.web.links.Link.new(patient, protocol, until_ms).sealed(seal)
        typer.echo(f"{patient},{base.rstrip('/')}/q/{token}")


@app.command(epilog="Example: vigie work --log redis://127.0.0.1:6379/0 --shards 0-7 --data /var/lib/vigie")
def work(
    shards: Annotated[str, typer.Option(help="Partitions of the log to work on: 0-7, or 0,3,8-11.")],
    file: ConfigFile = None,
    data: DataFolder = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="A protocol's file, or the name of a shipped one. Repeatable."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address for /readyz and /metrics.")] = None,
    port: Annotated[int | None, typer.Option(help="Port for them; 0: any free one.")] = None,
    log: LogAddress = None,
) -> None:
    """Take some partitions of a log on Redis through the line, and put alerts in the queue, until SIGTERM.

    A partition is worked on by one process at a time, that which holds its lease; another that is given the same one
    waits for it. Killed and started again, anywhere where the data folder is, it goes on from its checkpoint.
    """
    import engine.config
    import engine.service
    import engine.warmup
    import engine.worker
    import triage.depth
    import triage.policy
    import triage.store

    given = {"data": data, "protocols": protocol or None, "host": host, "port": port, "log": log}
    settings, _ = engine.config.load(file, given)
    if not settings.log:
        raise typer.BadParameter("work needs a log on Redis: --log redis://... or VIGIE_LOG")  # noqa: TRY003, EM101
    wanted = engine.worker.partitions_of(shards)
    engine.service.messages(settings)
    with _watched() as progress:
        engine.warmup.warm(progress)
    settings.data.mkdir(parents=True, exist_ok=True)
    policy = triage.policy.read(settings.policy)
    with triage.store.open(settings.database or settings.data / "queue.sqlite", policy) as store:
        worker = engine.worker.Worker(settings, wanted, store, triage.depth.of(store))
        with engine.service.stopped_by_signals(worker):
            worker.run(lambda address: typer.echo(f"vigie: working, {address}/readyz says how far"))


@app.command(
    epilog="Example: vigie bridge mqtts://broker.example --to http://127.0.0.1:8080 --key-file bridge.key "
    "--username vigie-bridge --password-file bridge.password"
)
def bridge(
    url: Annotated[
        str,
        typer.Argument(help="Of the broker: mqtt://host:port, mqtts:// with TLS; or redis://, rediss://."),
    ],
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The service: http://host:port.")],
    key_file: Annotated[Path, typer.Option(help="File with the key of the source that the bridge is.")],
    topic: Annotated[
        str, typer.Option(help="What to subscribe to; '+' is any one level. Of MQTT.")
    ] = "vigie/+/packets",
    stream: Annotated[
        str, typer.Option(metavar="NAME", help="The stream to read: entries with a field 'body'. Of Redis.")
    ] = "vigie:packets",
    share: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="Share the messages with the other bridges of a group; with Redis always one, else vigie.",
        ),
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="By which the broker knows the session; one of its own. Else vigie-bridge, or the host's name.",
        ),
    ] = None,
    quarantine: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for bodies that the service will never take.")
    ] = Path("vigie-bridge-quarantine"),
    username: Annotated[str | None, typer.Option(metavar="NAME", help="At the broker.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the password at the broker.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Authorities to trust, in PEM, for mqtts and https; else the system's."
        ),
    ] = None,
    in_flight: Annotated[
        int, typer.Option(min=1, max=65_535, help="Messages in hand at once, each of at most 16 MiB.")
    ] = 64,
    stop_s: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="At a stop, time for what is in hand.")
    ] = 20,
) -> None:
    """Carry bodies from an MQTT broker, or a Redis Stream, to a service; each is acknowledged when that has it on disk.

    A process of its own, until Ctrl-C or SIGTERM. Status 2 when broker or service will not have it.
    """
    from ingest.bridges import mqtt, redis_stream
    from ingest.bridges.settings import Settings

    if url.startswith(("redis:", "rediss:")):
        redis_stream.run(
            redis_stream.Settings(
                server=url,
                service=to,
                key_file=key_file,
                stream=stream,
                group=share or "vigie",
                name=client_id,
                quarantine=quarantine,
                username=username,
                password_file=password_file,
                ca=ca,
                in_flight=in_flight,
                stop_s=stop_s,
            )
        )
        return
    mqtt.run(
        Settings(
            broker=url,
            service=to,
            key_file=key_file,
            topic=topic,
            share=share,
            client_id=client_id,
            quarantine=quarantine,
            username=username,
            password_file=password_file,
            ca=ca,
            in_flight=in_flight,
            stop_s=stop_s,
        )
    )


@app.command(
    epilog="Example: vigie load http://127.0.0.1:8080 --key-file key --packets 250000 --body 1000 --seconds 10"
)
def load(
    url: Annotated[str, typer.Argument(help="Of a running service, http://host:port.")],
    key_file: Annotated[
        Path, typer.Option(help="File with the key of a source for everyone, its limits beyond the load.")
    ],
    packets_: Annotated[float, typer.Option("--packets", help="Packets a second, in all.")] = 1000,
    body: Annotated[int, typer.Option(help="Packets of a body.")] = 100,
    seconds: Annotated[float, typer.Option(help="How long.")] = 10,
    connections: Annotated[int, typer.Option(help="Connections at once.")] = 16,
    patients: Annotated[
        int, typer.Option(help="Patients in turn; simulated, their ids begin with 0.")
    ] = 100_000,
    low: Annotated[
        int, typer.Option(help="Every so many-th reading raises an alert; 0: none does.")
    ] = 99_991,
) -> None:
    """Send simulated readings at a steady rate, whatever comes back, and say how fast the answers were.

    Not for a service with real patients: the readings go the whole way, into the queue.
    """
    from ingest.simulator.load import Load, run

    asked = Load(packets_, body, seconds, connections, patients, low)
    with _watched() as progress:
        progress.step("load", round(asked.requests), "requests")
        typer.echo(str(run(url, key_file.read_text("ascii").strip(), asked, progress.advance)))


@app.command(epilog="Example: vigie capacity --data /var/lib/vigie-capacity")
def capacity(
    file: ConfigFile = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A new or empty folder on the disk that is meant; else a temporary one."),
    ] = None,
) -> None:
    """Measure for about a minute how many patients this machine can hold, and what stops it first."""
    import tempfile

    import engine.capacity
    import engine.config
    import engine.warmup
    import triage.store

    with tempfile.TemporaryDirectory(prefix="vigie-capacity-") as temporary, _watched() as progress:
        engine.warmup.warm(progress)
        settings, _ = engine.config.load(file, {"data": data or Path(temporary) / "data"})
        with triage.store.open(Path(temporary) / "queue.sqlite") as store:
            typer.echo(str(engine.capacity.measure(settings, store.apply, progress)))


@app.command(epilog="Example: vigie backup /backups/vigie-2026-11-27 --data /var/lib/vigie")
def backup(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Copy a service's folder while it runs: log, checkpoints, history, queue, sources; the copy is checked."""
    import engine.backup
    import engine.config
    import triage.store

    settings, _ = engine.config.load(file, {"data": data})
    if settings.log:
        raise typer.BadParameter("the log is on Redis, which is backed up by its own means: docs/several.md")  # noqa: TRY003, EM101
    queue_file = triage.store.file_of(settings.database or settings.data / "queue.sqlite")
    with _watched() as progress:
        typer.echo(f"{out}: {engine.backup.backup(settings.data, out, queue_file, progress)}")


@app.command(epilog="Example: vigie restore /backups/vigie-2026-11-27 --data /var/lib/vigie")
def restore(
    copy: Annotated[Path, typer.Argument(help="What `vigie backup` made.")],
    file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Make a service's folder of a backup, in a new or empty folder; every file is checked."""
    import engine.backup
    import engine.config

    settings, _ = engine.config.load(file, {"data": data})
    with _watched() as progress:
        typer.echo(f"{settings.data}: {engine.backup.restore(copy, settings.data, progress)}")


@app.command(epilog="Example: vigie monitoring /etc/vigie/monitoring")
def monitoring(folder: Annotated[Path, typer.Argument(help="Folder to write to.")]) -> None:
    """Write alert rules for Prometheus and a dashboard for Grafana."""
    import engine.monitoring

    for path in engine.monitoring.write(folder):
        typer.echo(path)


@config.command("show", epilog="Example: vigie config show --config vigie.toml")
def config_show(
    file: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
) -> None:
    """Show every setting, its value and where that comes from; secrets are hidden."""
    import json
    from dataclasses import asdict

    from rich import box
    from rich.table import Table
    from rich.text import Text

    import engine.config

    shown = engine.config.show(*engine.config.load(file))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in shown], ensure_ascii=False, indent=1))
        return
    drawn = Table("setting", "value", "from", "what it is", box=box.HORIZONTALS)
    for each in shown:
        drawn.add_row(*map(Text, (each.name, each.value, each.origin, each.about)))
    _print(drawn)


@sources.command("create", epilog="Example: vigie source create home-gateway --cell 'Cellule Nord'")
def source_create(
    name: Annotated[str, typer.Argument(help="Its name: a-z, 0-9, '.', '_', '-'.")],
    cell: Annotated[
        list[str], typer.Option(help="It may send for the patients of this cell. Repeatable.")
    ] = [],  # noqa: B006 - Typer copies it
    patient: Annotated[list[str], typer.Option(help="It may send for this patient. Repeatable.")] = [],  # noqa: B006 - likewise
    everyone: Annotated[bool, typer.Option("--everyone", help="It may send for every patient.")] = False,
    requests: Annotated[float | None, typer.Option(help="Requests a second, at most.")] = None,
    packets_: Annotated[float | None, typer.Option("--packets", help="Packets a second, at most.")] = None,
    bytes_: Annotated[float | None, typer.Option("--bytes", help="Bytes a second, at most.")] = None,
    body: Annotated[int | None, typer.Option(help="Bytes of a body, at most.")] = None,
    file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Add a source and print its key, which is shown this once."""
    from ingest.sources import Limits, Source

    given = {"requests_per_s": requests, "packets_per_s": packets_, "bytes_per_s": bytes_, "body_bytes": body}
    limits = Limits(**{field: value for field, value in given.items() if value is not None})  # type: ignore[arg-type]
    source = Source(name, tuple(cell), tuple(patient), everyone, limits)
    with _sources(file, data) as kept:
        typer.echo(kept.create(source, _who()))


@sources.command("list", epilog="Example: vigie source list")
def source_list(
    file: ConfigFile = None,
    data: DataFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
) -> None:
    """List the sources: what each may send for, its limits, how many good keys it has."""
    import json
    from dataclasses import asdict

    with _sources(file, data) as kept:
        found = kept.all()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], ensure_ascii=False, indent=1))
    for each in found if not as_json else ():
        state = "revoked" if each.revoked_ms else _count(each.keys, "key")
        typer.echo(f"{each.name}: {state}; {each.enrolled}")


@sources.command("rotate", epilog="Example: vigie source rotate home-gateway --overlap 48")
def source_rotate(
    name: Annotated[str, typer.Argument(help="Of the source.")],
    overlap: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="How long the older keys stay good.")
    ] = 24,
    file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Give a source a new key and print it; the older ones end after a while."""
    with _sources(file, data) as kept:
        typer.echo(kept.rotate(name, 3600 * overlap, _who()))


@sources.command("revoke", epilog="Example: vigie source revoke home-gateway")
def source_revoke(
    name: Annotated[str, typer.Argument(help="Of the source.")],
    file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """End a source, for good: a running service refuses its keys within a second."""
    with _sources(file, data) as kept:
        kept.revoke(name, _who())
    typer.echo(f"{name}: revoked")


@sources.command("record", epilog="Example: vigie source record --lines 50")
def source_record(
    file: ConfigFile = None,
    data: DataFolder = None,
    at_most: Annotated[int, typer.Option("--lines", min=1, help="Show so many lines.")] = 100,
) -> None:
    """Show what was done to sources, and what was refused, minute by minute."""
    from datetime import UTC, datetime

    with _sources(file, data) as kept:
        for each in kept.record(at_most):
            minute = datetime.fromtimestamp(each.minute_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
            said = " ".join(filter(None, (each.what, f"({each.detail})" if each.detail else "")))
            by = f" by {each.who}" if each.who else ""
            typer.echo(f"{minute} {each.source or '(unknown)'}: {said}{by}, {each.count}")


@users.command("create", epilog="Example: vigie user create marie --role nurse --cell 'Cellule Nord'")
def user_create(
    name: Annotated[str, typer.Argument(help="Its name: 2 to 40 of a-z, 0-9, '.', '_', '-'; never changed.")],
    role: Annotated[Role, typer.Option(help="What the person does.")],
    cell: Annotated[
        list[str], typer.Option(help="A nurse or a cardiologist sees the patients of this cell. Repeatable.")
    ] = [],  # noqa: B006 - Typer copies it
    display: Annotated[str, typer.Option(help="How it is shown; else by its name.")] = "",
    openid: Annotated[
        str | None,
        typer.Option(metavar="SUBJECT", help="What the OpenID provider calls the person: a RPPS number."),
    ] = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="The person comes by OpenID Connect only.")
    ] = False,
    address: QueueAddress = "queue.sqlite",
) -> None:
    """Make an account and print its first password: shown this once, to be changed at the first sign-in."""
    from triage.people.accounts import accounts
    from triage.people.administration import NewAccount

    if no_password and openid is None:
        raise typer.BadParameter("--no-password: say with --openid how the person comes in")  # noqa: TRY003, EM101
    new = NewAccount(name, role, cell, display, openid)
    with accounts(address) as kept:
        given = kept.create(new, _shell(), _now_ms(), password=not no_password)
    typer.echo(given or f"{name}: comes in by OpenID Connect")


@users.command("list", epilog="Example: vigie user list")
def user_list(address: QueueAddress = "queue.sqlite", as_json: AsJson = False) -> None:
    """List the accounts: role, cells, how each stands; with --json, their tokens too."""
    import json

    import triage.people.view
    from triage.people.accounts import accounts

    with accounts(address, create=False) as kept:
        found, tokens = kept.accounts(), kept.tokens()
    if as_json:
        typer.echo(json.dumps(triage.people.view.as_rows(found, tokens), ensure_ascii=False, indent=1))
    for each in found if not as_json else ():
        typer.echo(triage.people.view.line(each, _now_ms()))


@users.command("disable", epilog="Example: vigie user disable marie")
def user_disable(name: AccountName, address: QueueAddress = "queue.sqlite") -> None:
    """Let nobody in by an account any more; whoever is in is out with the next request."""
    from triage.people.accounts import accounts

    with accounts(address, create=False) as kept:
        kept.disable(name, _shell(), _now_ms())
    typer.echo(f"{name}: disabled")


@users.command("reset", epilog="Example: vigie user reset marie --second-factor")
def user_reset(
    name: AccountName,
    second_factor: Annotated[
        bool, typer.Option("--second-factor", help="Take the second factor away too: the telephone is lost.")
    ] = False,
    address: QueueAddress = "queue.sqlite",
) -> None:
    """Print a new first password; the account is unlocked, enabled, and out of all its sessions."""
    from triage.people.accounts import accounts

    with accounts(address, create=False) as kept:
        typer.echo(kept.reset(name, _shell(), _now_ms(), second=second_factor))


@users.command("unlock", epilog="Example: vigie user unlock marie")
def user_unlock(name: AccountName, address: QueueAddress = "queue.sqlite") -> None:
    """Let somebody try again who is locked out after wrong attempts."""
    from triage.people.accounts import accounts

    with accounts(address, create=False) as kept:
        kept.unlock(name, _shell(), _now_ms())
    typer.echo(f"{name}: unlocked")


@users.command("token", epilog="Example: vigie user token marie --name night-report --days 90")
def user_token(
    account: AccountName,
    name: Annotated[str, typer.Option(help="What the token is called: a-z, 0-9, '.', '_', '-'.")],
    scope: Annotated[Scope, typer.Option(help="read, or work: all that the account may.")] = Scope.READ,
    days: Annotated[int, typer.Option(help="How long it is good.")] = 90,
    revoke: Annotated[bool, typer.Option("--revoke", help="End the token of this name instead.")] = False,
    address: QueueAddress = "queue.sqlite",
) -> None:
    """Make a token, with which a program acts as an account, and print it, which is shown this once."""
    from triage.people.accounts import accounts

    with accounts(address, create=False) as kept:
        if revoke:
            kept.revoke_token(account, name, _shell(), _now_ms())
            typer.echo(f"{account}: token {name} revoked")
        else:
            typer.echo(kept.make_token(account, name, scope, days, _shell(), _now_ms()))


@trail.command("verify", epilog="Example: vigie audit verify --expect 3f0c5ad1e2...")
def audit_verify(
    expect: Annotated[
        str, typer.Option(metavar="HASH", help="A head that was noted before: it must still be there.")
    ] = "",
    address: QueueAddress = "queue.sqlite",
) -> None:
    """Go through the whole trail; say how many entries there are and its head. Status 1 when it is broken."""
    import triage.audit

    with _queue_engine(address) as database:
        found = triage.audit.verify(database, expect.strip().lower())
    if found.problem:
        raise typer.Exit(_say(f"audit trail: {found.problem}", FAILED))
    typer.echo(f"{_count(found.entries, 'entry', 'entries')}, whole; head {found.head}")


@trail.command("export", epilog="Example: vigie audit export --out audit.jsonl")
def audit_export(
    out: Annotated[Path, typer.Option(help="File to write, one JSON object a line; whole or not at all.")],
    address: QueueAddress = "queue.sqlite",
) -> None:
    """Write the whole trail to a file, and say its head. It is written as it is: verify says whether it is whole."""
    import triage.audit_export

    with _queue_engine(address) as database:
        count, head = triage.audit_export.export(database, out)
    typer.echo(f"{out}: {_count(count, 'entry', 'entries')}; head {head}")


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


@protocols.command("new", epilog="Example: vigie protocol new poids_nord --line 'insuffisance cardiaque'")
def protocol_new(
    name: Annotated[str, typer.Argument(help="Its id: lower-case letters, digits and _, at most 40.")],
    line: Annotated[str, typer.Option(help="The line of télésurveillance, in French.")] = "à préciser",
    problem: Annotated[str, typer.Option(help="What its first rule is about, a name as the id.")] = "poids",
    title: Annotated[str, typer.Option(help="What it is called, in French; else its id.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="File to write; else NAME.toml. Never overwritten.")
    ] = None,
) -> None:
    """Write a small protocol to begin with; it passes vigie protocol check as it is."""
    from engine.protocols import begin

    path = begin(name, out or Path(f"{name}.toml"), title or name, line, problem)
    typer.echo(f"{path}: change it, then vigie protocol check {path}")


@protocols.command("diff", epilog="Example: vigie protocol diff insuffisance_cardiaque mine.toml")
def protocol_diff(
    a: Annotated[str, typer.Argument(metavar="A", help="The older: a file, or the name of a shipped one.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The newer.")],
    form: Annotated[
        DiffForm, typer.Option("--format", help="text: French words; json: for programs.")
    ] = DiffForm.TEXT,
) -> None:
    """Say in words what changed between two protocols. Status 0 when nothing did, 1 when they differ, 2 for an error.

    Every field is compared, the signature too: status 0 means one hash, signed alike.
    """
    import json

    from engine.program import protocol_signals
    from engine.protocols import load_all
    from rules.protocol_diff import as_json, differences, report

    (old,), (new,) = load_all([a]), load_all([b])
    found = differences(old, new, protocol_signals())
    if form is DiffForm.JSON:
        typer.echo(json.dumps(as_json(old, new, found), ensure_ascii=False, indent=1))
    else:
        typer.echo(report(old, new, found))
    if found:
        raise typer.Exit(FAILED)


@protocols.command(
    "sign",
    epilog="Example: vigie protocol sign mine.toml --name 'Dr A. Martin' --role cardiologue --valid-until 2027-12-31",
)
def protocol_sign(
    file: Annotated[Path, typer.Argument(help="A protocol's file; a shipped one is copied first.")],
    name: Annotated[str, typer.Option(help="Who answers for its figures.")],
    role: Annotated[str, typer.Option(help="As what: cardiologue, médecin de télésurveillance, ...")],
    valid_from: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day on which it holds.")
    ] = None,
    valid_until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day on which it holds.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of one that is there.")
    ] = False,
    address: NotedIn = "",
    zone: Annotated[str, typer.Option(help="Zone of the date of today.")] = "Europe/Paris",
) -> None:
    """Write FILE.signature: who answers for this very content. Status 1 where its own tests fail: nothing is signed.

    It is a statement bound to the content's hashes, and no qualified electronic signature. With --queue the audit trail
    says too who wrote it and when.
    """
    import engine.answered
    import engine.protocol_tests
    import triage.signing
    from engine.protocols import load_own
    from rules import signature

    protocol = load_own(file)
    days = [None if each is None else each.date() for each in (valid_from, valid_until)]
    given = signature.made(protocol, name, role, engine.answered.today(zone), *days)
    failed = [str(each) for each in engine.protocol_tests.run(protocol) if not each.passed]
    if failed:
        raise typer.Exit(_say("\n".join(failed), FAILED))
    if address:
        with _queue_engine(address) as database:
            beside = triage.signing.sign(database, file, given, _shell(), _now_ms(), replace=replace)
    else:
        beside = signature.write(file, given, replace=replace)
    typer.echo(f"{beside}: {protocol.id} {protocol.version} {protocol.hash}")
    typer.echo(signature.statement(load_own(file)))


@protocols.command(
    "verify", epilog="Example: vigie protocol verify mine.toml --queue /var/lib/vigie/queue.sqlite"
)
def protocol_verify(
    file: Annotated[str, typer.Argument(help="A protocol's file, or the name of a shipped one.")],
    address: NotedIn = "",
    zone: Annotated[str, typer.Option(help="Zone of the date of today.")] = "Europe/Paris",
) -> None:
    """Say who answers for a protocol. Status 1 when nobody does: unsigned, altered since, or out of its validity.

    With --queue the audit trail must be whole and have the entry of the signature.
    """
    import engine.answered
    import triage.signing
    from engine.protocols import load_all
    from rules import signature

    (protocol,) = load_all([file])
    on = engine.answered.today(zone)
    stands = signature.standing(protocol, on)
    typer.echo(f"{protocol.id} {protocol.version} {protocol.hash}: {stands.value}")
    typer.echo(signature.statement(protocol, on))
    proven = True
    if address:
        with _queue_engine(address) as database:
            proven, said = triage.signing.proof(database, protocol)
        typer.echo(f"audit trail: {said}")
    if stands is not signature.Standing.SIGNED or not proven:
        raise typer.Exit(FAILED)


@protocols.command("patients", epilog="Example: vigie protocol patients --data /var/lib/vigie")
def protocol_patients(
    file: ConfigFile = None,
    data: DataFolder = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="What is in force: a protocol's file, or the name of a shipped one. Repeatable."),
    ] = None,
    at_most: Annotated[
        int, typer.Option("--ids", min=0, help="Show so many ids of each; JSON has all.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Say which patients are on which version: who is enrolled, whose open line and newest alert each has judged."""
    import json
    from dataclasses import asdict

    import engine.config
    import triage.versions
    from engine.protocols import load_all

    settings, _ = engine.config.load(file, {"data": data, "protocols": protocol or None})
    loaded = load_all(settings.protocols)
    with _queue_engine(settings.database or str(settings.data / "queue.sqlite")) as database:
        enrolled = triage.versions.enrolled(database, settings.enrolment, loaded, _now_ms())
        found = triage.versions.by_version(database, loaded, enrolled)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], ensure_ascii=False, indent=1))
    for each in found if not as_json else ():
        typer.echo(triage.versions.text(each, at_most))


@personal.command(
    "propose",
    epilog="Example: vigie limits propose cohort.parquet --protocol insuffisance_cardiaque --limit spo2_low --out own",
)
def limits_propose(
    paths: Histories,
    protocol: Protocols,
    limit: Annotated[
        str,
        typer.Option(
            help="Which limit, such as systolic_low: one that is compared with a signal, or a dry weight."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.html, proposals.csv and proposed.toml.")],
    outcomes: Outcomes = None,
    outcome: OutcomeKinds = [],  # noqa: B006
    window_days: WindowDays = 30.0,
    stable_days: Annotated[int, typer.Option(min=2, max=366, help="Days of a stable period.")] = 28,
    min_readings: Annotated[int, typer.Option(min=2, help="Readings that it has at least.")] = 20,
    min_days: Annotated[int, typer.Option(min=2, help="Days with a reading that it has at least.")] = 14,
    apart_days: Annotated[int, typer.Option(min=0, help="Days that it is away from any outcome.")] = 14,
    oldest_days: Annotated[
        int, typer.Option(min=0, help="How long before the judged days it may have ended.")
    ] = 60,
    drift: Annotated[float, typer.Option(help="Spreads that the medians of its halves may be apart.")] = 1.5,
    spreads: Annotated[float, typer.Option(help="Robust spreads from the centre to the limit.")] = 3.0,
    least_step: Annotated[
        float | None,
        typer.Option(help="Least difference from the limit in force; else 5 mmHg, 5 /min, 1 %, 0.3 kg."),
    ] = None,
    judge_days: Annotated[
        int, typer.Option(min=1, help="Last days, which judge what was learnt before.")
    ] = 60,
    column: RenamedColumns = [],  # noqa: B006
    mapping: MappingFile = None,
    zone: ZoneOfDays = "Europe/Paris",
    limits: BookOfLimits = None,
    enrolment: EnrolmentFile = None,
    close_rouge: RougeEnds = None,
    kept: KeptFolder = None,
    keep: KeptAtMost = 8,
    shards: Threads = 2,
) -> None:
    """Propose a limit for each patient from a stable period, with its effect afterwards; nothing is put in force."""
    import engine.personal_report
    import engine.personal_write
    from engine.backtest import History
    from engine.load import load
    from engine.personal import Learning
    from engine.personal_study import proposals
    from engine.replay_input import is_log_among

    asked = _history(paths, mapping, column, zone)
    options = _of_history(close_rouge, log=is_log_among(paths))
    loaded = load(protocol, limits=limits, enrolment=enrolment, zone=zone, options=options)
    learning = Learning(
        stable_days=stable_days,
        min_readings=min_readings,
        min_days=min_days,
        apart_days=apart_days,
        oldest_days=oldest_days,
        drift=drift,
        spreads=spreads,
        least_step=least_step,
        judge_days=judge_days,
    )
    terms = _terms(outcomes, outcome, window_days, zone)
    command = ["vigie", *sys.argv[1:]]
    out.mkdir(parents=True, exist_ok=True)
    with _watched() as progress:
        history = History(asked, kept or out / "kept", shards=shards, keep=keep, progress=progress)
        found = proposals(history, loaded, limit, learning=learning, terms=terms, progress=progress)
        progress.step("report")
        engine.personal_write.write(found, out, command)
        engine.personal_report.write_report(found, out / "report.html", command)
    typer.echo(engine.personal_write.summary(found))
    typer.echo(f"report: {out / 'report.html'}; to be completed: {out / 'proposed.toml'}")


@logs.command("verify", epilog="Example: vigie log verify /var/lib/vigie/log")
def log_verify(
    log: Annotated[str, typer.Argument(help="The log's file, or the address redis://... of one on Redis.")],
) -> None:
    """Read a whole log and check every checksum; beside a running service too."""
    import ingest.streams.verify
    from ingest.log import LogReader
    from ingest.streams.address import is_address

    report: object
    if is_address(log):
        report = found = ingest.streams.verify.verify(log)
        ok = found.ok
    else:
        with LogReader(log) as reader:
            report = read = reader.verify()
            ok = read.ok
    typer.echo(str(report))
    if not ok:
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


@patients.command("enrol", epilog="Example: vigie patient enrol --by 'Mme Martin'")
def patient_enrol(
    address: RegisterAddress = "register.sqlite",
    by: By = "",
    protocol_file: OwnProtocols = [],  # noqa: B006
) -> None:
    """Begin to follow a person: asks on a terminal, else reads a JSON object. Says the patient's new id."""
    import triage.identity.register
    from triage.identity.person import Care, Person

    values = _asked(protocol_file, changes=False)
    with triage.identity.register.open(address) as register:
        taken = register.enrol(Person.of(values), Care.of(values), by)
    typer.echo(taken.id)
    _look_at(taken.notes)


@patients.command("correct", epilog="Example: vigie patient correct 7K2M-9QXT-4HJD-0BWE")
def patient_correct(
    patient: PatientId,
    address: RegisterAddress = "register.sqlite",
    by: By = "",
    protocol_file: OwnProtocols = [],  # noqa: B006 - Typer copies it
) -> None:
    """Correct what is known of a patient: asks on a terminal, else reads a JSON object of what changes."""
    import triage.identity.register

    values = _asked(protocol_file, changes=True)
    with triage.identity.register.open(address, create=False) as register:
        taken = register.correct(patient, values, by)
    typer.echo(f"{patient}: {taken.what}{' ' * bool(taken.fields)}{', '.join(taken.fields)}")
    _look_at(taken.notes)


@patients.command("import", epilog="Example: vigie patient import patients.csv --dry-run")
def patient_import(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; the first line names the columns.")],
    address: RegisterAddress = "register.sqlite",
    by: By = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
    ] = False,
    keep_good: Annotated[
        bool, typer.Option("--keep-good", help="Leave out lines that are wrong (status 1), instead of all.")
    ] = False,
    protocol_file: OwnProtocols = [],  # noqa: B006 - Typer copies it
) -> None:
    """Enrol or update the patients of a list: all of it, or nothing where a line is wrong."""
    import triage.identity.importing

    known = _protocol_ids(protocol_file)
    with _watched() as progress:
        done = triage.identity.importing.import_list(
            address, file, known, by, dry_run=dry_run, keep_good=keep_good, progress=progress
        )
    typer.echo(str(done))
    if done.mistakes:
        raise typer.Exit(_say("\n".join(map(str, done.mistakes)), FAILED))


@patients.command("list", epilog="Example: vigie patient list --cell 'Cellule Nord'")
def patient_list(
    address: RegisterAddress = "register.sqlite",
    cell: Annotated[str | None, typer.Option(help="Of this cell only.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Those too who are no longer followed.")] = False,
    identity: Identity = False,
    by: By = "",
    as_json: AsJson = False,
    zone: ZoneShown = "Europe/Paris",
) -> None:
    """List who is followed: id, cell, protocols; names only when asked for."""
    import json

    import triage.identity.register
    import triage.identity.view
    import triage.watch

    where = triage.watch.zone(zone)
    with triage.identity.register.open(address, create=False) as register:
        found = register.patients(cell=cell, followed=None if everybody else True)
        persons = register.persons([each.id for each in found], by) if identity else {}
    if as_json:
        typer.echo(json.dumps(triage.identity.view.as_rows(found, persons), ensure_ascii=False, indent=1))
    else:
        _print(triage.identity.view.table(found, persons, where))


@patients.command("show", epilog="Example: vigie patient show 7K2M-9QXT-4HJD-0BWE --identity")
def patient_show(
    patient: PatientId,
    address: RegisterAddress = "register.sqlite",
    identity: Identity = False,
    by: By = "",
    as_json: AsJson = False,
    zone: ZoneShown = "Europe/Paris",
) -> None:
    """Show one patient: cells, protocols, and what was done by whom; the person only when asked for."""
    import json

    import triage.identity.register
    import triage.identity.view
    import triage.watch

    where = triage.watch.zone(zone)
    with triage.identity.register.open(address, create=False) as register:
        found = register.patient(patient)
        persons = register.persons([patient], by) if identity else {}
        stays, changes = register.stays(patient), register.changes(patient)
    if as_json:
        (row,) = triage.identity.view.as_rows([found], persons)
        typer.echo(json.dumps(row, ensure_ascii=False, indent=1))
    else:
        _print(triage.identity.view.card(found, stays, changes, persons, where))


@patients.command("transfer", epilog="Example: vigie patient transfer 7K2M-9QXT-4HJD-0BWE --to 'Cellule Sud'")
def patient_transfer(
    patient: PatientId,
    to: Annotated[
        str, typer.Option("--to", metavar="CELL", help="The cell that follows the patient from now on.")
    ],
    address: RegisterAddress = "register.sqlite",
    by: By = "",
) -> None:
    """Give a patient to another cell."""
    import triage.identity.register

    with triage.identity.register.open(address, create=False) as register:
        register.transfer(patient, to, by)
    typer.echo(f"{patient}: in {to}")


@patients.command(
    "close", epilog="Example: vigie patient close 7K2M-9QXT-4HJD-0BWE --reason 'fin de programme'"
)
def patient_close(
    patient: PatientId,
    reason: Annotated[str, typer.Option(help="Why; kept with the identity.")],
    address: RegisterAddress = "register.sqlite",
    by: By = "",
) -> None:
    """End the follow-up of a patient. There is no way back: who returns is enrolled anew."""
    import triage.identity.register

    with triage.identity.register.open(address, create=False) as register:
        register.end(patient, reason, by)
    typer.echo(f"{patient}: no longer followed")


@patients.command("enrolment", epilog="Example: vigie patient enrolment --out enrolment.csv")
def patient_enrolment(
    out: Annotated[Path, typer.Option(help="CSV to write, whole or not at all.")],
    address: RegisterAddress = "register.sqlite",
) -> None:
    """Write who is followed by what, for the engine; nothing of who they are is in it."""
    import engine.enrolment
    import triage.identity.register

    with triage.identity.register.open(address, create=False) as register:
        enrolled = register.enrolments()
    engine.enrolment.write(out, enrolled)
    typer.echo(f"{out}: {_count(len(enrolled), 'patient')}")


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


@contextmanager
def _sources(file: Path | None, data: Path | None) -> "Iterator[Sources]":
    """Open the sources of the service that is configured."""
    import engine.config
    import engine.service
    from ingest.sources import Sources

    settings, _ = engine.config.load(file, {"data": data})
    kept = Sources(engine.service.folder_of_sources(settings))
    try:
        yield kept
    finally:
        kept.close()


@contextmanager
def _queue_engine(address: str) -> "Iterator[Engine]":
    """Open the database of a queue that is there."""
    import triage.database
    import triage.store

    triage.store.open(address, create=False).close()
    database = triage.database.connect(triage.database.address(address))
    try:
        yield database
    finally:
        database.dispose()


def _shell() -> str:
    """Who acts, in the audit trail: no account has a colon in its name."""
    return f"shell:{_who()}"


def _now_ms() -> int:
    import time

    return time.time_ns() // 1_000_000


def _who() -> str:
    """Who runs this, for the record."""
    from getpass import getuser

    return getuser()


def _asked(protocol_files: list[str], *, changes: bool) -> dict[str, object]:
    """Ask who somebody is, or what of it changes."""
    from triage.identity import ask

    known = _protocol_ids(protocol_files)
    if not sys.stdin.isatty():
        return ask.from_json(sys.stdin.read(), known, changes=changes)
    return ask.from_person(
        lambda text: input(f"{text} : "), lambda text: typer.echo(text, err=True), known, changes=changes
    )


def _look_at(notes: tuple[str, ...]) -> None:
    for note in notes:
        typer.echo(f"to be looked at: {note}", err=True)


def _protocol_ids(files: list[str]) -> list[str]:
    """Give the ids of the protocols that a patient may be followed by: those that are shipped, and `files`."""
    from engine.protocols import load_all, shipped

    return [*shipped(), *(protocol.id for protocol in load_all(files))]


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


def _numbers(said: str) -> tuple[str, float]:
    """Read an option such as ``gain_3d_kg=1.5``."""
    name, _, value = said.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        msg = f"--limit {said}: legal is LIMIT=NUMBER, such as gain_3d_kg=1.5"
        raise ValueError(msg)
    return name, number


def _history(paths: list[Path], mapping: Path | None, renamed: list[str], zone: str) -> "Asked":
    """Say which history a back-test reads, and how."""
    from engine.replay_input import Asked
    from ingest.formats.mapping import Mappings, load_mapping

    columns = (load_mapping(mapping) if mapping else Mappings()).with_columns(**_columns(renamed))
    return Asked(tuple(paths), columns, zone, time.time_ns() // 1_000_000)


def _of_history(close_rouge: CloseRouge | None, *, log: bool) -> "Options":
    """Give the options of a line that goes over a history."""
    from engine.program import Options

    closes = (close_rouge or (CloseRouge.NEVER if log else CloseRouge.AT_RECOVERY)) is CloseRouge.AT_RECOVERY
    return Options(close_at_recovery=closes) if log else Options(close_at_recovery=closes, deaf_after_ms=0)


def _terms(outcomes: Path | None, kinds: list[str], window_days: float, zone: str) -> "Terms":
    """Read what alerts are judged by."""
    from engine.backtest_outcomes import read_outcomes
    from engine.backtest_study import Terms

    if outcomes:
        return Terms(outcomes=read_outcomes(outcomes, kinds), window_days=window_days, zone=zone)
    if kinds:
        msg = f"--outcome {kinds[0]}: without --outcomes there are none"
        raise ValueError(msg)
    return Terms(window_days=window_days, zone=zone)


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
