"""benchdnn: the rules of its descriptors, its options, nested batch files, and the way back to a descriptor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import strategies
from hypothesis import given
from imports import layer, only, read, source

from convbench.actions.importing import imported as imported_file
from convbench.errors import RequestError
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.workloads.importers import descriptor, imported
from convbench.workloads.importers.layers import NotTakenError
from convbench.workloads.importers.source import Source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mb8ic16ih10oc32oh10kh3ph1", layer((16, 32), 3, 10, padding=1, batch_size=8)),
        ("ic16ih10oc32oh10kh3ph1", layer((16, 32), 3, 10, padding=1, batch_size=2)),
        ("mb1_ic16oc32_ih10oh8kh3_iw20ow18kw3", layer((16, 32), 3, (10, 20), batch_size=1)),
        ("g4mb1ic16ih10oc32oh5kh3sh2ph1", layer((16, 32), 3, 10, stride=2, padding=1, groups=4, batch_size=1)),
        ("mb1ic4ih20oc4oh16kh3dh1ph0", layer((4, 4), 3, 20, dilation=2, batch_size=1)),
        ("mb1ic4ih20oc4kh3ph1", layer((4, 4), 3, 20, padding=1, batch_size=1)),
        ("mb1ic4ih20oc4kh3", layer((4, 4), 3, 20, batch_size=1)),
        ("mb1ic4ih20oc4oh20kh5", layer((4, 4), 5, 20, padding=2, batch_size=1)),
        ("mb1ic3ih224oc64oh112kh7sh2ph3", layer((3, 64), 7, 224, stride=2, padding=3, batch_size=1)),
        ("mb1ic4ih56oc4oh28kh1sh2", layer((4, 4), 1, 56, stride=2, batch_size=1)),
        ("mb1ic4oc4_ih1oh1kh1_iw9ow7kw3pw0", layer((4, 4), (1, 3), (1, 9), batch_size=1)),
    ],
)
def test_descriptors_mean_what_benchdnn_reads(text: str, expected: Problem) -> None:
    assert only(text) == Case(problem=replace(expected, bias=True))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mb1ic4ih10oc4oh9kh2ph0pw0ow10iw10kw2", "its padding differs between two sides"),
        ("mb1ic4ih10oc4oh10kh2", "its padding differs between two sides"),
        ("mb1ic4ih10oc4oh6kh3", "its padding is negative"),
        ("mb1ic4id8ih8iw8oc4kd3kh3kw3", "it has 3 spatial dimensions"),
        ("mb1ic4iw8oc4kw3", "it has 1 spatial dimension"),
        ("mb1ic4ih8oc4", "it is incomplete"),
        ("mb1ih8oc4kh3", "one of its sizes is out of range"),
        ("mb1ic99999999999ih8oc4kh3", "one of its sizes is out of range"),
        ("mb1ic4ih8oc4kh9", "torch would refuse it: the kernel (9x9) is larger than the padded input (8x8)"),
        ("g3mb1ic4ih8oc4kh3", "torch would refuse it: in_channels (4) must be divisible by groups (3)"),
        ("mb1ic4ih8oc4kh3xx1", "it is no descriptor"),
        ('mb1ic4ih8oc4kh3n"open', "its name has one quotation mark"),
        ("--dt=u8:s8:u8 mb1ic4ih8oc4kh3", "its dtype u8 is not one"),
        ("--dt=bf16:bf16:f32 mb1ic4ih8oc4kh3", "its tensors have several dtypes (bfloat16, float32)"),
        ("--dir=SIDEWAYS mb1ic4ih8oc4kh3", "benchdnn has no direction SIDEWAYS"),
        ("--stag=aBx16b mb1ic4ih8oc4kh3", "its layout abx16b is none of torch's"),
        ("--stag=axb --dtag=abx mb1ic4ih8oc4kh3", "its input and its output have different layouts"),
        ("--mb=two mb1ic4ih8oc4kh3", "its option --mb is no number"),
        ("--deconv mb1ic4ih8oc4kh3", "it is for benchdnn's driver deconv"),
    ],
)
def test_what_no_layer_of_torch_is_is_refused_with_its_line(text: str, reason: str) -> None:
    made = read(f"# the first is fine\nmb1ic4ih8oc4kh3\n{text}\n", "benchdnn")
    assert len(made.cases) == 1
    [refused] = made.refused
    assert refused.place == "line 3"
    assert refused.reason.startswith(reason)


def test_names_are_labels_and_their_stars_are_counts() -> None:
    lines = [
        'mb1ic4ih8oc4kh3n"a:res2*4"',
        "mb1ic4ih9oc4kh3nplain*2",
        'mb1ic4ih7oc4kh3n"x*2&y"',
        'mb1ic4ih6oc4kh3n"two words"',
    ]
    made = read("\n".join(lines))
    assert [(case.given_label, case.count) for case in made.cases] == [
        ("a:res2", 4),
        ("plain", 2),
        ("x&y", 3),
        ("two words", 1),
    ]
    assert (made.read, made.distinct) == (10, 4)


def test_comments_are_left_out_and_lines_go_on_behind_a_backslash() -> None:
    made = read("#mb1ic1ih8oc1kh3\n--dt=f32, \\\n     bf16\nmb1ic4ih8oc4kh3 # mb1ic2ih8oc2kh3\n")
    assert [case.dtype for case in made.cases] == ["float32", "bfloat16"]
    assert {case.problem.in_channels for case in made.cases} == {4}


def test_options_hold_until_a_reset_and_lists_multiply() -> None:
    made = read(
        "--dir=FWD_D,BWD_WB --cfg=bf16bf16bf16 --stag=axb --mb=3\nmb1ic4ih8oc4kh3\n--reset mb1ic4ih8oc4kh3\n"
        "--dir=FWD_I --bia-dt=f32 --attr-post-ops=relu --skip-impl=ref mb1ic4ih8oc4kh3\n"
    )
    first, second, third = made.cases
    assert (first.direction, first.problem.bias, first.problem.batch_size) == (Direction.FORWARD, False, 3)
    assert (second.direction, second.problem.bias, second.dtype) == (Direction.GRAD_WEIGHT, True, "bfloat16")
    assert second.memory_format is MemoryFormat.CHANNELS_LAST
    assert (third.problem.batch_size, third.dtype, third.count) == (1, "float32", 2), "with a bias both times"
    assert made.notes == ("options of benchdnn that no layer has were left out: --attr-post-ops",)


def test_layouts_that_are_the_same_for_torch_are_one_case() -> None:
    made = read("--stag=any,abx,nchw\nmb1ic4ih8oc4kh3\n")
    assert [case.count for case in made.cases] == [1]


def test_a_combination_that_no_layer_has_leaves_the_others() -> None:
    made = read("--dt=f32,s8:s8:s32 mb1ic4ih8oc4kh3\n")
    assert (len(made.cases), [each.reason for each in made.refused]) == (
        1,
        ["its dtype s8 is not one that convbench measures"],
    )


def nested(files: dict[str, str], name: str) -> Source:
    def beside(other: str) -> Source:
        if other not in files:
            raise RequestError(f"cannot read {other}: no such file")
        return nested(files, other)

    return source(files[name], name=name, beside=beside)


def test_batch_files_name_others_whose_options_stay() -> None:
    files = {
        "all": "--dt=bf16\n--batch=some\nmb1ic4ih8oc4kh3\n",
        "some": 'mb1ic5ih8oc4kh3\n--dt=f16\nmb1ic4ih8oc4kh3dh"\n',
    }
    made = imported(nested(files, "all"), name="all")
    assert [(case.problem.in_channels, case.dtype) for case in made.cases] == [(5, "bfloat16"), (4, "float16")]
    assert [refused.place for refused in made.refused] == ["some:3"]


def test_batch_files_that_lack_or_lead_back_are_refused() -> None:
    files = {"a": "--batch=b\nmb1ic4ih8oc4kh3\n--batch=absent\n", "b": "mb1ic5ih8oc4kh3\n--batch=b\n"}
    made = imported(nested(files, "a"), name="a")
    assert len(made.cases) == 2
    assert [(each.place, each.reason) for each in made.refused] == [
        ("b:2", "--batch=b leads back to itself"),
        ("line 3", "cannot read absent: no such file"),
    ]


def test_a_batch_file_that_names_itself_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "self.txt").write_text("--batch=self.txt\n--batch=./self.txt\nmb1ic4ih8oc4kh3\n", encoding="utf-8")
    made = imported_file(tmp_path / "self.txt")
    assert [case.count for case in made.cases] == [1]
    assert [(each.place, each.reason) for each in made.refused] == [
        ("line 1", "--batch=self.txt leads back to itself"),
        ("line 2", "--batch=./self.txt leads back to itself"),
    ]


def test_many_equal_refusals_need_no_memory_and_are_counted() -> None:
    made = read("mb1ic4ih8oc4kh3\n" + "mb1ic4ih8oc4kh9\n" * 1000)
    assert made.read == 1001
    assert len(made.refused) < 20
    assert sum(each.count for each in made.refused) == 1000


@given(strategies.problems)
def test_a_problem_comes_back_from_its_descriptor(problem: Problem) -> None:
    sayable = replace(
        problem,
        padding_mode=PaddingMode.ZEROS,
        module_output_size=None,
        batch_size=problem.batch_size or 1,
        padding=(0, 0) if isinstance(problem.padding, PaddingWord) else problem.padding,
    )
    assert descriptor.read(descriptor.written(sayable), bias=problem.bias) == (sayable, None)


@given(strategies.problems)
def test_a_word_of_padding_comes_back_as_its_numbers_or_is_refused(problem: Problem) -> None:
    """`same` may pad one element more behind than before, which a descriptor says by the output's size."""
    word = replace(problem, padding_mode=PaddingMode.ZEROS, module_output_size=None, batch_size=1, stride=(1, 1))
    word = replace(word, padding=PaddingWord.SAME)
    text = descriptor.written(word)
    if all(before == after for before, after in word.pads):
        found, _ = descriptor.read(text, bias=word.bias)
        assert found == replace(word, padding=tuple(before for before, _ in word.pads))
    else:
        with pytest.raises(NotTakenError):
            descriptor.read(text, bias=word.bias)


@pytest.mark.parametrize("change", [{"batch_size": None}, {"padding_mode": "reflect"}, {"module_output_size": (9, 9)}])
def test_what_a_descriptor_cannot_say_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no words"):
        descriptor.written(replace(layer((4, 4), 3, 8), **change))  # type: ignore[arg-type]  # built by name
