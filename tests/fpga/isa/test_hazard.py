"""What a layer may not write over, found word by word as the engine goes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fpga.emulator.layer import places, reads
from fpga.isa.descriptor import DENSE, MAX, PER_TILE, Descriptor
from fpga.isa.hazard import overwritten, reads_only_padding
from fpga.isa.shape import BANK_A, BANK_B, BANK_OUT, BANK_X, address


def word_by_word(layer: Descriptor) -> set[str]:
    """What a result is written over that a later result reads."""
    lost = set()
    for is_odd in (False, True):
        written: set[tuple[int, int]] = set()
        source = reads(layer, is_odd).words
        target = places(layer.dst, layer.dst_alt, layer.dst_pixel, layer, is_odd)
        added = places(layer.res, layer.res_alt, layer.res_pixel, layer, is_odd)
        for pixel in range(layer.oh * layer.ow):
            for tile in range(layer.oct):
                taps = source[pixel] if layer.kind == DENSE else source[pixel][:, tile]
                if any((layer.src_bank, int(word)) in written for word in taps.reshape(-1)):
                    lost.add("source")
                if layer.has_residual and (layer.res_bank, int(added[pixel, tile])) in written:
                    lost.add("residual")
                if layer.dst_bank != BANK_OUT:
                    written.add((layer.dst_bank, int(target[pixel, tile])))
    return lost


small = st.integers(1, 3)
layers = st.builds(
    Descriptor,
    kind=st.sampled_from([DENSE, PER_TILE, MAX]),
    has_residual=st.booleans(),
    src=st.builds(address, st.sampled_from([BANK_X, BANK_A]), st.integers(0, 12)),
    dst=st.builds(address, st.sampled_from([BANK_A, BANK_B, BANK_OUT]), st.integers(0, 24)),
    res=st.builds(address, st.just(BANK_B), st.integers(0, 24)),
    src_alt=st.integers(0, 6), dst_alt=st.integers(0, 6), res_alt=st.integers(0, 6),
    ih=st.integers(1, 4), iw=st.integers(1, 4), oh=st.integers(1, 4), ow=st.integers(1, 4),
    kh=small, kw=small, sy=small, sx=small, pt=st.integers(0, 4), pl=st.integers(0, 4),
    ict=small, oct=small, src_pixel=st.integers(0, 4), src_row=st.integers(0, 9),
    dst_pixel=st.integers(0, 4), res_pixel=st.integers(0, 4),
)  # fmt: skip


@given(layers)
@settings(max_examples=600, deadline=None)
def test_a_layer_that_writes_what_it_has_still_to_read_is_found(layer: Descriptor) -> None:
    lost = word_by_word(layer)
    assert overwritten(layer) in (lost or {""})


@given(layers)
@settings(max_examples=300, deadline=None)
def test_a_layer_that_reads_only_padding_is_found(layer: Descriptor) -> None:
    assert reads_only_padding(layer) == (reads(layer, False).used.size == 0)


def test_a_word_may_replace_the_residual_that_it_is_made_of() -> None:
    layer = Descriptor(
        src=address(BANK_A, 0), res=address(BANK_B, 5), dst=address(BANK_B, 5),
        has_residual=True, oh=4, ow=4, ih=4, iw=4, src_row=4, oct=2, dst_pixel=2, res_pixel=2,
    )  # fmt: skip
    assert overwritten(layer) == ""
    assert overwritten(replace(layer, dst=address(BANK_B, 4))) == ""  # read already
    assert overwritten(replace(layer, dst=address(BANK_B, 6))) == "residual"


def test_the_largest_layer_is_looked_at_in_no_time() -> None:
    # An artifact may come from an enemy.
    layer = Descriptor(
        kind=PER_TILE, src=address(BANK_A, 0), dst=address(BANK_A, 0), ih=1023, iw=1023, oh=1023,
        ow=1023, kh=15, kw=15, oct=1023, ict=1023, src_row=0, src_pixel=14, dst_pixel=0,
    )  # fmt: skip
    assert overwritten(layer) == "source"
