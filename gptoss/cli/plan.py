"""Print what a run would do, without doing it.

Prints the stages that are out of date and why, as DVC reports them; the raw files behind the URLs of each source; and
an estimate of documents, text, tokens and time for every data stage on the chosen cluster, with the arithmetic.
`--url URL --format FORMAT` plans raw files that no configuration names. Only lists of URLs are downloaded, and servers
are asked for file sizes; what cannot be reached is reported and left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from gptoss.config.cluster import ClusterConfig, cluster_name, load_cluster
from gptoss.config.extensions import READERS
from gptoss.config.settings import Settings, load_settings
from gptoss.config.source import SourceConfig
from gptoss.config.yaml_sections import check
from gptoss.core.errors import UserError
from gptoss.core.formatting import count, duration, size, words
from gptoss.core.process import set_quiet_env
from gptoss.estimate.estimate import Estimate, estimate
from gptoss.estimate.rates import TABLE, Rates
from gptoss.estimate.raw_file_sizes import RawFiles, find_raw_files
from gptoss.pipeline import stage_graph

# Seeds the sample of `--max-files`, where no configuration gives a seed.
SEED = 1234
# Paths of one kind that are named before the others are only counted.
MAX_NAMED = 4
# What DVC reports about paths that do not exist.
MISSING_STATES = ("deleted", "not in cache")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="of params.yaml; default: all")
    parser.add_argument("--url", action="append", default=[], help="plan these raw files instead; may be repeated")
    parser.add_argument("--format", choices=sorted(READERS), help="of the raw files at --url")
    parser.add_argument("--prefix", default="", help="of the entries of a list of URLs")
    parser.add_argument("--max-files", type=int, help="take a sample of this many of the raw files")


def execute(options: argparse.Namespace) -> None:
    """Print a plan.

    Errors: `UserError` for options that do not go together, an unknown source, or an invalid configuration.
    """
    set_quiet_env()
    # argparse has no option that requires another one.
    if bool(options.url) != bool(options.format) or (options.url and options.sources):
        raise UserError(
            "--url and --format go together, without names of sources",
            "write `gptoss plan --url URL --format warc`, or name sources of params.yaml",
        )
    if options.url:
        show_urls(options.url, options.format, options.prefix, options.max_files)
    else:
        show(options.sources)


def show(names: Sequence[str] = (), target: str | None = None) -> None:
    """Print the plan of params.yaml, of all sources or the named ones, and of all stages or what `target` needs."""
    settings, cluster = load_settings(), load_cluster()
    if unknown := sorted(set(names) - set(settings.sources)):
        raise UserError(
            f"params.yaml has no source {', '.join(unknown)}", f"choose from: {', '.join(sorted(settings.sources))}"
        )
    sources = {name: settings.sources[name] for name in sorted(names or settings.sources)}
    print(f"Plan of gpt-oss/{settings.name} {describe(cluster)}\n")
    runs, scope = show_stages(settings, sources, target)
    # A target such as `tokenizer` may need no source at all, and then there is nothing to estimate.
    sources = {name: source for name, source in sources.items() if f"ingest@{name}" in scope}
    if sources:
        show_data(sources, settings.seed, cluster, settings, (runs, scope))


def show_urls(urls: Sequence[str], format_: str, prefix: str, max_files: int | None) -> None:
    """Print the plan of raw files that no configuration names."""
    # Checked like a source of params.yaml; licence and language, which do not influence an estimate, are required
    # there.
    values = {"format": format_, "urls": list(urls), "prefix": prefix, "max_files": max_files,
              "license": "unknown", "language": "en"}  # fmt: skip
    cluster = load_cluster()
    print(f"Plan of {len(urls)} {'URL' if len(urls) == 1 else 'URLs'} {describe(cluster)}\n")
    show_data({"urls": check(SourceConfig, values, origin="the command line")}, SEED, cluster)


def describe(cluster: ClusterConfig) -> str:
    """Where and how many data tasks run at a time."""
    where = f"Ray at {cluster.address}" if cluster.data == "ray" else "this machine"
    workers = "1 data task" if cluster.data_workers == 1 else f"{cluster.data_workers} data tasks"
    return f"on the cluster `{cluster_name()}`: {workers} at a time, on {where}"


def show_stages(
    settings: Settings, sources: Mapping[str, SourceConfig], target: str | None
) -> tuple[set[str], set[str]]:
    """Print what DVC would run, and why; returns the stages that would run, and all stages in scope."""
    graph = stage_graph.load_graph()
    if target:
        graph = stage_graph.up_to(graph, target)
    # Ingest and curate of sources that were not named are hidden, but the stages over all sources stay.
    skipped = settings.sources.keys() - sources.keys()
    hidden = {f"{stage}@{name}" for stage in ("ingest", "curate") for name in skipped}
    graph = [node for node in graph if node.name not in hidden]
    changes = stage_graph.changes()
    to_run = stage_graph.stages_to_run(graph, set(changes))
    print(f"Stages: {len(to_run)} of {len(graph)} would run")
    for node in graph:
        if node.name in to_run:
            after = [name for name in node.upstream if name in to_run]
            print(f"  {node.name:<20} {'; '.join(reasons(changes.get(node.name, []), after))}")
    print()
    return to_run, {node.name for node in graph}


def reasons(changes: Sequence[stage_graph.Change], after: Sequence[str]) -> list[str]:
    """Why a stage would run: what changed, which outputs are missing, which stages before it run."""
    # DVC reports a missing output, a changed key and a changed command in one nested structure; a person wants three
    # lists.
    found: list[str] = []
    changed: list[str] = []
    missing: list[str] = []
    for change in changes:
        if isinstance(change, str):
            found.append(change)
            continue
        for kind, paths in change.items():
            for path, state in paths.items():
                if isinstance(state, dict):  # the keys of params.yaml that changed
                    changed += [f"{path}: {key} {what}" for key, what in state.items()]
                elif kind == "changed outs" and state in MISSING_STATES:
                    # Metrics are missing whenever the outputs are: naming both says the same twice.
                    missing += [path] * (not path.startswith("metrics/"))
                elif not (after and state in MISSING_STATES):  # the stage before will make a missing input
                    changed.append(f"{path} {state}")
    groups = (("changed:", changed), ("missing:", missing), ("after", after))
    return found + [f"{label} {shorten(names)}" for label, names in groups if names]


def shorten(names: Sequence[str]) -> str:
    """The first few names, and how many more."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def show_data(
    sources: Mapping[str, SourceConfig],
    seed: int,
    cluster: ClusterConfig,
    settings: Settings | None = None,
    stages: tuple[set[str], set[str]] | None = None,
) -> None:
    """Print the raw files and the estimate. `stages`: the stages that would run, and all in scope; None means all."""
    # The slow part: servers are asked, so everything that needs no network is printed before.
    files = {name: find_raw_files(source, seed) for name, source in sources.items()}
    show_files(sources, files)
    # All sources of params.yaml, not only the named ones: a run of any of them gives a rate for its format.
    known = settings.sources if settings else sources
    rates = Rates({name: source.format for name, source in known.items()})
    sizes = {}
    if settings:
        sizes = {
            "tokenizer_sample": settings.tokenizer.sample_bytes,
            "documents_per_part": settings.ingest.documents_per_file,
        }
    found = estimate(sources, files, rates, cluster, stages[0] if stages else None, **sizes)
    # After estimating, since the stages over all sources need the rows of those that are up to date.
    if stages:
        found.rows = [row for row in found.rows if row.stage in stages[1]]
    show_estimate(found, rates)


def show_files(sources: Mapping[str, SourceConfig], files: Mapping[str, RawFiles]) -> None:
    """Print one line per source, and its remarks."""
    print("Raw files")
    for name, raw in files.items():
        number = count(raw.chosen)
        if raw.chosen < raw.found:
            number += f" of {count(raw.found)} (max_files, a seeded sample)"
        amount = "size unknown" if raw.bytes is None else size(raw.bytes)
        if raw.bytes is not None and raw.sized < raw.chosen:
            amount = f"about {amount}: {count(raw.sized)} have {size(raw.known_bytes)}"
        noun = "file" if raw.chosen == 1 else "files"
        print(f"  {name:<20} {sources[name].format:<10} {number} {noun}, {amount}")
        for remark in raw.remarks:
            print(f"  {'':<20} ! {remark}")
    print()


def show_estimate(found: Estimate, rates: Rates) -> None:
    """Print one line per stage, the totals, and where the rates come from."""
    if not found.rows:
        print("Estimate: none, as the size of no raw file is known")
        return
    print("Estimate")
    # Numbered like footnotes: several stages share the table, and naming the origin in every row would hide the
    # numbers.
    origins = list(dict.fromkeys(row.rate.origin for row in found.rows))
    for row in found.rows:
        if row.stage == "shards":
            made = f"{words(row.output)} tokens"
        elif row.stage == "tokenizer":
            made = f"from {size(row.input_bytes)}"
        else:
            made = f"{count(row.documents)} documents, {size(row.output)} of text"
        # A stage that is up to date still has a row, as later ones depend on its output, but costs no time.
        time = row.arithmetic if row.runs else "up to date, not counted"
        print(f"  {row.stage:<20} {made:<40} {time} [{origins.index(row.rate.origin) + 1}]")
    print(f"  {'total':<20} {duration(found.seconds)} for the data stages that would run, one after the other")
    for name in found.unknown:
        print(f"  ! without {name}: it has no file of a known size")
    print("\nRates, per task")
    for number, origin in enumerate(origins, 1):
        print(f"  [{number}] {f'{TABLE.name}, which says how they were measured' if origin == 'table' else origin}")
        if origin == "table" and rates.problem:
            print(f"      {rates.problem}")
    print("  An estimate from other text and other machines may be wrong by a factor of two or more.")
