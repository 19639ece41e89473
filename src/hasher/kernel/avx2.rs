//! Eight messages at a time in AVX2. Owns the arithmetic; that the CPU has it is the caller's promise.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{Block, K, MAX_LANES, States};

pub(super) const LANES: usize = 8;

/// As in the wider kernel: more streams than the hardware follows by itself.
const PREFETCH: usize = 4;

/// Compresses the first `blocks` blocks of each of the first eight lanes.
#[target_feature(enable = "avx2")]
pub(super) fn compress(states: &mut States, lanes: &[&[Block]; MAX_LANES], blocks: usize) {
    let [mut a, mut b, mut c, mut d, mut e] = states.0.map(|words| {
        // SAFETY: `words` is 64 bytes long, of which 32 are read, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
    });
    let k = K.map(|k| _mm256_set1_epi32(k.cast_signed()));

    macro_rules! ch {
        () => {
            _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
        };
    }
    macro_rules! parity {
        () => {
            _mm256_xor_si256(_mm256_xor_si256(b, c), d)
        };
    }
    // The two halves share no bit, so that either may be added to the sum without waiting for the other.
    macro_rules! maj {
        () => {
            _mm256_add_epi32(_mm256_and_si256(b, c), _mm256_and_si256(d, _mm256_xor_si256(b, c)))
        };
    }
    // One round; `$w` is its word of the schedule. The roles of the five words turn with every round.
    macro_rules! round {
        ($f:ident, $k:expr, $w:expr) => {
            let sum = _mm256_add_epi32(_mm256_add_epi32(e, $k), $w);
            let sum = _mm256_add_epi32(sum, $f!());
            (e, d, c, b, a) = (d, c, rol::<30, 2>(b), a, _mm256_add_epi32(sum, rol::<5, 27>(a)));
        };
    }
    for block in 0..blocks {
        let mut w = load(lanes, block);
        let before = [a, b, c, d, e];

        // A round whose word is still to be made, in the place of the word of sixteen rounds ago.
        macro_rules! later {
            ($f:ident, $k:expr, $($t:expr)*) => { $(
                let word = _mm256_xor_si256(
                    _mm256_xor_si256(w[($t + 13) % 16], w[($t + 8) % 16]),
                    _mm256_xor_si256(w[($t + 2) % 16], w[$t % 16]),
                );
                w[$t % 16] = rol::<1, 31>(word);
                round!($f, $k, w[$t % 16]);
            )* };
        }
        macro_rules! first {
            ($f:ident, $k:expr, $($t:expr)*) => { $( round!($f, $k, w[$t]); )* };
        }
        first!(ch, k[0], 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        later!(ch, k[0], 16 17 18 19);
        later!(parity, k[1], 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
        later!(maj, k[2], 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        later!(parity, k[3], 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);

        a = _mm256_add_epi32(a, before[0]);
        b = _mm256_add_epi32(b, before[1]);
        c = _mm256_add_epi32(c, before[2]);
        d = _mm256_add_epi32(d, before[3]);
        e = _mm256_add_epi32(e, before[4]);
    }
    for (words, vector) in states.0.iter_mut().zip([a, b, c, d, e]) {
        // SAFETY: `words` is 64 bytes long, of which 32 are written, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn rol<const LEFT: i32, const RIGHT: i32>(x: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(x), _mm256_srli_epi32::<RIGHT>(x))
}

/// The sixteen words of one block of each lane, a vector a word, from big-endian; see the wider kernel.
#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &[&[Block]; MAX_LANES], block: usize) -> [__m256i; 16] {
    let swap =
        _mm256_broadcastsi128_si256(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    let at: [*const Block; LANES] = core::array::from_fn(|lane| {
        let blocks = lanes[lane].as_ptr();
        _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(block + PREFETCH).cast());
        blocks.wrapping_add(block)
    });
    let mut w = [_mm256_setzero_si256(); 16];
    for quarter in 0..4 {
        // SAFETY: every lane has more than `block` blocks, of which this is a quarter; the load needs no alignment.
        let part = |lane: usize| unsafe { _mm_loadu_si128(at[lane].cast::<__m128i>().add(quarter)) };
        let row: [__m256i; 4] = core::array::from_fn(|lane| {
            _mm256_shuffle_epi8(_mm256_set_m128i(part(lane + 4), part(lane)), swap)
        });
        let low = [_mm256_unpacklo_epi32(row[0], row[1]), _mm256_unpacklo_epi32(row[2], row[3])];
        let high = [_mm256_unpackhi_epi32(row[0], row[1]), _mm256_unpackhi_epi32(row[2], row[3])];
        w[4 * quarter] = _mm256_unpacklo_epi64(low[0], low[1]);
        w[4 * quarter + 1] = _mm256_unpackhi_epi64(low[0], low[1]);
        w[4 * quarter + 2] = _mm256_unpacklo_epi64(high[0], high[1]);
        w[4 * quarter + 3] = _mm256_unpackhi_epi64(high[0], high[1]);
    }
    w
}
