"""What a run would do, without doing it: `python -m gptoss.cli.plan [SOURCE …]`, or of any raw files `--url URL --format F`.

Prints the stages that are out of date and why, as DVC sees them; the raw files that the URLs of each source mean; and
an estimate of documents, text, tokens and time of every data stage on the chosen cluster, each with its arithmetic.
Nothing is downloaded but lists of URLs and what servers tell of a file; what cannot be reached is said and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from gptoss.config.cluster import ClusterConfig, cluster_name, load_cluster
from gptoss.config.section import check
from gptoss.config.settings import Settings, load_settings
from gptoss.config.source import SourceConfig
from gptoss.core.errors import UserError
from gptoss.core.formatting import count, duration, size, words
from gptoss.core.process import exit_code_of, set_quiet_env
from gptoss.estimate.estimate import Estimate, estimate
from gptoss.estimate.rates import TABLE, Rates
from gptoss.estimate.raw_file_sizes import RawFiles, look
from gptoss.pipeline import stage_graph

FORMATS = ("mediawiki", "gutenberg", "warc", "arxiv")
SEED = 1234
NAMED = 4
"""Reasons of one kind that are named before they are counted."""
ABSENT = ("deleted", "not in cache")
"""What DVC says of paths that are not there."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a plan; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gptoss.cli.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="of params.yaml; all when none is named")
    parser.add_argument("--url", action="append", default=[], help="plan these raw files instead; may be repeated")
    parser.add_argument("--format", choices=FORMATS, help="of the raw files at --url")
    parser.add_argument("--prefix", default="", help="of the entries of a list of URLs")
    parser.add_argument("--max-files", type=int, help="take a sample of so many of the raw files")
    options = parser.parse_args(arguments)
    set_quiet_env()

    def call() -> None:
        if bool(options.url) != bool(options.format) or (options.url and options.sources):
            raise UserError(
                "--url and --format go together, without names of sources",
                "write `python -m gptoss.cli.plan --url URL --format warc`, or name sources of params.yaml",
            )
        if options.url:
            show_urls(options.url, options.format, options.prefix, options.max_files)
        else:
            show(options.sources)

    return exit_code_of(call)


def show(names: Sequence[str] = (), target: str | None = None) -> None:
    """Print the plan of params.yaml: of all sources or of those named; of all stages or of what `target` needs."""
    settings, cluster = load_settings(), load_cluster()
    if unknown := sorted(set(names) - set(settings.sources)):
        raise UserError(
            f"params.yaml has no source {', '.join(unknown)}", f"choose of: {', '.join(sorted(settings.sources))}"
        )
    sources = {name: settings.sources[name] for name in sorted(names or settings.sources)}
    print(f"Plan of gpt-oss/{settings.name} {described(cluster)}\n")
    runs, scope = show_stages(settings, sources, target)
    sources = {name: source for name, source in sources.items() if f"ingest@{name}" in scope}
    if sources:
        show_data(sources, settings.seed, cluster, settings, (runs, scope))


def show_urls(urls: Sequence[str], format_: str, prefix: str, max_files: int | None) -> None:
    """Print the plan of raw files that no configuration names."""
    values = {"format": format_, "urls": list(urls), "prefix": prefix, "max_files": max_files,
              "license": "unknown", "language": "en"}  # fmt: skip
    cluster = load_cluster()
    print(f"Plan of {len(urls)} {'URL' if len(urls) == 1 else 'URLs'} {described(cluster)}\n")
    show_data({"urls": check(SourceConfig, values, origin="the command line")}, SEED, cluster)


def described(cluster: ClusterConfig) -> str:
    """The cluster in words."""
    where = f"Ray at {cluster.address}" if cluster.data == "ray" else "this machine"
    workers = "1 data task" if cluster.data_workers == 1 else f"{cluster.data_workers} data tasks"
    return f"on the cluster `{cluster_name()}`: {workers} at a time, on {where}"


def show_stages(
    settings: Settings, sources: Mapping[str, SourceConfig], target: str | None
) -> tuple[set[str], set[str]]:
    """Print what DVC would run, and why; returns the stages that would run, and all that were looked at."""
    graph = stage_graph.load_graph()
    if target:
        graph = stage_graph.up_to(graph, target)
    others = {f"{stage}@{name}" for stage in ("ingest", "curate") for name in settings.sources if name not in sources}
    graph = [node for node in graph if node.name not in others]
    changes = stage_graph.changes()
    visit = stage_graph.to_visit(graph, set(changes))
    print(f"Stages: {len(visit)} of {len(graph)} would run")
    for node in graph:
        if node.name in visit:
            after = [name for name in node.upstream if name in visit]
            print(f"  {node.name:<20} {'; '.join(reasons(changes.get(node.name, []), after))}")
    print()
    return visit, {node.name for node in graph}


def reasons(changes: Sequence[stage_graph.Change], after: Sequence[str]) -> list[str]:
    """Why a stage would run: what changed, which outputs are missing, which stages before it run."""
    said: list[str] = []
    changed: list[str] = []
    missing: list[str] = []
    for change in changes:
        if isinstance(change, str):
            said.append(change)
            continue
        for kind, paths in change.items():
            for path, state in paths.items():
                if isinstance(state, dict):  # of params.yaml, by key
                    changed += [f"{path}: {key} {what}" for key, what in state.items()]
                elif kind == "changed outs" and state in ABSENT:
                    missing += [path] * (not path.startswith("metrics/"))
                elif not (after and state in ABSENT):  # a missing input is what a stage before it will make
                    changed.append(f"{path} {state}")
    said += [f"changed: {listed(changed)}"] * bool(changed) + [f"missing: {listed(missing)}"] * bool(missing)
    return said + [f"after {listed(after)}"] * bool(after)


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def show_data(
    sources: Mapping[str, SourceConfig],
    seed: int,
    cluster: ClusterConfig,
    settings: Settings | None = None,
    stages: tuple[set[str], set[str]] | None = None,
) -> None:
    """Print the raw files and the estimate. `stages` are those that would run and those that are looked at; without
    them, all."""
    files = {name: look(source, seed) for name, source in sources.items()}
    show_files(sources, files)
    known = settings.sources if settings else sources
    rates = Rates({name: source.format for name, source in known.items()})
    plan = estimate(sources, files, rates, cluster, stages[0] if stages else None, **_sizes(settings))
    if stages:
        plan.rows = [row for row in plan.rows if row.stage in stages[1]]
    show_estimate(plan, rates)


def _sizes(settings: Settings | None) -> dict[str, int]:
    if settings is None:
        return {}
    return {"sample": settings.tokenizer.sample_bytes, "documents_per_part": settings.ingest.documents_per_file}


def show_files(sources: Mapping[str, SourceConfig], files: Mapping[str, RawFiles]) -> None:
    """Print a line a source, and its remarks."""
    print("Raw files")
    for name, found in files.items():
        number = count(found.chosen)
        if found.chosen < found.found:
            number += f" of {count(found.found)} (max_files, a seeded sample)"
        amount = "size unknown" if found.bytes is None else size(found.bytes)
        if found.bytes is not None and found.sized < found.chosen:
            amount = f"about {amount}: {count(found.sized)} have {size(found.known_bytes)}"
        noun = "file" if found.chosen == 1 else "files"
        print(f"  {name:<20} {sources[name].format:<10} {number} {noun}, {amount}")
        for remark in found.remarks:
            print(f"  {'':<20} ! {remark}")
    print()


def show_estimate(plan: Estimate, rates: Rates) -> None:
    """Print a line a stage, the totals, and where the rates come from."""
    if not plan.rows:
        print("Estimate: none, as the size of no raw file is known")
        return
    print("Estimate")
    origins = list(dict.fromkeys(row.rate.origin for row in plan.rows))
    for row in plan.rows:
        made = f"{count(row.documents)} documents, {size(row.makes)} of text"
        if row.stage in ("tokenizer", "shards"):
            made = f"{words(row.makes)} tokens" if row.stage == "shards" else f"from {size(row.reads)}"
        time = row.arithmetic if row.runs else "up to date, not counted"
        print(f"  {row.stage:<20} {made:<40} {time} [{origins.index(row.rate.origin) + 1}]")
    print(f"  {'together':<20} {duration(plan.seconds)} for the data stages that would run, one after the other")
    for name in plan.unknown:
        print(f"  ! without {name}: it has no file of a known size")
    print("\nRates, of one task at a time")
    for number, origin in enumerate(origins, 1):
        print(f"  [{number}] {f'{TABLE.name}, which says how they were measured' if origin == 'table' else origin}")
        if origin == "table" and rates.problem:
            print(f"      {rates.problem}")
    print("  An estimate from other text and other machines may be wrong by a factor of two or more.")


if __name__ == "__main__":
    sys.exit(main())
