"""Choose a size: write `params.yaml` from `profiles/NAME.yaml`.

A profile is a partial configuration: `base` names the profile that it changes; mappings merge key by key, except
`sources`, which is replaced as a whole.
"""

from __future__ import annotations

import argparse

from gptoss.core.atomic_files import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", help="name of a file in profiles/, such as tiny or 20b")


def execute(options: argparse.Namespace) -> None:
    """Write `params.yaml`."""
    use(options.profile)


def use(profile: str) -> None:
    """Replace `params.yaml` by the composed and checked profile.

    Errors: `UserError` for an unknown profile or an invalid configuration.
    """
    import yaml

    from gptoss.config.profiles import PROFILES, compose
    from gptoss.config.settings import PARAMS, Settings
    from gptoss.config.yaml_sections import check, load_yaml

    values = compose(profile)
    # Before params.yaml is replaced: a broken profile must not leave a broken configuration.
    check(Settings, values, origin=f"profiles/{profile}.yaml")
    source = PROFILES / f"{profile}.yaml"
    # A profile with a base is composed of several files, so their comments cannot be kept.
    if "base" in load_yaml(source):
        header = f"# Written by `gptoss use {profile}`. Change it freely: DVC reruns what depends on a change.\n"
        text = header + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    else:
        text = source.read_text()  # a complete profile keeps its comments
    write_text(PARAMS, text)
    print(f"params.yaml is now the profile {profile}; `make run` makes the model {values['name']}")
