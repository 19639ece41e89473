//! Sixteen messages at a time in AVX-512. Owns the arithmetic; that the CPU has it is the caller's promise.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{Block, K, MAX_LANES, States};

pub(super) const LANES: usize = 16;
const _: () = assert!(LANES == MAX_LANES);

/// How far ahead of the block in work each lane is fetched into the L1 cache: sixteen streams are more than the
/// hardware follows by itself.
const PREFETCH: usize = 4;

/// Ternary truth tables: `x` is 0xf0, `y` 0xcc, `z` 0xaa.
const CH: i32 = 0xca;
const PARITY: i32 = 0x96;
const MAJ: i32 = 0xe8;

/// Compresses the first `blocks` blocks of each lane.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut States, lanes: &[&[Block]; MAX_LANES], blocks: usize) {
    let [mut a, mut b, mut c, mut d, mut e] = states.0.map(|words| {
        // SAFETY: `words` is 64 bytes long, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    });
    let k = K.map(|k| _mm512_set1_epi32(k.cast_signed()));

    // One round; `$w` is its word of the schedule. The roles of the five words turn with every round.
    macro_rules! round {
        ($f:expr, $k:expr, $w:expr) => {
            let sum = _mm512_add_epi32(_mm512_add_epi32(e, $k), $w);
            let f = _mm512_ternarylogic_epi32::<$f>(b, c, d);
            let sum = _mm512_add_epi32(sum, f);
            (e, d, c, b, a) =
                (d, c, _mm512_rol_epi32::<30>(b), a, _mm512_add_epi32(sum, _mm512_rol_epi32::<5>(a)));
        };
    }
    for block in 0..blocks {
        let mut w = load(lanes, block);
        let before = [a, b, c, d, e];

        // A round whose word is still to be made, in the place of the word of sixteen rounds ago.
        macro_rules! later {
            ($f:expr, $k:expr, $($t:expr)*) => { $(
                let word = _mm512_ternarylogic_epi32::<PARITY>(w[($t + 13) % 16], w[($t + 8) % 16], w[($t + 2) % 16]);
                w[$t % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(word, w[$t % 16]));
                round!($f, $k, w[$t % 16]);
            )* };
        }
        macro_rules! first {
            ($f:expr, $k:expr, $($t:expr)*) => { $( round!($f, $k, w[$t]); )* };
        }
        first!(CH, k[0], 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        later!(CH, k[0], 16 17 18 19);
        later!(PARITY, k[1], 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
        later!(MAJ, k[2], 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        later!(PARITY, k[3], 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);

        a = _mm512_add_epi32(a, before[0]);
        b = _mm512_add_epi32(b, before[1]);
        c = _mm512_add_epi32(c, before[2]);
        d = _mm512_add_epi32(d, before[3]);
        e = _mm512_add_epi32(e, before[4]);
    }
    for (words, vector) in states.0.iter_mut().zip([a, b, c, d, e]) {
        // SAFETY: `words` is 64 bytes long, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
    }
}

/// The sixteen words of one block of each lane, a vector a word, from big-endian.
///
/// The quarters of a block are put side by side as they are loaded, which leaves only a transposition of 4 by 4 words
/// within each quarter of the vectors to the shuffle units: they are the bottleneck.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(lanes: &[&[Block]; MAX_LANES], block: usize) -> [__m512i; 16] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    let at: [*const Block; LANES] = core::array::from_fn(|lane| {
        let blocks = lanes[lane].as_ptr();
        _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(block + PREFETCH).cast());
        blocks.wrapping_add(block)
    });
    let mut w = [_mm512_setzero_si512(); 16];
    for quarter in 0..4 {
        // SAFETY: every lane has more than `block` blocks, of which this is a quarter; the load needs no alignment.
        let part = |lane: usize| unsafe { _mm_loadu_si128(at[lane].cast::<__m128i>().add(quarter)) };
        let row: [__m512i; 4] = core::array::from_fn(|lane| {
            let row = _mm512_castsi128_si512(part(lane));
            let row = _mm512_mask_broadcast_i32x4(row, 0x00f0, part(lane + 4));
            let row = _mm512_mask_broadcast_i32x4(row, 0x0f00, part(lane + 8));
            let row = _mm512_mask_broadcast_i32x4(row, 0xf000, part(lane + 12));
            _mm512_shuffle_epi8(row, swap)
        });
        let low = [_mm512_unpacklo_epi32(row[0], row[1]), _mm512_unpacklo_epi32(row[2], row[3])];
        let high = [_mm512_unpackhi_epi32(row[0], row[1]), _mm512_unpackhi_epi32(row[2], row[3])];
        w[4 * quarter] = _mm512_unpacklo_epi64(low[0], low[1]);
        w[4 * quarter + 1] = _mm512_unpackhi_epi64(low[0], low[1]);
        w[4 * quarter + 2] = _mm512_unpacklo_epi64(high[0], high[1]);
        w[4 * quarter + 3] = _mm512_unpackhi_epi64(high[0], high[1]);
    }
    w
}
