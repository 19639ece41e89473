//! The options behind an announce (BEP 41), as far as they are known: the path and query of the announce URL, which
//! the packet itself has no place for.
//!
//! Owns the walk over options. Refuses none: what can't be read ends the list, for an announce is one without its
//! options too, and BEP 15 wants packets taken that are longer than expected.

/// Nothing follows.
const END: u8 = 0;
/// One byte that means nothing.
const NOP: u8 = 1;
/// A part of the path and query. All others have a length after their type, too.
const URL_DATA: u8 = 2;

/// The path and query of the URL that a client announces to, such as `/announce/token?key=value`, in as many parts
/// as it came in: one option holds 255 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UrlData<'a> {
    options: &'a [u8],
}

impl<'a> UrlData<'a> {
    pub(super) fn new(options: &'a [u8]) -> Self {
        Self { options }
    }

    /// Its parts, in order; none where the client says nothing of it.
    pub fn parts(self) -> impl Iterator<Item = &'a [u8]> {
        Options { rest: self.options }.filter(|(kind, _)| *kind == URL_DATA).map(|(_, part)| part)
    }

    /// All parts as one; shorter than the packet was.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.parts().flatten().copied().collect()
    }
}

/// Options with a length, by type.
struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rest {
                [NOP, rest @ ..] => self.rest = rest,
                [END, ..] | [] => return None,
                [kind, len, rest @ ..] => {
                    let (value, rest) = rest.split_at_checked(usize::from(*len))?;
                    self.rest = rest;
                    return Some((*kind, value));
                }
                [_] => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(options: &[u8]) -> String {
        String::from_utf8(UrlData::new(options).to_vec()).unwrap()
    }

    #[test]
    fn joins_the_parts_of_a_url() {
        assert_eq!(url(b""), "");
        assert_eq!(url(b"\x02\x09/announce"), "/announce");
        assert_eq!(url(b"\x02\x04/ann\x02\x05ounce\x00"), "/announce");
        assert_eq!(
            url(b"\x01\x01\x02\x01/\x01\x07\x02xx\x02\x01a"),
            "/a",
            "through what means nothing to us"
        );
        let long = [&b"\x02\xff"[..], &[b'a'; 255], b"\x02\x01b"].concat();
        assert_eq!(url(&long).len(), 256);
    }

    #[test]
    fn ends_at_the_end_and_at_what_can_not_be_read() {
        assert_eq!(url(b"\x02\x01a\x00\x02\x01b"), "a");
        assert_eq!(url(b"\x02\x01a\x02"), "a");
        assert_eq!(url(b"\x02\x01a\x02\x02b"), "a", "an option is there with all its bytes or not at all");
        assert_eq!(url(b"\x02\x00\x02\x01a"), "a");
    }
}
