//! Query strings as bytes: percent-decoding that never goes through text.
//!
//! Owns splitting, decoding and encoding. Refuses broken escapes, which would turn a hash or a file name into
//! another, and queries beyond its caps. `+` stays `+`: RFC 3986 gives it no other meaning. Only HTML forms
//! write a space that way, no BitTorrent client does, and clients that leave `+` unescaped in a binary
//! `info_hash`, or a user who asks for `a+b.iso`, mean the character itself.

use std::borrow::Cow;

use crate::id::hex_byte;

/// The longest query string that is read, in bytes. The longest path that Linux knows, every byte escaped,
/// takes 12 KB; the largest scrape (74 hashes) 5.3 KB.
pub const MAX_QUERY_LEN: usize = 16 * 1024;

/// The most pairs in a query. The largest scrape has 74; an announce about 15.
pub const MAX_PAIRS: usize = 128;

/// Why a query string can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// More than [`MAX_QUERY_LEN`] bytes.
    #[error("the query has {len} bytes and at most {MAX_QUERY_LEN} are read")]
    TooLong {
        /// How many bytes there are.
        len: usize,
    },
    /// More than [`MAX_PAIRS`] pairs.
    #[error("the query has more than {MAX_PAIRS} parameters")]
    TooManyPairs,
    /// A `%` without two hexadecimal digits after it.
    #[error("the query has a % without two hexadecimal digits at byte {at}")]
    BadEscape {
        /// Where the `%` stands, in bytes from the start of what was given.
        at: usize,
    },
}

/// Decodes `%XX` to the byte it stands for and leaves every other byte alone.
///
/// # Errors
///
/// When a `%` isn't followed by two hexadecimal digits, or there are more than [`MAX_QUERY_LEN`] bytes.
pub fn percent_decode(raw: &[u8]) -> Result<Vec<u8>, QueryError> {
    check_len(raw)?;
    decode(raw, 0).map(Cow::into_owned)
}

/// Encodes bytes for a URL: RFC 3986's unreserved characters and `/` stay, every other byte becomes `%XX`.
#[must_use]
pub fn percent_encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);

    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte))
            }
            _ => text.extend(['%', digit(byte >> 4), digit(byte)]),
        }
    }
    text
}

/// A key and its value, both decoded: borrowed where there was nothing to decode.
pub type QueryPair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The pairs of a query string (`a=b&c=d`, without the `?`), in order, keys and values decoded.
///
/// A part without `=` is a key with an empty value; empty parts (`a=b&&c=d`) are skipped. After an error
/// comes nothing more.
pub fn pairs(raw: &[u8]) -> impl Iterator<Item = Result<QueryPair<'_>, QueryError>> {
    Pairs { rest: Some(raw), at: 0, left: MAX_PAIRS }
}

struct Pairs<'a> {
    /// What hasn't been split yet; `None` after the last part or an error.
    rest: Option<&'a [u8]>,
    /// Where `rest` starts in the query, so that errors can say where they are.
    at: usize,
    left: usize,
}

impl<'a> Pairs<'a> {
    fn next_pair(&mut self) -> Result<Option<QueryPair<'a>>, QueryError> {
        while let Some(rest) = self.rest.take() {
            let at = self.at;
            if at == 0 {
                check_len(rest)?;
            }
            let (part, after) = split_once(rest, b'&');
            self.rest = after;
            self.at += part.len() + 1;
            if part.is_empty() {
                continue;
            }
            self.left = self.left.checked_sub(1).ok_or(QueryError::TooManyPairs)?;
            let (key, value) = split_once(part, b'=');
            let value = decode(value.unwrap_or_default(), at + key.len() + 1)?;
            return Ok(Some((decode(key, at)?, value)));
        }
        Ok(None)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<QueryPair<'a>, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.next_pair();
        if pair.is_err() {
            self.rest = None;
        }
        pair.transpose()
    }
}

/// What comes before the first `separator`, and what comes after it, if it is there.
fn split_once(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |&byte| byte == separator);
    (parts.next().unwrap_or_default(), parts.next())
}

fn check_len(raw: &[u8]) -> Result<(), QueryError> {
    if raw.len() > MAX_QUERY_LEN { Err(QueryError::TooLong { len: raw.len() }) } else { Ok(()) }
}

/// Decodes a part of a query that starts at byte `at` of it.
fn decode(raw: &[u8], at: usize) -> Result<Cow<'_, [u8]>, QueryError> {
    if !raw.contains(&b'%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        rest = match rest {
            [] => return Ok(Cow::Owned(bytes)),
            [b'%', after @ ..] => {
                let bad = QueryError::BadEscape { at: at + raw.len() - rest.len() };
                let [high, low, after @ ..] = after else { return Err(bad) };
                bytes.push(hex_byte(*high, *low).ok_or(bad)?);
                after
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(raw: &[u8]) -> Result<Vec<QueryPair<'_>>, QueryError> {
        pairs(raw).collect()
    }

    fn pair<'a>(key: &'a [u8], value: &'a [u8]) -> QueryPair<'a> {
        (key.into(), value.into())
    }

    #[test]
    fn keeps_every_byte_through_escaping() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(percent_decode(percent_encode(&bytes).as_bytes()), Ok(bytes));
        assert_eq!(percent_encode(b"sub dir/\xff+&#.iso"), "sub%20dir/%FF%2B%26%23.iso");
        assert_eq!(percent_decode(b"%61%6a%6A+b\xff"), Ok(b"ajj+b\xff".to_vec()));
    }

    #[test]
    fn says_where_an_escape_is_broken() {
        for (raw, at) in [(&b"%"[..], 0), (b"ab%4", 2), (b"%41%4g", 3), (b"a%%41", 1), (b"%+1", 0)] {
            assert_eq!(percent_decode(raw), Err(QueryError::BadEscape { at }), "{}", raw.escape_ascii());
        }
        for (raw, at) in [(&b"a=1&b=x%zz"[..], 7), (b"a=1&&%=1", 5), (b"a=%", 2)] {
            assert_eq!(all(raw), Err(QueryError::BadEscape { at }), "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn splits_before_it_decodes() {
        assert_eq!(all(b"a%26=b%3Dc&d=e=f"), Ok(vec![pair(b"a&", b"b=c"), pair(b"d", b"e=f")]));
        assert_eq!(all(b"&a&&=b&c=&"), Ok(vec![pair(b"a", b""), pair(b"", b"b"), pair(b"c", b"")]));
        assert_eq!(all(b""), Ok(vec![]));
    }

    #[test]
    fn caps_length_and_number() {
        let most = b"a=b&".repeat(MAX_PAIRS);
        assert_eq!(all(&most).map(|pairs| pairs.len()), Ok(MAX_PAIRS));
        assert_eq!(all(&[&most[..], b"c"].concat()), Err(QueryError::TooManyPairs));
        let long = vec![b'&'; MAX_QUERY_LEN + 1];
        assert_eq!(all(&long), Err(QueryError::TooLong { len: long.len() }));
        assert_eq!(percent_decode(&long), Err(QueryError::TooLong { len: long.len() }));
        assert_eq!(all(&long[1..]), Ok(vec![]));
    }

    #[test]
    fn ends_after_an_error() {
        let mut pairs = pairs(b"%&a=b");
        assert!(pairs.next().is_some_and(|pair| pair.is_err()));
        assert_eq!(pairs.next(), None);
    }
}
