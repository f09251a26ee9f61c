"""Properties of the settings' types and of the whole, for inputs that nobody thought of."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from components.settings import Settings, parse
from components.settings.problems import Problem, SettingsError
from components.settings.profiles import BASELINES, overlay
from components.settings.types import (
    KeepAlive,
    Memory,
    canonical_duration,
    duration_seconds,
)

MEMORY: TypeAdapter[int] = TypeAdapter(Memory)
KEEP_ALIVE: TypeAdapter[str] = TypeAdapter(KeepAlive)

whole_milliseconds = st.integers(min_value=0, max_value=10**12)
durations = st.lists(
    st.tuples(st.integers(0, 5000), st.sampled_from(["h", "m", "s", "ms"])), min_size=1, max_size=4
).map(lambda parts: "".join(f"{number}{unit}" for number, unit in parts))


def printed_by_go(milliseconds: int) -> str:
    """What Go's Duration.String prints: the largest unit first, zeros between units kept, sub-seconds in one unit."""
    if milliseconds == 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    text = f"{Decimal(milliseconds % 60_000) / 1000:f}s"
    if "." in text:
        text = text[:-1].rstrip("0").rstrip(".") + "s"
    minutes = milliseconds // 60_000
    if minutes:
        text = f"{minutes % 60}m{text}"
    return f"{minutes // 60}h{text}" if minutes >= 60 else text


@given(whole_milliseconds)
@example(999)
@example(1000)
@example(59_999)
@example(3_600_000)
@example(3_600_500)
def test_a_duration_is_written_as_go_prints_it(milliseconds: int) -> None:
    assert canonical_duration(f"{milliseconds}ms") == printed_by_go(milliseconds)


positive_durations = durations.filter(lambda text: canonical_duration(text) != "0s")


@given(durations)
def test_the_canonical_form_of_a_duration_is_its_own_canonical_form(text: str) -> None:
    canonical = canonical_duration(text)
    assert canonical_duration(canonical) == canonical


@given(durations)
def test_the_canonical_form_of_a_duration_lasts_as_long(text: str) -> None:
    assert duration_seconds(canonical_duration(text)) == pytest.approx(duration_seconds(text), abs=0.0005)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused_and_nothing_else(text: str) -> None:
    if re.fullmatch(r"([0-9]{1,15}(\.[0-9]+)?(h|ms|m|s))+", text):
        assert duration_seconds(text) >= 0
    else:
        with pytest.raises(ValueError, match="allowed"):
            duration_seconds(text)


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "s", "1d", "1.s", ".5s", "1us", "٣s", "5s\n", "1h-1m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        canonical_duration(text)


@given(st.one_of(durations, st.sampled_from(["-1", "0"])))
def test_a_keep_alive_is_a_duration_for_ever_or_not_at_all(text: str) -> None:
    kept = KEEP_ALIVE.validate_python(text)
    assert kept == (text if text in ("-1", "0") else canonical_duration(text))
    assert KEEP_ALIVE.validate_python(kept) == kept


@given(
    st.integers(1, 1000),
    st.sampled_from(["m", "g", "t", "M", "G", "mb", "MiB", "gib"]),
    st.sampled_from(["", " ", "  "]),
)
def test_a_size_is_a_power_of_1024_in_mib(number: int, unit: str, space: str) -> None:
    mib = number * {"m": 1, "g": 1024, "t": 1024 * 1024}[unit[0].lower()]
    assume(mib >= 6)
    assert MEMORY.validate_python(f"{number}{space}{unit}") == mib


@given(st.integers(6, 10**9))
def test_a_size_is_written_out_as_it_can_be_read_again(mib: int) -> None:
    written = MEMORY.dump_python(MEMORY.validate_python(f"{mib}m"), mode="json")
    assert written == f"{mib}m"
    assert MEMORY.validate_python(written) == mib


@given(st.integers())
@example(2048)
def test_a_size_without_its_unit_is_refused_as_number_and_as_text(number: int) -> None:
    for value in (number, str(number)):
        with pytest.raises(ValidationError, match="a number with a unit, such as 512m"):
            MEMORY.validate_python(value)


@given(st.one_of(st.text(max_size=12), st.floats(), st.booleans(), st.lists(st.integers(), max_size=2)))
@example("9" * 400 + "g")
@example("512")
@example("1e3g")
@example("٣g")
@example("5m")
def test_anything_else_is_no_size(value: object) -> None:
    is_size = isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]+)?\s*[kmgt](i?b)?", value.strip(), re.I)
    if not is_size or value == "5m":
        with pytest.raises(ValidationError):
            MEMORY.validate_python(value)


trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)),
    max_leaves=12,
)


@given(trees, trees)
def test_laying_a_value_over_twice_changes_nothing_more(below: Any, above: Any) -> None:
    once = overlay(below, above)
    assert overlay(once, above) == once
    assert overlay(above, above) == above


@given(st.dictionaries(st.sampled_from("abcd"), trees, max_size=4), st.dictionaries(st.sampled_from("abcd"), trees))
def test_what_lies_above_is_seen_and_what_lies_below_shines_through(below: Any, above: Any) -> None:
    before = json.dumps([below, above])
    merged = overlay(below, above)
    assert merged.keys() == below.keys() | above.keys()
    for key, value in merged.items():
        if key not in above:
            assert value == below[key]
        elif not isinstance(above[key], dict) or not isinstance(below.get(key), dict):
            assert value == above[key]
    assert json.dumps([below, above]) == before


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


sizes = st.integers(64, 4096).map("{}m".format)
container_sections = _optional(
    memory=st.one_of(st.just("auto"), st.integers(4096, 8192).map("{}m".format)),
    memory_reservation=sizes,
    cpus=st.one_of(st.just("auto"), st.integers(1, 64), st.floats(0.125, 64)),
    restart=st.sampled_from(["no", "always", "on-failure", "unless-stopped"]),
    log=_optional(max_size=st.sampled_from(["1m", "10k", "2g"]), max_file=st.integers(1, 100)),
    health=_optional(
        interval=positive_durations, timeout=positive_durations, start_period=durations, retries=st.integers(1, 100)
    ),
)
environment_sections = _optional(
    num_parallel=st.integers(1, 256),
    keep_alive=st.one_of(durations, st.sampled_from(["-1", -1, 0])),
    flash_attention=st.just(True),
    kv_cache_type=st.just("f16"),
    gpu_overhead=sizes,
    load_timeout=durations,
    origins=st.lists(st.sampled_from(["*", "https://a.example"]), max_size=2),
)
accelerators = st.one_of(
    st.just({"kind": "cpu"}),
    st.fixed_dictionaries(
        {
            "kind": st.just("nvidia"),
            "gpus": st.one_of(
                st.just("all"), st.integers(1, 64), st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True)
            ),
        },
        optional={"nvidia_mode": st.sampled_from(["cdi", "runtime"])},
    ),
    st.fixed_dictionaries({"kind": st.sampled_from(["rocm", "vulkan"])}, optional={"visible_devices": st.just([0, 1])}),
)
stacks = st.fixed_dictionaries(
    {
        "profile": st.sampled_from(["dev", "prod"]),
        "models": st.just(
            [{"name": "a:1", "purpose": "embedding", "keep_alive": "90s"}, {"name": "b:1", "purpose": "chat"}]
        ),
    },
    optional={
        "accelerator": accelerators,
        "ollama": _optional(
            port=st.integers(6000, 65535),
            preset=st.sampled_from(["default", "rag", "chat"]),
            environment=environment_sections,
            extra_environment=st.dictionaries(st.sampled_from(["A", "B_1"]), st.text(max_size=4), max_size=2),
            non_root=st.booleans(),
            container=container_sections,
        ),
        "postgres": _optional(
            version=st.sampled_from([16, 17, 18]),
            tuning=st.one_of(st.just("auto"), _optional(work_mem=sizes, maintenance_work_mem=sizes)),
            container=container_sections,
        ),
    },
)


def _parse(sections: dict[str, Any]) -> Settings:
    config = {
        f"ragstack:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in sections.items()
    }
    return parse(config, project="ragstack", stack="dev")


@given(stacks)
def test_settings_written_out_and_read_again_are_the_same(sections: dict[str, Any]) -> None:
    settings = _parse(sections)
    assert _parse(settings.model_dump(mode="json")) == settings


@given(stacks)
def test_every_value_of_the_stack_file_wins_over_its_profile(sections: dict[str, Any]) -> None:
    settings = _parse(sections)
    spelt_out = overlay(BASELINES[sections["profile"]], sections)
    assert _parse(spelt_out) == settings


@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "olama"]), st.one_of(trees, st.text(max_size=8))))
def test_any_configuration_is_read_or_refused_with_problems_and_nothing_else(sections: dict[str, Any]) -> None:
    problems: list[Problem] = []
    try:
        assert _parse(sections).models
    except SettingsError as error:
        problems = error.problems
    assert all("allowed" in problem.wrong and problem.mend for problem in problems), problems
    assert len({problem.key for problem in problems}) == len(problems)
