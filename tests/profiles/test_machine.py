"""What a profile's machine has: stated whole, inherited, refused when stated badly, held against what is needed."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest

from vfbench import profiles
from vfbench.errors import UserError
from vfbench.profiles import CAPABILITIES, Profile, load_profile, shipped_profiles
from vfbench.profiles.machine import HYPOTHETICAL

SHIPPED_TEXT = (Path(profiles.__file__).parent / "xeon-82599.toml").read_text(encoding="utf-8")
HEIR = 'schema = 1\nname = "heir"\nsummary = "s"\ninherit = "xeon-82599"\nholds = []\n[costs]\n'


def loaded(folder: Path, text: str) -> Profile:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_profile(path)


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_says_of_each_capability_whether_its_machine_has_it(name):
    offers = load_profile(name).offers
    assert list(offers) == list(CAPABILITIES)
    flags = {offers[each] for each, capability in CAPABILITIES.items() if capability.kind == "flag"}
    assert flags <= {True, False, HYPOTHETICAL}


@pytest.mark.parametrize("name", shipped_profiles())
def test_what_is_from_memory_or_estimated_is_graded_c(name):
    for capability, feature in load_profile(name).machine.items():
        guessed = "(from memory)" in feature.source or feature.source.startswith("Estimate")
        assert not guessed or feature.sure == "C" or "(read)" in feature.source, capability


def test_the_machine_of_2015_has_two_queues_a_vf_and_no_log_in_its_device():
    offers = load_profile("xeon-82599").offers
    assert (offers["year"], offers["queues_per_vf"], offers["device_dirty_log"]) == (2015, 2, False)


def test_what_the_machine_cannot_do_at_all_is_refused_with_its_reason():
    (refusal,) = load_profile("xeon-82599").refusals(["segmentation", "device_dirty_log"])
    assert refusal.startswith(
        "xeon-82599 has no log in the device of the pages that it wrote: 82599 datasheet"
    )


def test_what_only_lacks_that_years_hardware_is_not_refused_but_hypothetical():
    machine = load_profile("xeon-82599")
    assert machine.refusals(["nested_translation"]) == ()
    assert machine.hypothetical(["segmentation", "nested_translation"]) == ("nested_translation",)


def test_a_number_is_held_against_the_least_that_will_do():
    machine = load_profile("xeon-82599")
    assert machine.refusals([("queues_per_vf", 2)]) == ()
    assert machine.refusals([("queues_per_vf", 4)])[0].startswith(
        "xeon-82599 has 2 queue pairs in a VF, not 4"
    )


def test_a_need_that_is_no_capability_is_a_mistake_of_the_strategy():
    with pytest.raises(KeyError, match="teleport"):
        load_profile("xeon-82599").refusals(["teleport"])


def test_a_profile_recorded_before_machines_were_stated_is_read_and_says_nothing():
    content = load_profile("xeon-82599").to_json()
    del content["machine"]
    old = Profile.from_json(content)
    assert dict(old.offers) == {}
    assert old.refusals(["pml"]) == (
        "the profile xeon-82599 does not say whether there is a page modification log in the processor (PML)",
    )


@pytest.mark.parametrize("name", shipped_profiles())
def test_a_profile_comes_back_from_json_and_from_another_process_as_it_was(name):
    profile = load_profile(name)
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile
    assert pickle.loads(pickle.dumps(profile)).machine == profile.machine


def test_what_the_machine_has_is_part_of_the_digest():
    xeon = load_profile("xeon-82599")
    other = {**xeon.machine, "pml": dataclasses.replace(xeon.machine["pml"], has=True)}
    assert dataclasses.replace(xeon, machine=other).digest != xeon.digest


def test_an_heir_has_what_its_base_has_but_for_what_it_states(tmp_path):
    heir = loaded(tmp_path, HEIR + '[machine.pml]\nhas = true\nsure = "A"\nsource = "a newer processor"\n')
    assert heir.offers["pml"] is True
    assert heir.offers["queues_per_vf"] == 2


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("[machine.pml]", "[machine.pmll]", "unknown capability 'pmll'; did you mean pml?"),
        (
            'has = "hypothetical"',
            'has = "perhaps"',
            "has 'perhaps' does not do; give true, false or 'hypothetical'",
        ),
        ("has = 2015", "has = true", "machine.year: has True does not do; give a whole number"),
        ("has = 2015", "has = -1", "machine.year: has -1 does not do; give a whole number"),
        ('has = "4.3"', "has = 4", "machine.kernel: has 4 does not do; give a text in quotes"),
        ("has = 2015\n", "", "machine.year: has is missing; give has, sure, source"),
        ("has = 2015\n", "has = 2015\nhad = 1\n", "machine.year: unknown key 'had'; did you mean has?"),
    ],
)
def test_a_capability_stated_badly_is_refused(tmp_path, before, after, words):
    with pytest.raises(UserError) as refused:
        loaded(tmp_path, SHIPPED_TEXT.replace(before, after, 1))
    assert words in str(refused.value)


def test_a_machine_that_leaves_a_capability_out_is_refused_with_what_to_say(tmp_path):
    head, _, rest = SHIPPED_TEXT.partition("[machine.vdpa]")
    with pytest.raises(UserError, match=r"machine\.vdpa is missing; say whether there is a vDPA device"):
        loaded(tmp_path, head + rest[rest.index("[machine.") :])


def test_a_whole_profile_without_a_machine_is_refused(tmp_path):
    text = (
        SHIPPED_TEXT[: SHIPPED_TEXT.index("[machine.year]")] + SHIPPED_TEXT[SHIPPED_TEXT.index("[costs.") :]
    )
    with pytest.raises(UserError, match="machine is missing"):
        loaded(tmp_path, text)


@pytest.mark.parametrize("machine", ["machine = 3", "[machine]\npml = true"])
def test_a_machine_that_is_no_table_is_refused(tmp_path, machine):
    text = HEIR.replace("[costs]", f"{machine}\n[costs]")
    with pytest.raises(UserError, match=r"is no table; (write|give)"):
        loaded(tmp_path, text)
