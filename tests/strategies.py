"""Hypothesis strategies for all frozen data: everything that model/bounds.py allows, with hostile text."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

from hypothesis import strategies as st

from convbench.model import campaign, case, problem, result
from convbench.model.samples import BlockSamples, pack_samples
from convbench.model.variables import RECORDED, is_secret

#: Texts that a database keeps as they are.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["", "<script>alert(1)</script>", 'it\'s "so"\n\t;--', "\U0001f600 ä"]
)
#: Texts that a file or a worker may hand over: halves of surrogate pairs and NUL among them.
raw_texts = texts | st.text(st.characters(), max_size=6) | st.sampled_from(["a\x00b", "\udce4"])
maybe = st.none()
times = st.floats(0, 1e30)
shares = st.floats(0, 1)
sides = st.tuples(st.integers(1, 300), st.integers(1, 300))


def sound(made: problem.Problem) -> problem.Problem:
    """The problem with what torch would refuse mended."""
    groups = math.gcd(made.in_channels, made.out_channels, made.groups)
    stride = (1, 1) if made.padding is problem.PaddingWord.SAME else made.stride
    # As large as the dilated kernel, and larger than any padding: those that reflect must be.
    sides = zip(made.input_size, made.dilated_kernel_size, strict=True)
    input_size = tuple(max(10, size, extent) for size, extent in sides)
    return replace(made, groups=groups, stride=stride, input_size=input_size)


problems = st.builds(
    problem.Problem,
    in_channels=st.integers(1, 4096),
    out_channels=st.integers(1, 4096),
    kernel_size=sides,
    input_size=sides,
    stride=st.just((1, 1)) | sides,
    padding=st.tuples(st.integers(0, 9), st.integers(0, 9)) | st.sampled_from(problem.PaddingWord),
    dilation=st.just((1, 1)) | sides,
    groups=st.integers(1, 64),
    bias=st.booleans(),
    padding_mode=st.sampled_from(problem.PaddingMode),
    batch_size=maybe | st.integers(1, 512),
    module_output_size=maybe | sides,
).map(sound)


def fitting(made: case.Case) -> case.Case:
    """The case with a memory format that its input can have, and an output's size that its module can have."""
    if made.problem.batch_size is None:
        made = replace(made, memory_format=case.MemoryFormat.CONTIGUOUS)
    if made.module == case.TORCH_MODULE:
        made = replace(made, problem=replace(made.problem, module_output_size=None))
    return made


cases = st.builds(
    case.Case,
    problem=problems,
    direction=st.sampled_from(problem.Direction),
    dtype=st.sampled_from(list(case.DTYPES)),
    memory_format=st.sampled_from(case.MemoryFormat),
    device=st.sampled_from(["cpu", "cuda:1", "accelerator"]),
    threads=maybe | st.integers(1, 64),
    module=st.sampled_from([case.TORCH_MODULE, "mine.layers:Conv"]),
    allocator=st.sampled_from(case.Allocator),
    cache=st.sampled_from(case.Cache),
    data=st.sampled_from(case.Data),
    autocast=st.sampled_from(case.Autocast),
    fp32_precision=st.sampled_from(case.Fp32Precision),
    deterministic=st.booleans(),
    cudnn_benchmark=st.booleans(),
    env=st.dictionaries(
        st.from_regex("[A-Z_]{1,9}", fullmatch=True).filter(lambda name: not is_secret(name)), texts, max_size=2
    ).map(lambda found: tuple(sorted(found.items()))),
    given_label=maybe | texts,
    count=st.integers(1, 2**40),
    labels=st.lists(texts, max_size=3).map(tuple),
).map(fitting)

_single = st.floats(0, 2**99, width=32)


def rising(made: result.Block) -> result.Block:
    """The block with its quantiles in order."""
    values = sorted(getattr(made, name) for name in result.QUANTILES)
    return replace(made, **dict(zip(result.QUANTILES, values, strict=True)))


blocks = st.builds(
    result.Block,
    **dict.fromkeys(result.BLOCK_LAYOUTS[result.LAYOUT], _single)
    | dict.fromkeys((*result.QUANTILES, "mean_s"), st.floats(2**-99, 2**99, width=32))
    | {
        "process_index": st.integers(0, 9999),
        "round_index": st.integers(0, 999),
        "order": st.integers(0, 2**24),
        "iterations": st.integers(1, 2**24),
        "samples": st.integers(1, 2**24),
        "throttled": st.sampled_from([0.0, 1.0]),
    },
).map(rising)
packed = st.lists(blocks, max_size=3).map(result.pack_blocks)
checks = st.builds(
    result.Check,
    output_shape=maybe | st.lists(st.integers(1, 999), max_size=4).map(tuple),
    max_error=maybe | times | st.just(math.inf),
    elements=st.integers(0, 10**9),
    method=st.sampled_from(["exact", "normwise"]),
    reason=maybe | texts,
)
facts = st.builds(
    result.CaseFacts,
    check=maybe | checks,
    implementation=maybe | texts,
    threads=maybe | st.integers(1, 64),
    timer=maybe | texts,
    note=maybe | texts,
    precision=maybe | texts,
    reorder_share=maybe | shares,
    first_call_s=maybe | times,
    peak_bytes=maybe | st.integers(0, 2**60),
    kernels=maybe | texts,
)
visits = st.builds(
    result.Visit,
    case_id=st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=12, max_size=12),
    process_index=st.integers(0, 9),
    status=st.sampled_from(result.Status),
    reason=maybe | texts,
    facts=facts,
    blocks=packed,
    system_blocks=packed,
    kernel_blocks=packed,
    layout=st.just(result.LAYOUT),
    samples=st.lists(
        st.builds(
            BlockSamples,
            round_index=st.integers(0, 999),
            seconds=st.lists(st.floats(2**-99, 2**99, width=32), max_size=4).map(tuple),
        ),
        max_size=3,
    ).map(pack_samples),
    stop_reason=st.sampled_from(result.StopReason),
    complete=st.booleans(),
)
results = st.builds(
    result.Result,
    case=cases,
    status=st.sampled_from(result.Status),
    reason=maybe | texts,
    facts=facts,
    stop_reason=st.sampled_from(result.StopReason),
    blocks=st.lists(st.tuples(st.just(result.LAYOUT), packed), max_size=3).map(tuple),
    system_blocks=st.lists(st.tuples(st.just(result.LAYOUT), packed), max_size=1).map(tuple),
    kernel_blocks=st.lists(st.tuples(st.just(result.LAYOUT), packed), max_size=1).map(tuple),
)
rejections = st.builds(result.Rejection, label=texts, reason=texts)
measures = st.builds(
    result.Measure,
    precision=st.floats(1e-6, 1),
    processes=st.integers(1, 100),
    rounds=st.integers(1, 1000),
    max_time=st.floats(1e-6, 3600),
    timeout=st.floats(1e-6, 86400),
    budget=maybe | st.floats(1e-6, 30 * 86400),
)
roofs = st.builds(
    result.Roof,
    kind=st.sampled_from(result.RoofKind),
    device=st.sampled_from(["cpu", "cuda:1", "accelerator"]),
    threads=maybe | st.integers(1, 64),
    rate=st.floats(1, 1e30),
    source=texts,
    dtype=maybe | st.sampled_from(list(case.DTYPES)),
    footprint_bytes=maybe | st.integers(1, 2**40),
    precision=st.sampled_from(case.Fp32Precision),
)


@st.composite
def reference_blocks(draw: st.DrawFn) -> result.ReferenceBlocks:
    layers = draw(st.integers(1, 8))
    row = st.tuples(st.floats(0, 1e6, width=32), *[st.floats(2**-30, 2**10, width=32)] * layers)
    rows = draw(st.lists(row, max_size=3))
    return result.ReferenceBlocks(
        version=draw(st.integers(1, 99)),
        device=draw(st.sampled_from(["cpu", "cuda:1", "accelerator"])),
        threads=draw(maybe | st.integers(1, 64)),
        layers=layers,
        block_s=draw(st.sampled_from([0.005, 0.02])),
        rows=b"".join(struct.pack(f"<{1 + layers}f", *each) for each in rows),
        record_s=tuple(draw(st.just([]) | st.lists(st.floats(1e-9, 1e3), min_size=layers, max_size=layers))),
    )


process_facts = st.builds(
    result.ProcessFacts,
    process_index=st.integers(0, 99),
    seconds=times,
    roofs=st.lists(roofs, max_size=2).map(tuple),
    load=maybe | times,
    stolen=maybe | st.floats(-1, 1),
    frequency_hz=maybe | times,
    throttled=maybe | st.integers(0, 10**9),
    twin_ratio=maybe | times,
    references=st.lists(reference_blocks(), max_size=2).map(tuple),
)
environments = st.builds(
    result.Environment,
    hostname=texts,
    system=texts,
    machine=texts,
    cpu=texts,
    cores=st.integers(1, 999),
    memory_bytes=maybe | st.integers(0, 2**60),
    l2_bytes=maybe | st.integers(0, 2**40),
    l3_bytes=maybe | st.integers(0, 2**40),
    python=texts,
    torch=texts,
    onednn=maybe | texts,
    libc=texts,
    accelerator=maybe | texts,
    cpu_capability=maybe | texts,
    allocator=texts,
    variables=st.dictionaries(st.sampled_from(sorted(RECORDED)), texts, max_size=2).map(
        lambda variables: tuple(sorted(variables.items()))
    ),
)
gits = st.builds(
    result.Git, commit=st.text("0123456789abcdef", min_size=1, max_size=64), branch=maybe | texts, dirty=st.booleans()
)
headers = st.builds(
    result.Run,
    id=st.from_regex(r"2026[0-9]{4}-[0-9]{6}-[a-z2-7]{4}", fullmatch=True),
    name=texts,
    description=texts,
    source=texts,
    seed=st.integers(-(2**70), 2**70),
    measure=measures,
    version=st.just("0.1.0"),
    started_at=st.just("2026-11-24T03:15:02+00:00"),
    finished_at=maybe | st.just("2026-11-24T03:18:02+00:00"),
    state=st.sampled_from(result.RunState),
    environment=environments,
    results=st.just(()),
    rejections=st.lists(rejections, max_size=2).map(tuple),
    unmeasured=st.just(()),
    git=maybe | gits,
)


def distinct(made: result.Run) -> result.Run:
    """The run without what stands in it a second time."""
    once = {found.case: found for found in made.results}
    return replace(
        made,
        results=tuple(once.values()),
        unmeasured=tuple(each for each in dict.fromkeys(made.unmeasured) if each not in once),
        processes=tuple({facts.process_index: facts for facts in made.processes}.values()),
    )


runs = st.builds(
    replace,
    headers,
    results=st.lists(results, max_size=3).map(tuple),
    unmeasured=st.lists(cases, max_size=2).map(tuple),
    processes=st.lists(process_facts, max_size=2).map(tuple),
).map(distinct)


ids = st.from_regex(r"2026[0-9]{4}-[0-9]{6}-[a-z2-7]{4}", fullmatch=True)
case_ids = st.lists(st.from_regex(r"[a-z2-7]{12}", fullmatch=True), max_size=2).map(tuple)
device_kinds = st.builds(
    campaign.DeviceKind,
    model=texts,
    memory_gib=maybe | st.integers(0, 1000),
    power_limit_w=maybe | st.integers(0, 2000),
)
machine_keys = st.builds(
    campaign.MachineKey,
    cpu=texts,
    architecture=texts,
    cores=st.integers(1, 999),
    devices=st.lists(device_kinds, max_size=2).map(tuple),
)
shards = st.builds(
    campaign.Shard,
    position=st.integers(0, 999),
    machine=machine_keys,
    state=st.sampled_from(campaign.ShardState),
    host=maybe | texts,
    run_ids=st.lists(ids, max_size=2).map(tuple),
    case_ids=case_ids,
    note=maybe | texts,
    device=texts,
    boot=maybe | texts,
)
campaigns = st.builds(
    campaign.Campaign,
    id=ids.map("c{}".format),
    name=texts,
    how=st.sampled_from(campaign.How),
    source=texts,
    started_at=st.just("2026-11-24T03:15:02+00:00"),
    finished_at=maybe | st.just("2026-11-24T03:18:02+00:00"),
    state=st.sampled_from(campaign.CampaignState),
    controls=case_ids,
    shards=st.lists(shards, max_size=2).map(tuple),
)
