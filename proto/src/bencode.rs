//! The one place where bencode is read and written (BEP 3).
//!
//! Owns the limits that `bendy` leaves to its caller: input of a capped size, one value that is the whole
//! input, lists and dictionaries no more than [`MAX_DEPTH`] deep. `bendy` itself refuses numbers and
//! dictionaries that aren't in canonical form. Writing is four functions over a plain buffer: announces are
//! answered by the thousand, and an encoder that tracks its own state costs more than the answer does; the
//! tests read everything back.

use bendy::decoding::{Decoder, DictDecoder, Object};

/// How deep lists and dictionaries may nest in what we read. A single-file torrent needs three levels
/// (`announce-list` is a list of lists in a dictionary); the rest is room for keys that we don't know.
pub const MAX_DEPTH: usize = 16;

/// Of a `u64`.
const MAX_DIGITS: usize = 20;

/// Why bytes can't be read as bencode, or not as what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BencodeError {
    /// More bytes than the caller allows.
    #[error("{len} bytes are more than the {max} allowed")]
    TooLong {
        /// How many bytes there are.
        len: usize,
        /// How many there may be.
        max: usize,
    },
    /// Not canonical bencode, cut short, or too deep.
    #[error("malformed bencode: {0}")]
    Malformed(String),
    /// Something follows the value, or there is none.
    #[error("not exactly one bencoded value")]
    NotOneValue,
    /// The value isn't a dictionary.
    #[error("not a dictionary")]
    NotADictionary,
    /// A key has a value of the wrong type, or a number out of range.
    #[error("the value of `{0}` is not what it should be")]
    WrongType(&'static str),
}

impl From<bendy::decoding::Error> for BencodeError {
    fn from(error: bendy::decoding::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Reads `input` as one dictionary and hands each pair to `visit`, in the order of the keys.
///
/// The whole input is checked before the first pair is seen.
pub(crate) fn read_dict<'a, E: From<BencodeError>>(
    input: &'a [u8],
    max_len: usize,
    mut visit: impl FnMut(&'a [u8], Value<'_, 'a>) -> Result<(), E>,
) -> Result<(), E> {
    if input.len() > max_len {
        return Err(BencodeError::TooLong { len: input.len(), max: max_len }.into());
    }
    check_one_value(input)?;
    let mut decoder = Decoder::new(input).with_max_depth(MAX_DEPTH);
    let Some(Object::Dict(mut dict)) = decoder.next_object().map_err(BencodeError::from)? else {
        return Err(BencodeError::NotADictionary.into());
    };
    while let Some((key, value)) = next_pair(&mut dict)? {
        visit(key, Value(value))?;
    }
    Ok(())
}

/// Cuts `input` behind the dictionary that it begins with.
pub(crate) fn split_dict(input: &[u8]) -> Result<(&[u8], &[u8]), BencodeError> {
    let mut decoder = Decoder::new(input).with_max_depth(MAX_DEPTH);
    match decoder.next_object()? {
        Some(Object::Dict(dict)) => {
            let len = dict.into_raw()?.len();
            input.split_at_checked(len).ok_or(BencodeError::NotOneValue)
        }
        _ => Err(BencodeError::NotADictionary),
    }
}

fn next_pair<'item, 'a>(
    dict: &'item mut DictDecoder<'_, 'a>,
) -> Result<Option<(&'a [u8], Object<'item, 'a>)>, BencodeError> {
    Ok(dict.next_pair()?)
}

/// `bendy` stops after the first value and, asked again, goes on with the next: neither is wanted.
fn check_one_value(input: &[u8]) -> Result<(), BencodeError> {
    use bendy::state_tracker::Token;

    let (mut depth, mut values) = (0_usize, 0_usize);
    for token in Decoder::new(input).with_max_depth(MAX_DEPTH).tokens() {
        match token? {
            Token::List | Token::Dict => depth += 1,
            Token::End => depth = depth.saturating_sub(1),
            Token::String(_) | Token::Num(_) => {}
        }
        values += usize::from(depth == 0);
    }
    if values == 1 { Ok(()) } else { Err(BencodeError::NotOneValue) }
}

/// A value of a dictionary that is being read.
pub(crate) struct Value<'obj, 'a>(Object<'obj, 'a>);

impl<'a> Value<'_, 'a> {
    /// The byte string that `key` must have.
    pub(crate) fn bytes(self, key: &'static str) -> Result<&'a [u8], BencodeError> {
        self.0.bytes_or(Err(BencodeError::WrongType(key)))
    }

    /// The number that `key` must have: not negative, within 64 bits.
    pub(crate) fn number(self, key: &'static str) -> Result<u64, BencodeError> {
        let digits = self.0.integer_or(Err(BencodeError::WrongType(key)))?;
        digits.parse().map_err(|_| BencodeError::WrongType(key))
    }

    /// The dictionary that `key` must have, as the bytes that it came in.
    pub(crate) fn raw_dict(self, key: &'static str) -> Result<&'a [u8], BencodeError> {
        let Object::Dict(dict) = self.0 else { return Err(BencodeError::WrongType(key)) };
        Ok(dict.into_raw()?)
    }
}

/// Appends a byte string.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_bytes_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends what stands before a byte string; the caller appends its bytes.
pub(crate) fn put_bytes_len(out: &mut Vec<u8>, len: usize) {
    put_decimal(out, len as u64);
    out.push(b':');
}

/// Appends a number.
pub(crate) fn put_number(out: &mut Vec<u8>, number: impl Into<u64>) {
    out.push(b'i');
    put_decimal(out, number.into());
    out.push(b'e');
}

/// Appends a key and a byte string. Keys must come in sorted order.
pub(crate) fn put_bytes_pair(out: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    put_bytes(out, key.as_bytes());
    put_bytes(out, bytes);
}

/// Appends a key and a number. Keys must come in sorted order.
pub(crate) fn put_number_pair(out: &mut Vec<u8>, key: &str, number: impl Into<u64>) {
    put_bytes(out, key.as_bytes());
    put_number(out, number);
}

fn put_decimal(out: &mut Vec<u8>, number: u64) {
    // As `to_string`, but without a string: an answer has a dozen of them.
    let (mut digits, mut first, mut left) = ([0; MAX_DIGITS], MAX_DIGITS, number);
    while let Some(digit) = first.checked_sub(1).and_then(|at| digits.get_mut(at)) {
        *digit = b'0' + (left % 10) as u8;
        (first, left) = (first - 1, left / 10);
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Result<Vec<&[u8]>, BencodeError> {
        let mut keys = Vec::new();
        read_dict(input, 64, |key, _| {
            keys.push(key);
            Ok::<_, BencodeError>(())
        })?;
        Ok(keys)
    }

    #[test]
    fn visits_every_pair_in_order() {
        assert_eq!(read(b"de"), Ok(vec![]));
        assert_eq!(read(b"d1:ad1:bi1ee1:cl1:dee"), Ok(vec![&b"a"[..], b"c"]));
    }

    #[test]
    fn demands_one_value_and_the_whole_input() {
        for input in [&b""[..], b"dede", b"dei1e", b"i1ede"] {
            assert_eq!(read(input), Err(BencodeError::NotOneValue), "{}", input.escape_ascii());
        }
        for input in [&b"de "[..], b"dee", b"d", b"e", b"d1:a"] {
            assert!(matches!(read(input), Err(BencodeError::Malformed(_))), "{}", input.escape_ascii());
        }
        for input in [&b"i1e"[..], b"le", b"1:a"] {
            assert_eq!(read(input), Err(BencodeError::NotADictionary), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn refuses_what_is_not_canonical() {
        for input in [
            &b"d1:bi1e1:ai1ee"[..],
            b"d1:ai1e1:ai1ee",
            b"d1:ai01ee",
            b"d1:ai-0ee",
            b"d1:aiee",
            b"d01:ai1ee",
            b"d-1:ai1ee",
            b"di1ei1ee",
            b"d1:ae",
        ] {
            assert!(matches!(read(input), Err(BencodeError::Malformed(_))), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn refuses_a_string_longer_than_the_input() {
        for input in [&b"d1:a9:be"[..], b"d1:a18446744073709551615:be", b"d1:a99999999999999999999999:be"] {
            assert!(matches!(read(input), Err(BencodeError::Malformed(_))), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn caps_depth_and_length() {
        let nested = |depth: usize| [b"d1:a", &b"l".repeat(depth)[..], &b"e".repeat(depth), b"e"].concat();
        assert_eq!(read(&nested(MAX_DEPTH - 1)).map(|keys| keys.len()), Ok(1));
        assert!(matches!(read(&nested(MAX_DEPTH)), Err(BencodeError::Malformed(_))));
        assert_eq!(read(&[b'd'; 65]), Err(BencodeError::TooLong { len: 65, max: 64 }));
    }

    #[test]
    fn cuts_behind_a_dictionary() {
        assert_eq!(split_dict(b"d1:ad1:bleeede"), Ok((&b"d1:ad1:bleee"[..], &b"de"[..])));
        assert_eq!(split_dict(b"de"), Ok((&b"de"[..], &b""[..])));
        assert_eq!(split_dict(b"i1ede"), Err(BencodeError::NotADictionary));
        for input in [&b"d"[..], b"d1:ai1e", &[b'd'; 10_000], b"d1:bde1:adee"] {
            assert!(matches!(split_dict(input), Err(BencodeError::Malformed(_))), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn writes_the_digits_of_any_number() {
        for number in [0, 7, 10, 99, 100, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(out, format!("i{number}e").into_bytes());
        }
    }

    #[test]
    fn takes_only_numbers_that_fit() {
        let number = |input: &[u8]| {
            let mut number = None;
            read_dict(input, 64, |_, value| {
                number = Some(value.number("a")?);
                Ok::<_, BencodeError>(())
            })
            .map(|()| number)
        };
        assert_eq!(number(b"d1:ai18446744073709551615ee"), Ok(Some(u64::MAX)));
        for input in [&b"d1:ai18446744073709551616ee"[..], b"d1:ai-1ee", b"d1:a1:1e", b"d1:alee"] {
            assert_eq!(number(input), Err(BencodeError::WrongType("a")), "{}", input.escape_ascii());
        }
    }
}
